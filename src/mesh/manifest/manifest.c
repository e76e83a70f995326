/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/manifest - the file that says which hosts a mesh has, nswrap-manifest(5) */
#include "mesh/manifest/manifest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/manifest/manifest_fields.h"
#include "mesh/manifest/manifest_host.h"
#include "mesh/manifest/manifest_names.h"
#include "mesh/manifest/manifest_route.h"
#include "mesh/manifest/manifest_yaml.h"
#include "util/fd.h"
#include "util/parse.h"

#define TEXT_MAX_BYTES (1 << 20)
#define HOSTS_MAX      4096

/* A manifest that is being read. */
struct draft {
	struct manifest_reader reader;
	struct manifest manifest;
};

static void claim_aliases(struct draft *draft, const struct manifest_node *aliases, size_t host)
{
	if (!aliases || aliases->kind != MANIFEST_LIST)
		return;
	for (size_t i = 0; i < aliases->count; i++) {
		const struct manifest_node *alias = aliases->items[i];

		if (alias->kind == MANIFEST_TEXT && !manifest_is_null(alias) &&
			manifest_work(&draft->reader, alias, 0))
			manifest_name_claim(&draft->reader, alias, "alias", host);
	}
}

static void check_vip(struct draft *draft, const struct manifest_node *hosts, size_t number)
{
	const struct manifest_host *host = &draft->manifest.hosts[number];
	const struct manifest_node *vip = manifest_get(hosts->items[2 * number + 1], "vip");
	char shown[INET_ADDRSTRLEN], name[PARSE_QUOTE_BYTES];

	for (size_t i = 0; host->vip.s_addr && i < number; i++) {
		if (draft->manifest.hosts[i].vip.s_addr != host->vip.s_addr)
			continue;
		inet_ntop(AF_INET, &host->vip, shown, sizeof(shown));
		parse_shown(draft->manifest.hosts[i].name, name, sizeof(name));
		manifest_error(draft->reader.errors, vip->at,
			"vip %s is given twice: expected another one, host %s has it in line %zu",
			shown, name, manifest_get(hosts->items[2 * i + 1], "vip")->at.line);
		return;
	}
}

static void read_hosts(struct draft *draft, const struct manifest_node *hosts,
	const struct manifest_node *template)
{
	static const char expected[] = "a map of hosts by name, see nswrap mesh --example";
	struct manifest_reader *reader = &draft->reader;
	size_t count;

	manifest_errors_about(reader->errors, NULL, NULL);
	if (!manifest_is_kind(reader, hosts, MANIFEST_MAP, "hosts", expected))
		return;
	count = hosts->count / 2;
	if (count == 0)
		manifest_error(reader->errors, hosts->at, "no hosts: expected %s", expected);
	if (count > HOSTS_MAX) {
		manifest_too_much(reader, hosts, "too many hosts", HOSTS_MAX, "");
		return;
	}
	draft->manifest.hosts = calloc(count + 1, sizeof(*draft->manifest.hosts));
	if (!draft->manifest.hosts) {
		reader->errors->has_no_memory = true;
		return;
	}
	for (size_t i = 0; i < count && !reader->errors->has_no_memory; i++) {
		const struct manifest_node *key = hosts->items[2 * i];

		draft->manifest.nhosts++;
		manifest_host_read(
			reader, key, hosts->items[2 * i + 1], template, &draft->manifest.hosts[i]);
		manifest_name_claim(reader, key, "name", i);
		claim_aliases(draft, manifest_get(hosts->items[2 * i + 1], "aliases"), i);
		check_vip(draft, hosts, i);
	}
}

static void read_document(struct draft *draft, const struct manifest_node *root)
{
	static const char *const keys[] = {"hosts", "hostTemplate", "routes"};
	struct manifest_reader *reader = &draft->reader;
	const struct manifest_node *hosts, *template, *routes;

	if (!root || manifest_is_null(root)) {
		manifest_error(reader->errors,
			root ? root->at : (struct manifest_place){.line = 1, .column = 1},
			"the manifest is empty: expected hosts, see nswrap mesh --example");
		return;
	}
	if (!manifest_is_kind(reader, root, MANIFEST_MAP, "the manifest",
		    "a map with hosts, see nswrap mesh --example"))
		return;
	manifest_check_keys(reader, root, keys, sizeof(keys) / sizeof(keys[0]));
	hosts = manifest_get(root, "hosts");
	template = manifest_get(root, "hostTemplate");
	routes = manifest_get(root, "routes");
	if (template)
		manifest_template_check(reader, template);
	if (hosts)
		read_hosts(draft, hosts, template);
	else
		manifest_error(reader->errors, root->at,
			"no hosts: expected the key hosts, see nswrap mesh --example");
	if (routes && !reader->errors->has_no_memory)
		manifest_routes_read(reader, routes, &draft->manifest);
}

int manifest_parse(const char *text, size_t len, const char *file, struct manifest *out,
	manifest_report report, void *told)
{
	struct manifest_errors errors = {.file = file};
	struct manifest_yaml yaml = {.root = NULL};
	struct draft draft = {.reader = {.errors = &errors,
				      .work_left = MANIFEST_WORK_BYTES,
				      .ports_left = MANIFEST_PORTS_MAX}};

	if (len > TEXT_MAX_BYTES)
		manifest_error(&errors, (struct manifest_place){.line = 0},
			"too large: expected at most %d bytes", TEXT_MAX_BYTES);
	else if (manifest_yaml_read(text, len, &yaml, &errors))
		read_document(&draft, yaml.root);
	manifest_names_free(&draft.reader);
	manifest_yaml_free(&yaml);

	int rc = manifest_errors_tell(&errors, report, told);
	if (rc == 0)
		*out = draft.manifest;
	else
		manifest_free(&draft.manifest);
	return rc;
}

int manifest_read(const char *path, struct manifest *out, manifest_report report, void *told)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct manifest_errors errors = {.file = is_stdin ? "stdin" : path};
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
		manifest_error(&errors, (struct manifest_place){.line = 0}, "cannot be read: %s",
			strerror((int)-len));
		manifest_errors_tell(&errors, report, told);
	} else {
		len = manifest_parse(text, (size_t)len, errors.file, out, report, told);
	}
	free(text);
	return (int)len;
}

void manifest_free(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->nhosts; i++)
		manifest_host_fini(&manifest->hosts[i]);
	free(manifest->hosts);
	for (size_t i = 0; i < manifest->nroutes; i++)
		manifest_route_fini(&manifest->routes[i]);
	free(manifest->routes);
	*manifest = (struct manifest){.hosts = NULL};
}
