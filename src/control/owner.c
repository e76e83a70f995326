/* SPDX-License-Identifier: Apache-2.0 */
/* control/owner - which sandbox or mesh a process belongs to */
#include "control/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/control.h"
#include "control/registry.h"
#include "net/diag.h"
#include "proc/tree.h"
#include "util/fd.h"
#include "util/parse.h"

#define ANCESTORS_MAX 16
#define RUNNING_MAX   1024
#define PATIENCE_MS   500

/* A process and those above it. */
struct line {
	pid_t pids[ANCESTORS_MAX];
	size_t count;
};

static bool has(const struct line *line, json_int_t pid)
{
	for (size_t i = 0; i < line->count; i++)
		if (line->pids[i] == pid)
			return true;
	return false;
}

/* The host of the mesh at the other end whose command is in @line, of all its answers; or NULL. */
static json_t *find_host(int sock, const struct line *line)
{
	json_t *answer, *host, *name = NULL;
	size_t asked = 0, count = 1, i;
	struct err discard;

	for (; !name && count > 0; asked += count) {
		control_send(sock,
			json_pack("{s:s, s:I}", "op", "status", "from", (json_int_t)asked), NULL,
			0);
		if (control_receive(sock, "mesh", PATIENCE_MS, &answer, NULL, &discard) < 0)
			return NULL;
		json_t *hosts = json_object_get(answer, "hosts");
		count = json_array_size(hosts);
		json_array_foreach(hosts, i, host)
		{
			if (!name && has(line, json_integer_value(json_object_get(host, "pid"))))
				name = json_incref(json_object_get(host, "name"));
		}
		json_decref(answer);
	}
	return name;
}

static void describe(int sock, enum registry_kind kind, const char *name, const struct line *line,
	char *out, size_t cap_bytes)
{
	json_t *host = kind == REGISTRY_MESH ? find_host(sock, line) : NULL;
	const char *text = json_string_value(host);

	snprintf(out, cap_bytes, "the %s %s%s%s%s", kind == REGISTRY_MESH ? "mesh" : "sandbox",
		name, text ? " (host " : "", text ? text : "", text ? ")" : "");
	json_decref(host);
}

/* One of @found whose process, which is who listens at its socket, is in @line. */
static int find(const struct registry *registry, const struct registry_found *found, size_t count,
	const struct line *line, char *out, size_t cap_bytes)
{
	for (size_t i = 0; i < count; i++) {
		struct err discard;
		struct ucred peer;
		socklen_t len = sizeof(peer);
		_cleanup_fd_ int sock = registry_connect_found(registry, &found[i], &discard);

		if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
			!has(line, peer.pid))
			continue;
		describe(sock, registry->kind, found[i].name, line, out, cap_bytes);
		return 0;
	}
	return -ENOENT;
}

static int look_in(enum registry_kind kind, const struct line *line, char *out, size_t cap_bytes)
{
	struct registry_found *found = calloc(RUNNING_MAX, sizeof(*found));
	struct registry registry;
	struct err discard;
	int result = -ENOENT;

	if (found && registry_open(kind, &registry, &discard) == 0) {
		registry.only_looks = true;
		ssize_t count = registry_list(&registry, found, RUNNING_MAX);

		result =
			find(&registry, found, count > 0 ? (size_t)count : 0, line, out, cap_bytes);
		registry_close(&registry);
	}
	free(found);
	return result;
}

/* Who listens at the socket file, or 0. */
static pid_t find_listener(const struct addr *addr)
{
	_cleanup_fd_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (sock < 0 || connect(sock, &addr->any, addr_len(addr)) < 0 ||
		getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return 0;
	return peer.pid;
}

int owner_of(const struct addr *addr, enum proto proto, char *out, size_t cap_bytes)
{
	pid_t pid = addr->family == AF_UNIX ? find_listener(addr) : diag_port_pid(proto, addr);
	struct line line = {.count = 0};

	for (; pid > 1 && line.count < ANCESTORS_MAX; pid = tree_parent(pid))
		line.pids[line.count++] = pid;
	if (look_in(REGISTRY_SANDBOX, &line, out, cap_bytes) == 0)
		return 0;
	return look_in(REGISTRY_MESH, &line, out, cap_bytes);
}

void owner_explain(const struct addr *addr, enum proto proto, struct err *err)
{
	char name[OWNER_TEXT_BYTES], host[ADDR_TEXT_BYTES];

	if (owner_of(addr, proto, name, sizeof(name)) < 0)
		return;
	addr_format_ip(addr, host, sizeof(host));
	if (addr->family == AF_UNIX)
		err_set(err, EADDRINUSE, "%s is in use by %s", PARSE_QUOTED(host), name);
	else
		err_set(err, EADDRINUSE, "%sport %u of %s is in use by %s",
			proto == PROTO_UDP ? "UDP " : "", addr_port(addr), host, name);
}
