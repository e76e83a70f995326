/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/naming - the name of a mesh, and that no manifest is run twice by mistake */
#include "mesh/manager/naming.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/parse.h"

#define SHOWN_BYTES     256  /* of a path */
#define IDENTITY_DIGITS 16   /* of each half */
#define ORPHAN_MS       2000 /* far above what a fork takes to its exec */

/* "site" of "/etc/site.yaml"; of stdin nothing. */
static void make_base(const char *path, char *out, size_t cap_bytes)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t len = strlen(base);

	if (dot && dot > base && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
		len = (size_t)(dot - base);
	if (strcmp(path, "-") == 0)
		len = 0;
	snprintf(out, cap_bytes, "%.*s", (int)len, base);
}

static void set_path(const char *path, struct origin *out)
{
	bool is_stdin = strcmp(path, "-") == 0;

	origin_set_path(out, is_stdin ? NULL : path, STDIN_FILENO);
}

static void make_origin(const char *path, const struct manifest *manifest, struct origin *out)
{
	set_path(path, out);
	out->digest = manifest_digest(manifest);
}

static int refuse_twin(const struct registry *registry, const struct origin *origin,
	struct registry_found *twin, struct err *err)
{
	struct origin of;
	char shown[SHOWN_BYTES];
	enum origin_likeness likeness = registry_find_same(registry, origin, twin, &of);

	if (likeness == ORIGIN_OTHER)
		return 0;
	const char *what = likeness == ORIGIN_SAME_FILE ? "runs this manifest" : "has these hosts";
	const char *from = likeness == ORIGIN_SAME_FILE ? NULL : of.path[0] ? of.path : "stdin";
	return err_set(err, EEXIST,
		"the mesh \"%s\" %s already%s%s: nswrap mesh stop %s ends it, -n NAME starts a "
		"second one beside it",
		twin->name, what, from ? ", from " : "",
		from ? parse_shown(from, shown, sizeof(shown)) : "", twin->name);
}

/* Stores also who stands in the way, if anybody does. */
static int reserve(const struct registry *registry, const char *name, const char *base,
	const struct origin *origin, struct registry_entry *entry, struct registry_found *rival,
	struct err *err)
{
	int result = registry_reserve(registry, name, base, entry, err);

	snprintf(rival->name, sizeof(rival->name), "%s", name ? name : "");
	if (result < 0)
		return result;
	if (!name)
		result = refuse_twin(registry, origin, rival, err);
	if (result == 0)
		registry_note(entry, origin);
	else
		registry_release(entry);
	return result;
}

int naming_reserve(const char *path, const char *name, const struct manifest *manifest,
	struct registry_entry *entry, struct err *err)
{
	struct clock_wait wait = clock_wait_start(ORPHAN_MS);
	char base[REGISTRY_NAME_MAX + 1];
	struct registry registry;
	struct registry_found rival = {.place = 0};
	struct origin origin = {0};
	int result = registry_open(REGISTRY_MESH, &registry, err);

	if (result < 0)
		return result;
	make_base(path, base, sizeof(base));
	make_origin(path, manifest, &origin);
	/* a killed one does not run, whatever it was just about to start */
	do
		result = reserve(&registry, name, base, &origin, entry, &rival, err);
	while (result == -EEXIST && registry_is_orphaned(&registry, rival.name) &&
		clock_wait_go_on(&wait));
	registry_close(&registry);
	return result;
}

void naming_note(
	const char *path, const struct manifest *manifest, const struct registry_entry *entry)
{
	struct origin origin = {0};

	make_origin(path, manifest, &origin);
	registry_note(entry, &origin);
}

char *naming_scope(const char *path, const char *name)
{
	char machine[64] = "", node[HOST_NAME_MAX + 1] = "";
	struct origin origin = {0};

	/* machine-id(5); copies of one machine, as of an image, often differ in their name only */
	if (fd_read_file("/etc/machine-id", machine, sizeof(machine)) < 0)
		machine[0] = '\0';
	gethostname(node, sizeof(node) - 1);
	set_path(path, &origin);
	char *whole = g_strdup_printf(
		"%s\n%s\n%u\n%s\n%s", machine, node, (unsigned)geteuid(), origin.path, name);
	char *out = strdup(whole);

	g_free(whole);
	return out;
}

char *naming_identity(const char *scope, const char *host)
{
	char *whole = g_strdup_printf("%s\n%s", scope, host);
	char *sums[] = {g_compute_checksum_for_string(G_CHECKSUM_SHA256, scope, -1),
		g_compute_checksum_for_string(G_CHECKSUM_SHA256, whole, -1)};
	char *out = malloc(2 * IDENTITY_DIGITS + 1);

	if (out)
		snprintf(out, 2 * IDENTITY_DIGITS + 1, "%.*s%.*s", IDENTITY_DIGITS, sums[0],
			IDENTITY_DIGITS, sums[1]);
	g_free(sums[0]);
	g_free(sums[1]);
	g_free(whole);
	return out;
}
