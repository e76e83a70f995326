/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest - the file that says which hosts a mesh has, nswrap-manifest(5) */
#include "mesh/manifest/manifest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/manifest/document.h"
#include "mesh/manifest/fields.h"
#include "mesh/manifest/host.h"
#include "mesh/manifest/port.h"
#include "mesh/manifest/route.h"
#include "util/fd.h"
#include "util/parse.h"

#define TEXT_MAX_BYTES (1 << 20)
#define HOSTS_MAX      4096

/* A manifest that is being read. */
struct draft {
	struct reader reader;
	struct manifest manifest;
};

static void claim_aliases(struct draft *draft, const struct node *aliases, size_t host)
{
	if (!aliases || aliases->kind != NODE_LIST)
		return;
	for (size_t i = 0; i < aliases->count; i++) {
		const struct node *alias = aliases->items[i];

		if (alias->kind == NODE_TEXT && !reader_is_null(alias) &&
			reader_work(&draft->reader, alias, 0))
			names_claim(
				&draft->reader.names, draft->reader.errors, alias, "alias", host);
	}
}

static void check_vip(struct draft *draft, const struct node *hosts, size_t number)
{
	const struct manifest_host *host = &draft->manifest.hosts[number];
	const struct node *vip = reader_get(hosts->items[2 * number + 1], "vip");
	char shown[INET_ADDRSTRLEN], name[PARSE_QUOTE_BYTES];

	for (size_t i = 0; host->vip.s_addr && i < number; i++) {
		if (draft->manifest.hosts[i].vip.s_addr != host->vip.s_addr)
			continue;
		inet_ntop(AF_INET, &host->vip, shown, sizeof(shown));
		parse_shown(draft->manifest.hosts[i].name, name, sizeof(name));
		errors_add(draft->reader.errors, vip->at,
			"vip %s is given twice: expected another one, host %s has it in line %zu",
			shown, name, reader_get(hosts->items[2 * i + 1], "vip")->at.line);
		return;
	}
}

static void read_hosts(struct draft *draft, const struct node *hosts, const struct node *template)
{
	static const char expected[] = "a map of hosts by name, see nswrap mesh --example";
	struct reader *reader = &draft->reader;
	size_t count;

	errors_about(reader->errors, NULL, NULL);
	if (!reader_is_kind(reader, hosts, NODE_MAP, "hosts", expected))
		return;
	count = hosts->count / 2;
	if (count == 0)
		errors_add(reader->errors, hosts->at, "no hosts: expected %s", expected);
	if (count > HOSTS_MAX) {
		reader_too_much(reader, hosts, "too many hosts", HOSTS_MAX, "");
		return;
	}
	draft->manifest.hosts = calloc(count + 1, sizeof(*draft->manifest.hosts));
	if (!draft->manifest.hosts) {
		reader->errors->has_no_memory = true;
		return;
	}
	for (size_t i = 0; i < count && !reader->errors->has_no_memory; i++) {
		const struct node *key = hosts->items[2 * i];

		draft->manifest.nhosts++;
		host_read(
			reader, key, hosts->items[2 * i + 1], template, &draft->manifest.hosts[i]);
		names_claim(&reader->names, reader->errors, key, "name", i);
		claim_aliases(draft, reader_get(hosts->items[2 * i + 1], "aliases"), i);
		check_vip(draft, hosts, i);
	}
}

static void read_document(struct draft *draft, const struct node *root)
{
	static const char *const keys[] = {"hosts", "hostTemplate", "routes"};
	struct reader *reader = &draft->reader;
	const struct node *hosts, *template, *routes;

	if (!root || reader_is_null(root)) {
		errors_add(reader->errors, root ? root->at : (struct place){.line = 1, .column = 1},
			"the manifest is empty: expected hosts, see nswrap mesh --example");
		return;
	}
	if (!reader_is_kind(reader, root, NODE_MAP, "the manifest",
		    "a map with hosts, see nswrap mesh --example"))
		return;
	reader_check_keys(reader, root, keys, sizeof(keys) / sizeof(keys[0]));
	hosts = reader_get(root, "hosts");
	template = reader_get(root, "hostTemplate");
	routes = reader_get(root, "routes");
	if (template)
		host_check_template(reader, template);
	if (hosts)
		read_hosts(draft, hosts, template);
	else
		errors_add(reader->errors, root->at,
			"no hosts: expected the key hosts, see nswrap mesh --example");
	if (routes && !reader->errors->has_no_memory)
		route_read_list(reader, routes, &draft->manifest);
}

int manifest_parse(const char *text, size_t len, const char *file, struct manifest *out,
	manifest_report report, void *told)
{
	struct errors errors = {.file = file};
	struct document yaml = {.root = NULL};
	struct draft draft = {.reader = {.errors = &errors,
				      .work_left = READER_WORK_BYTES,
				      .ports_left = READER_PORTS_MAX}};

	if (len > TEXT_MAX_BYTES)
		errors_add(&errors, (struct place){.line = 0},
			"too large: expected at most %d bytes", TEXT_MAX_BYTES);
	else if (document_read(text, len, &yaml, &errors))
		read_document(&draft, yaml.root);
	names_free(&draft.reader.names);
	document_free(&yaml);

	int rc = errors_tell(&errors, report, told);
	if (rc == 0)
		*out = draft.manifest;
	else
		manifest_free(&draft.manifest);
	return rc;
}

int manifest_read(const char *path, struct manifest *out, manifest_report report, void *told)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct errors errors = {.file = is_stdin ? "stdin" : path};
	_cleanup_fd_ int fd = -1;
	char *text = malloc(TEXT_MAX_BYTES + 1);
	ssize_t len = text ? 0 : -ENOMEM;

	if (len == 0 && !is_stdin) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		len = fd < 0 ? -errno : 0;
	}
	if (len == 0)
		len = fd_read_all(is_stdin ? STDIN_FILENO : fd, text, TEXT_MAX_BYTES + 1);
	if (len < 0) {
		errors_add(&errors, (struct place){.line = 0}, "cannot be read: %s",
			strerror((int)-len));
		errors_tell(&errors, report, told);
	} else {
		len = manifest_parse(text, (size_t)len, errors.file, out, report, told);
	}
	free(text);
	return (int)len;
}

void manifest_free(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->nhosts; i++)
		host_fini(&manifest->hosts[i]);
	free(manifest->hosts);
	for (size_t i = 0; i < manifest->nroutes; i++)
		route_fini(&manifest->routes[i]);
	free(manifest->routes);
	*manifest = (struct manifest){.hosts = NULL};
}

/* --- is it still so ------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_texts(char **a, char **b)
{
	if (!a || !b)
		return a == b;
	while (*a && *b && strcmp(*a, *b) == 0) {
		a++;
		b++;
	}
	return !*a && !*b;
}

static bool same_offers(const struct manifest_host *a, const struct manifest_host *b)
{
	if (a->noffers != b->noffers)
		return false;
	for (size_t i = 0; i < a->noffers; i++) {
		const struct mesh_offer *x = &a->offers[i], *y = &b->offers[i];
		if (x->listen_port != y->listen_port || x->connect_port != y->connect_port ||
			x->proto != y->proto || strcmp(x->connect_host, y->connect_host) != 0)
			return false;
	}
	return true;
}

bool manifest_host_equal(const struct manifest_host *a, const struct manifest_host *b)
{
	return same_text(a->name, b->name) && a->vip.s_addr == b->vip.s_addr &&
	       same_texts(a->cmd, b->cmd) && same_offers(a, b) &&
	       same_text(a->http_listen, b->http_listen) &&
	       same_text(a->socks_listen, b->socks_listen) &&
	       a->loopback_disable == b->loopback_disable &&
	       same_text(a->state_dir_path, b->state_dir_path) &&
	       a->state_dir_disable == b->state_dir_disable && same_texts(a->aliases, b->aliases) &&
	       a->write_etc_hosts == b->write_etc_hosts && a->no_restart == b->no_restart &&
	       a->any_port == b->any_port;
}

/* --- what a host is told -------------------------------------------------------------------- */

static size_t count_texts(char **texts)
{
	size_t count = 0;

	while (texts && texts[count])
		count++;
	return count;
}

/* Copies of texts, which may be NULL; -ENOMEM leaves in *@out what there is. */
static int copy_text(const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	return text && !*out ? -ENOMEM : 0;
}

static int copy_texts(char **texts, char ***out)
{
	size_t count = count_texts(texts);
	int rc = 0;

	if (!texts)
		return 0;
	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = copy_text(texts[i], &(*out)[i]);
	return rc;
}

static int add_name(struct mesh_config *out, const char *name, struct in_addr ip)
{
	struct mesh_name *slot = &out->names[out->nnames++];

	slot->ip = ip;
	return copy_text(name, &slot->name);
}

static int tell_own(const struct manifest_host *host, struct mesh_config *out)
{
	int rc = 0;

	out->me = host->vip;
	out->loopback_disable = host->loopback_disable;
	out->state_dir_disable = host->state_dir_disable;
	out->write_etc_hosts = host->write_etc_hosts;
	out->any_port = host->any_port;
	out->offers = calloc(host->noffers + 1, sizeof(*out->offers));
	if (!out->offers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < host->noffers; i++) {
		out->offers[i] = host->offers[i];
		out->noffers++;
		rc = copy_text(host->offers[i].connect_host, &out->offers[i].connect_host);
	}
	if (rc < 0 || (rc = copy_text(host->http_listen, &out->http_listen)) < 0 ||
		(rc = copy_text(host->socks_listen, &out->socks_listen)) < 0)
		return rc;
	return copy_text(host->state_dir_path, &out->state_dir_path);
}

static int tell_hosts(const struct manifest *manifest, size_t self, struct mesh_config *out)
{
	size_t nothers = 0, nnames = manifest->nhosts;
	int rc = 0;

	for (size_t i = 0; i < manifest->nhosts; i++) {
		nothers += i == self ? 0 : manifest->hosts[i].noffers;
		nnames += count_texts(manifest->hosts[i].aliases);
	}
	out->others = calloc(nothers + 1, sizeof(*out->others));
	out->names = calloc(nnames + 1, sizeof(*out->names));
	out->name_servers = calloc(manifest->nhosts + 1, sizeof(*out->name_servers));
	if (!out->others || !out->names || !out->name_servers)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < manifest->nhosts; i++) {
		const struct manifest_host *host = &manifest->hosts[i];

		for (size_t k = 0; i != self && k < host->noffers; k++)
			out->others[out->nothers++] = (struct mesh_port){.ip = host->vip,
				.port = host->offers[k].listen_port,
				.proto = host->offers[k].proto};
		out->name_servers[out->nname_servers++] = (struct mesh_port){
			.ip = host->vip, .port = PORT_NAME_SERVER, .proto = PROTO_TCP};
		rc = add_name(out, host->name, host->vip);
		for (char **alias = host->aliases; rc == 0 && alias && *alias; alias++)
			rc = add_name(out, *alias, host->vip);
	}
	return rc;
}

static int tell_routes(const struct manifest *manifest, struct mesh_config *out)
{
	int rc = 0;

	out->routes = calloc(manifest->nroutes + 1, sizeof(*out->routes));
	if (!out->routes)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < manifest->nroutes; i++) {
		const struct mesh_route *from = &manifest->routes[i];
		struct mesh_route *to = &out->routes[out->nroutes++];

		to->via = from->via;
		rc = copy_texts(from->cidrs, &to->cidrs);
		if (rc == 0)
			rc = copy_texts(from->globs, &to->globs);
	}
	return rc;
}

int manifest_configure(const struct manifest *manifest, size_t host, struct mesh_config *out)
{
	struct mesh_config config = {.offers = NULL};
	int rc = tell_own(&manifest->hosts[host], &config);

	if (rc == 0)
		rc = tell_hosts(manifest, host, &config);
	if (rc == 0)
		rc = tell_routes(manifest, &config);
	if (rc < 0)
		config_free(&config);
	else
		*out = config;
	return rc;
}
