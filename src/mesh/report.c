/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/report - what an agent tells its manager of ports that do not work */
#include "mesh/report.h"

#include <arpa/inet.h>
#include <string.h>

#include "mesh/members.h"
#include "util/log.h"

static size_t kept(size_t count)
{
	return count < REPORT_MAX ? count : REPORT_MAX;
}

void report_add_missing(struct mesh_report *report, enum proto proto, struct in_addr ip,
	uint16_t port, const char *why)
{
	if (report->nmissing < REPORT_MAX) {
		struct report_port *missing = &report->missing[report->nmissing];

		*missing = (struct report_port){.ip = ip, .port = port, .proto = proto};
		snprintf(missing->why, sizeof(missing->why), "%s", why);
	}
	report->nmissing++;
}

void report_add_failing(struct mesh_report *report, const struct report_port *port)
{
	if (report->nfailing < REPORT_MAX)
		report->failing[report->nfailing] = *port;
	report->nfailing++;
}

/* --- to JSON ------------------------------------------------------------------------------ */

static json_t *encode_port(const struct report_port *port)
{
	char ip[INET_ADDRSTRLEN];

	return json_pack("{s:s, s:i, s:s, s:s, s:I, s:I}", "ip",
		inet_ntop(AF_INET, &port->ip, ip, sizeof(ip)), "port", (int)port->port, "proto",
		port->proto == PROTO_TCP ? "tcp" : "udp", "why", port->why, "count",
		(json_int_t)port->count, "age", (json_int_t)port->age_s);
}

static json_t *encode_ports(const struct report_port *ports, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < kept(count); i++)
		json_array_append_new(list, encode_port(&ports[i]));
	return list;
}

json_t *report_encode(const struct mesh_report *report)
{
	json_t *data = json_pack("{s:o, s:I, s:o, s:I}", "missing",
		encode_ports(report->missing, report->nmissing), "missing_total",
		(json_int_t)report->nmissing, "failing",
		encode_ports(report->failing, report->nfailing), "failing_total",
		(json_int_t)report->nfailing);

	if (data && report->unexposed > 0) {
		json_object_set_new(data, "unexposed", json_integer((json_int_t)report->unexposed));
		json_object_set_new(data, "unexposed_last", json_string(report->unexposed_last));
	}
	return data;
}

/* --- from JSON ---------------------------------------------------------------------------- */

static int decode_number(const struct members *from, const char *name, uint64_t *out)
{
	int64_t value = 0;
	int result = members_need_int(from, name, &value);

	if (result == 0 && value < 0)
		return members_refuse(
			from, name, json_object_get(from->object, name), "a number from 0 up");
	*out = (uint64_t)value;
	return result;
}

static int decode_port(const struct members *from, struct report_port *out)
{
	const char *proto = "", *why = "";
	uint64_t port = 0;

	int result = members_need_host(from, "ip", &out->ip);
	if (result == 0)
		result = decode_number(from, "port", &port);
	if (result == 0)
		result = members_need_text(from, "proto", &proto);
	if (result == 0)
		result = members_need_text(from, "why", &why);
	if (result == 0)
		result = decode_number(from, "count", &out->count);
	if (result == 0)
		result = decode_number(from, "age", &out->age_s);
	if (result < 0)
		return result;
	if (port > UINT16_MAX)
		return members_refuse(
			from, "port", json_object_get(from->object, "port"), "a port, or 0");
	out->port = (uint16_t)port;
	out->proto = strcmp(proto, "udp") == 0 ? PROTO_UDP : PROTO_TCP;
	log_escape(why, strlen(why), out->why, sizeof(out->why));
	return 0;
}

static int decode_ports(const struct members *root, const char *name, struct report_port *ports)
{
	const json_t *list = NULL;
	int result = members_list(root, name, &list);

	for (size_t i = 0; result == 0 && i < kept(json_array_size(list)); i++) {
		struct members item;

		result = members_item(root, name, i, &item);
		if (result == 0)
			result = decode_port(&item, &ports[i]);
	}
	return result;
}

/* There are as many as are told, and as are listed. */
static int decode_total(const struct members *root, const char *name, const char *list, size_t *out)
{
	uint64_t total = 0;
	int result = decode_number(root, name, &total);

	*out = kept(json_array_size(json_object_get(root->object, list)));
	if (result == 0 && total > *out && *out == REPORT_MAX)
		*out = (size_t)total;
	return result;
}

static int decode_unexposed(const struct members *root, struct mesh_report *out)
{
	const char *last = "";
	int result = decode_number(root, "unexposed", &out->unexposed);

	if (result == 0)
		result = members_need_text(root, "unexposed_last", &last);
	log_escape(last, strlen(last), out->unexposed_last, sizeof(out->unexposed_last));
	return result;
}

int report_decode(const json_t *data, struct mesh_report *out, struct err *err)
{
	struct members root = {.object = data, .err = err};

	*out = (struct mesh_report){.nmissing = 0};
	int result = decode_ports(&root, "missing", out->missing);
	if (result == 0)
		result = decode_ports(&root, "failing", out->failing);
	if (result == 0)
		result = decode_total(&root, "missing_total", "missing", &out->nmissing);
	if (result == 0)
		result = decode_total(&root, "failing_total", "failing", &out->nfailing);
	/* who has nothing to tell of it does not */
	if (result == 0 && json_object_get(root.object, "unexposed"))
		result = decode_unexposed(&root, out);
	if (result < 0)
		*out = (struct mesh_report){.nmissing = 0};
	return result;
}
