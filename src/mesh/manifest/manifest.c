/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest - the file that says which hosts a mesh has, nswrap-manifest(5) */
#include "mesh/manifest/manifest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/configure.h"
#include "mesh/manifest/allowed.h"
#include "mesh/manifest/crowd.h"
#include "mesh/manifest/document.h"
#include "mesh/manifest/host.h"
#include "mesh/manifest/port.h"
#include "mesh/manifest/route.h"
#include "util/fd.h"
#include "util/parse.h"

#define TEXT_MAX_BYTES (1 << 20)
#define HOSTS_MAX      4096

static void claim_aliases(struct reader *reader, const struct node *aliases, size_t host)
{
	if (!aliases || aliases->kind != NODE_LIST)
		return;
	for (size_t i = 0; i < aliases->count; i++) {
		const struct node *alias = aliases->items[i];

		if (alias->kind == NODE_TEXT && !reader_is_null(alias) &&
			reader_work(reader, alias, 0))
			hostnames_claim(&reader->hostnames, reader->errors, alias, "alias", host);
	}
}

static void check_vip(struct reader *reader, const struct manifest *manifest,
	const struct node *hosts, size_t number)
{
	const struct manifest_host *host = &manifest->hosts[number];
	const struct node *vip = reader_get(hosts->items[2 * number + 1], "vip");
	char shown[INET_ADDRSTRLEN];

	for (size_t i = 0; host->vip.s_addr && i < number; i++) {
		if (manifest->hosts[i].vip.s_addr != host->vip.s_addr)
			continue;
		inet_ntop(AF_INET, &host->vip, shown, sizeof(shown));
		reader_refuse(reader, vip,
			"vip %s is given twice: expected another one, host %s has it in line %zu",
			shown, PARSE_SHOWN(manifest->hosts[i].name),
			reader_get(hosts->items[2 * i + 1], "vip")->at.line);
		return;
	}
}

static void read_hosts(struct reader *reader, const struct node *hosts, const struct node *template,
	bool has_lists, struct manifest *out)
{
	static const char expected[] = "a map of hosts by name, see nswrap mesh --example";
	size_t count;

	errors_about(reader->errors, NULL, NULL);
	if (!reader_is_kind(reader, hosts, NODE_MAP, "hosts", expected))
		return;
	count = hosts->count / 2;
	if (count == 0 && !has_lists)
		reader_refuse(reader, hosts, "no hosts: expected %s", expected);
	if (count > HOSTS_MAX) {
		reader_too_much(reader, hosts, "too many hosts", HOSTS_MAX, "");
		return;
	}
	out->hosts = calloc(count + 1, sizeof(*out->hosts));
	if (!out->hosts) {
		reader->errors->has_no_memory = true;
		return;
	}
	for (size_t i = 0; i < count && !reader->errors->has_no_memory; i++) {
		const struct node *key = hosts->items[2 * i];

		out->nhosts++;
		errors_about(reader->errors, NULL, NULL);
		reader_check_once(reader, key);
		host_read(reader, key, hosts->items[2 * i + 1], template, &out->hosts[i]);
		hostnames_claim(&reader->hostnames, reader->errors, key, "name", i);
		claim_aliases(reader, reader_get(hosts->items[2 * i + 1], "aliases"), i);
		check_vip(reader, out, hosts, i);
	}
}

static void read_document(struct reader *reader, const struct node *root, struct manifest *out)
{
	static const char *const keys[] = {"hosts", "hostsFrom", "hostTemplate", "routes"};
	const struct node *hosts, *lists, *template, *routes;

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
	lists = reader_get(root, "hostsFrom");
	template = reader_get(root, "hostTemplate");
	routes = reader_get(root, "routes");
	if (template)
		host_check_template(reader, template);
	if (hosts)
		read_hosts(reader, hosts, template, lists, out);
	else if (!lists)
		reader_refuse(reader, root,
			"no hosts: expected the key hosts, see nswrap mesh --example");
	if (lists)
		crowd_read_list(reader, lists, template, out);
	if (!hosts || hosts->kind == NODE_MAP)
		allowed_read_all(reader, hosts, lists, template, out);
	if (routes && !reader->errors->has_no_memory)
		route_read_list(reader, routes, out);
}

static int parse(const char *text, size_t len, const char *file, const char *folder,
	struct manifest *out, manifest_report report, void *told)
{
	struct errors errors = {.file = file};
	struct document document = {.root = NULL};
	struct manifest manifest = {.hosts = NULL};
	struct reader reader = {.errors = &errors,
		.work_left = READER_WORK_BYTES,
		.ports_left = READER_PORTS_MAX,
		.folder = folder};

	if (len > TEXT_MAX_BYTES)
		errors_add(&errors, (struct place){.line = 0},
			"too large: expected at most %d bytes", TEXT_MAX_BYTES);
	else if (document_read(text, len, &document, &errors))
		read_document(&reader, document.root, &manifest);
	hostnames_free(&reader.hostnames);
	document_free(&document);

	int rc = errors_tell(&errors, report, told);
	if (rc == 0)
		*out = manifest;
	else
		manifest_free(&manifest);
	return rc;
}

int manifest_parse(const char *text, size_t len, const char *file, struct manifest *out,
	manifest_report report, void *told)
{
	return parse(text, len, file, NULL, out, report, told);
}

int manifest_read(const char *path, struct manifest *out, manifest_report report, void *told)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct errors errors = {.file = is_stdin ? "stdin" : path};
	const size_t cap = TEXT_MAX_BYTES + 2; /* one more than may be, and fd_read_file's NUL */
	char *text = malloc(cap), *folder = g_path_get_dirname(is_stdin ? "." : path);
	ssize_t len = -ENOMEM;

	if (text)
		len = is_stdin ? fd_read_all(STDIN_FILENO, text, cap - 1)
			       : fd_read_file(path, text, cap);
	if (len < 0) {
		errors_add(&errors, (struct place){.line = 0}, "cannot be read: %s",
			strerror((int)-len));
		errors_tell(&errors, report, told);
	} else {
		len = parse(text, (size_t)len, errors.file, folder, out, report, told);
	}
	g_free(folder);
	free(text);
	return (int)len;
}

void manifest_free(struct manifest *manifest)
{
	struct mesh_config routes = {.routes = manifest->routes, .nroutes = manifest->nroutes};

	for (size_t i = 0; i < manifest->nhosts; i++)
		host_fini(&manifest->hosts[i]);
	for (size_t i = 0; i < manifest->ncrowds; i++) {
		g_strfreev(manifest->crowds[i].list);
		host_fini(&manifest->crowds[i].each);
	}
	free(manifest->hosts);
	free(manifest->crowds);
	config_free(&routes);
	*manifest = (struct manifest){.hosts = NULL};
}

/* FNV-1a, with the NUL */
static uint64_t add_text(uint64_t digest, const char *text)
{
	do
		digest = (digest ^ (unsigned char)*text) * 0x100000001b3;
	while (*text++);
	return digest;
}

static uint64_t add_texts(uint64_t digest, char *const *texts)
{
	for (; texts && *texts; texts++)
		digest = add_text(digest, *texts);
	return digest;
}

static uint64_t add_vip(uint64_t digest, struct in_addr vip)
{
	char text[INET_ADDRSTRLEN];

	return add_text(digest, inet_ntop(AF_INET, &vip, text, sizeof(text)));
}

#define NOTHING 0xcbf29ce484222325

uint64_t manifest_digest(const struct manifest *manifest)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < manifest->nhosts; i++) {
		const struct manifest_host *host = &manifest->hosts[i];

		sum += add_texts(add_vip(add_text(NOTHING, host->name), host->vip), host->cmd);
	}
	for (size_t i = 0; i < manifest->ncrowds; i++) {
		const struct manifest_crowd *crowd = &manifest->crowds[i];

		sum += add_texts(
			add_texts(add_vip(NOTHING, crowd->net), crowd->list), crowd->each.cmd);
	}
	return sum;
}

/* --- what a host is told -------------------------------------------------------------------- */

/* Three lists for free(3), whose texts are the manifest's: all hosts but the one at @me tell others
 * of their offers. */
static int tell_hosts(const struct manifest *manifest, struct in_addr me, struct mesh_config *out)
{
	size_t nothers = 0, nnames = manifest->nhosts;

	for (size_t i = 0; i < manifest->nhosts; i++) {
		nothers += manifest->hosts[i].own.noffers;
		if (manifest->hosts[i].aliases)
			nnames += g_strv_length(manifest->hosts[i].aliases);
	}
	out->others = calloc(nothers + 1, sizeof(*out->others));
	out->names = calloc(nnames + 1, sizeof(*out->names));
	out->name_servers = calloc(2 * manifest->nhosts + 1, sizeof(*out->name_servers));
	if (!out->others || !out->names || !out->name_servers)
		return -ENOMEM;
	for (size_t i = 0; i < manifest->nhosts; i++) {
		const struct manifest_host *host = &manifest->hosts[i];
		const bool is_self = host->vip.s_addr == me.s_addr;

		for (size_t k = 0; !is_self && k < host->own.noffers; k++)
			out->others[out->nothers++] = (struct mesh_port){.ip = host->vip,
				.port = host->own.offers[k].listen_port,
				.proto = host->own.offers[k].proto};
		for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++)
			out->name_servers[out->nname_servers++] = (struct mesh_port){
				.ip = host->vip, .port = PORT_NAME_SERVER, .proto = proto};
		out->names[out->nnames++] = (struct mesh_name){host->name, host->vip};
		for (char **alias = host->aliases; alias && *alias; alias++)
			out->names[out->nnames++] = (struct mesh_name){*alias, host->vip};
	}
	return 0;
}

/* @all, and what the hosts of @manifest tell the one at @me, to @out. */
static int tell(const struct manifest *manifest, struct mesh_config all, struct in_addr me,
	struct mesh_config *out)
{
	all.me = me;
	int rc = tell_hosts(manifest, me, &all);
	*out = (struct mesh_config){.offers = NULL};
	if (rc == 0)
		rc = config_fill(out, &all);
	if (rc < 0)
		config_free(out);
	free(all.others);
	free(all.names);
	free(all.name_servers);
	return rc;
}

int manifest_tell(const struct manifest *manifest, struct mesh_config *out)
{
	return tell(manifest, (struct mesh_config){.offers = NULL}, (struct in_addr){0}, out);
}

int manifest_configure(const struct manifest *manifest, size_t host, struct mesh_config *out)
{
	struct mesh_config all = manifest->hosts[host].own;

	all.routes = manifest->routes;
	all.nroutes = manifest->nroutes;
	return tell(manifest, all, manifest->hosts[host].vip, out);
}

bool manifest_texts_equal(char *const *a, char *const *b)
{
	return a && b ? g_strv_equal((const char *const *)a, (const char *const *)b) : a == b;
}

bool manifest_sandbox_equal(const struct manifest_host *a, const struct manifest_host *b)
{
	const struct mesh_config of_a = {.sandbox = a->own.sandbox};
	const struct mesh_config of_b = {.sandbox = b->own.sandbox};

	return configure_tells_same(&of_a, ~0U, &of_b, ~0U);
}

bool manifest_host_equal(const struct manifest_host *a, const struct manifest_host *b)
{
	return strcmp(a->name, b->name) == 0 && a->vip.s_addr == b->vip.s_addr &&
	       manifest_texts_equal(a->cmd, b->cmd) &&
	       manifest_texts_equal(a->aliases, b->aliases) && a->no_restart == b->no_restart &&
	       a->only_failures == b->only_failures && a->install == b->install &&
	       configure_tells_same(&a->own, ~0U, &b->own, ~0U);
}
