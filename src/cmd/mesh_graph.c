/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_graph - `nswrap mesh graph`: a picture of a mesh that runs */
#include "cmd/mesh_graph.h"

#include <errno.h>
#include <string.h>

#include "cmd/graph.h"
#include "cmd/output.h"
#include "control/control.h"
#include "util/parse.h"

#define LINES_MAX 12 /* of one kind in a box */

static const struct format {
	const char *name;
	void (*write)(const struct graph *graph, FILE *out);
} formats[] = {{"dot", graph_dot}, {"svg", graph_svg}, {"mermaid", graph_mermaid}};

static const struct format *find_format(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!name || strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

int mesh_graph_check_format(const char *format, struct err *err)
{
	return find_format(format) ? 0
				   : err_set(err, EINVAL, "%s is no format: expected %s",
					     PARSE_QUOTED(format), MESH_GRAPH_FORMATS);
}

/* --- what is in it ------------------------------------------------------------------------ */

static enum graph_state state_of(const json_t *host)
{
	const char *state = output_member(host, "state", "");

	return strcmp(state, "ready") == 0      ? GRAPH_GOOD
	       : strcmp(state, "starting") == 0 ? GRAPH_PENDING
						: GRAPH_BAD;
}

/* "and 3 more", if there are. */
static void add_rest(struct graph *graph, size_t node, size_t shown, json_int_t all)
{
	if (all > (json_int_t)shown)
		graph_add_line(graph, node, "and %lld more", all - (json_int_t)shown);
}

static void add_aliases(struct graph *graph, size_t node, const json_t *aliases)
{
	json_t *alias;
	size_t i;

	json_array_foreach(aliases, i, alias)
	{
		if (i < LINES_MAX)
			graph_add_line(graph, node, "= %s", json_string_value(alias));
	}
	add_rest(graph, node, LINES_MAX, (json_int_t)json_array_size(aliases));
}

static const char *proto_suffix(const json_t *of)
{
	return strcmp(output_member(of, "proto", ""), "udp") == 0 ? "/udp" : "";
}

/* ":8080 > 127.0.0.1:80", ":53/udp > [::1]:53" */
static void add_offers(struct graph *graph, size_t node, const json_t *host)
{
	json_t *offers = json_object_get(host, "offers"), *offer;
	size_t i;

	json_array_foreach(offers, i, offer)
	{
		const char *target = output_member(offer, "host", "");
		bool is_v6 = strchr(target, ':');

		if (i < LINES_MAX)
			graph_add_line(graph, node, ":%lld%s > %s%s%s:%lld",
				json_integer_value(json_object_get(offer, "port")),
				proto_suffix(offer), is_v6 ? "[" : "", target, is_v6 ? "]" : "",
				json_integer_value(json_object_get(offer, "target")));
	}
	add_rest(graph, node, LINES_MAX, json_integer_value(json_object_get(host, "offers_total")));
	if (json_is_true(json_object_get(host, "any_port")))
		graph_add_line(graph, node, "every port");
}

/* "for laptop", "for lab: 80" */
static void add_allowed(struct graph *graph, size_t node, const json_t *allow)
{
	json_t *one;
	size_t i;

	if (json_is_array(allow) && json_array_size(allow) == 0)
		graph_add_line(graph, node, "for nobody");
	json_array_foreach(allow, i, one)
	{
		json_int_t port = json_integer_value(json_object_get(one, "port"));
		const char *name = output_member(one, "name", "");

		if (i < LINES_MAX && port > 0)
			graph_add_line(
				graph, node, "for %s: %lld%s", name, port, proto_suffix(one));
		else if (i < LINES_MAX)
			graph_add_line(graph, node, "for %s", name);
	}
	add_rest(graph, node, LINES_MAX, (json_int_t)json_array_size(allow));
}

/* "exposes 10.0.0.0/8:22", "exposes none" */
static void add_exposed(struct graph *graph, size_t node, const json_t *host)
{
	json_t *list = json_object_get(host, "expose"), *text;
	size_t i;

	json_array_foreach(list, i, text)
	{
		if (i < LINES_MAX)
			graph_add_line(graph, node, "exposes %s", json_string_value(text));
	}
	add_rest(graph, node, LINES_MAX, json_integer_value(json_object_get(host, "expose_total")));
}

static void add_proxies(struct graph *graph, size_t node, const json_t *host)
{
	static const char *const kinds[] = {"http", "socks"};

	for (size_t i = 0; i < 2; i++)
		if (json_is_string(json_object_get(host, kinds[i])))
			graph_add_line(graph, node, "%s proxy %s", kinds[i],
				output_member(host, kinds[i], ""));
}

static void add_host(struct graph *graph, size_t manager, const json_t *host)
{
	const json_t *rtt = json_object_get(host, "rtt_ms");
	size_t node = graph_add_node(graph, GRAPH_MIDDLE, state_of(host));
	const char *state = output_member(host, "state", "");

	graph_add_line(graph, node, "%s", output_member(host, "name", ""));
	graph_add_line(graph, node, "%s", output_member(host, "vip", ""));
	add_aliases(graph, node, json_object_get(host, "aliases"));
	add_offers(graph, node, host);
	add_proxies(graph, node, host);
	add_allowed(graph, node, json_object_get(host, "allow"));
	add_exposed(graph, node, host);
	if (json_is_number(rtt))
		graph_add_edge(graph, manager, node, state_of(host), "%s, %.2f ms", state,
			json_number_value(rtt));
	else
		graph_add_edge(graph, manager, node, state_of(host), "%s", state);
}

/* The node of the host of that name, which is behind the manager's; 0: none. */
static size_t find_host(const struct graph *graph, const char *name)
{
	for (size_t i = 1; i < graph->nnodes; i++)
		if (graph->nodes[i].column == GRAPH_MIDDLE &&
			strcmp(graph->nodes[i].lines[0], name) == 0)
			return i;
	return 0;
}

static void add_route(struct graph *graph, const json_t *route)
{
	json_t *name = output_escaped(output_member(route, "via", "")), *text;
	size_t via = find_host(graph, json_string_value(name)), i;
	size_t node = graph_add_node(graph, GRAPH_RIGHT, GRAPH_NEUTRAL);

	json_array_foreach(json_object_get(route, "to"), i, text)
	{
		if (i < LINES_MAX)
			graph_add_line(graph, node, "%s", json_string_value(text));
	}
	add_rest(graph, node, LINES_MAX, json_integer_value(json_object_get(route, "to_total")));
	if (via > 0)
		graph_add_edge(graph, via, node, GRAPH_NEUTRAL, "route");
	json_decref(name);
}

/* --- all of it ---------------------------------------------------------------------------- */

/* Hosts and routes of one answer. Returns how many. */
static size_t add_part(struct graph *graph, const json_t *part)
{
	json_t *hosts = json_object_get(part, "hosts"), *routes = json_object_get(part, "routes"),
	       *item;
	size_t i;

	if (graph->nnodes == 0) {
		graph_add_node(graph, GRAPH_LEFT, GRAPH_NEUTRAL);
		graph_add_line(graph, 0, "%s", output_member(part, "name", ""));
		graph_add_line(graph, 0, "manager");
	}
	json_array_foreach(hosts, i, item)
	{
		add_host(graph, 0, item);
	}
	json_array_foreach(routes, i, item)
	{
		add_route(graph, item);
	}
	return json_array_size(hosts) + json_array_size(routes);
}

int mesh_graph_print(int sock, const char *format, struct err *err)
{
	struct graph graph = {.nodes = NULL};
	size_t count = 0, added = 1, total = 1;

	while (count < total && added > 0) {
		json_t *part = NULL;
		int result = control_call(sock, "mesh",
			json_pack("{s:s, s:I}", "op", "graph", "from", (json_int_t)count), &part,
			NULL, err);

		if (result < 0) {
			graph_fini(&graph);
			return result;
		}
		total = (size_t)json_integer_value(json_object_get(part, "total"));
		added = add_part(&graph, part);
		count += added;
		json_decref(part);
	}
	find_format(format)->write(&graph, stdout);
	graph_fini(&graph);
	return 0;
}
