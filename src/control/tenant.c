/* SPDX-License-Identifier: Apache-2.0 */
/* control/tenant - who is a host of a mesh now: the last one that came, and those before it end */
#include "control/tenant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/identity.h"
#include "control/places.h"
#include "util/fd.h"
#include "util/log.h"

#define NAME_BYTES (sizeof("sandbox-agent-") + TENANT_IDENTITY_MAX)
#define KILL_MS    2000
#define GRACE_MS   2000 /* COMMAND's 500, and a second for what it wrote */
#define RIVALS_MAX 8    /* that come at the same time */

static const char *const prefixes[TENANT_KINDS] = {
	[TENANT_AGENT] = "agent-",
	[TENANT_SANDBOX] = "sandbox-agent-",
};

int tenant_check_identity(const char *identity, struct err *err)
{
	size_t len = strspn(identity, "0123456789abcdef");

	if (len > 0 && len <= TENANT_IDENTITY_MAX && identity[len] == '\0')
		return 0;
	return err_set(err, EINVAL, "identity: expected 1 to %d digits of 0-9 and a-f",
		TENANT_IDENTITY_MAX);
}

/* End who listens there. Returns 1 if there was one, 0, or -errno: -EPERM if it is none of ours. */
static int end_former(int dir_fd, enum tenant_kind kind, const char *identity, struct err *err)
{
	char name[NAME_BYTES];

	snprintf(name, sizeof(name), "%s%s", prefixes[kind], identity);
	_cleanup_fd_ int sock = unixsock_connect(dir_fd, name, SOCK_SEQPACKET);
	if (sock == -EAGAIN)
		return err_set(err, EAGAIN, "its socket takes no more clients");
	if (sock < 0) /* stale, or none */
		return 0;
	int result = kind == TENANT_AGENT ? identity_kill(sock, KILL_MS, err)
					  : identity_end(sock, GRACE_MS, KILL_MS, err);
	return result < 0 ? result : 1;
}

static int end_formers(const struct places *places, const char *identity, struct err *err)
{
	int former = 0;

	for (size_t i = 0; i < places->count; i++) {
		for (int kind = 0; kind < TENANT_KINDS; kind++) {
			int result = end_former(
				places->items[i].dir_fd, (enum tenant_kind)kind, identity, err);
			if (result < 0)
				return result;
			former += result;
		}
	}
	return former;
}

/* Who comes at the same time may have been faster: the later one stays. */
static int claim(struct tenant *tenant, const struct places *places, const char *name,
	const char *identity, struct err *err)
{
	int dir_fd = places->items[0].dir_fd, fd = -EADDRINUSE, former = 0;

	for (int round = 0; round < RIVALS_MAX && fd == -EADDRINUSE; round++) {
		int result = end_formers(places, identity, err);
		if (result < 0)
			return result;
		former += result;
		fd = unixsock_listen(dir_fd, name, SOCK_SEQPACKET, &tenant->id);
	}
	if (former > 0)
		log_notice("has taken over from an agent whose link was lost");
	if (fd < 0)
		return err_sys(err, -fd, "cannot make a socket");
	tenant->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	tenant->hub_fd = places->hub < PLACES_MAX
				 ? fcntl(places->items[places->hub].dir_fd, F_DUPFD_CLOEXEC, 3)
				 : -1;
	tenant->listen_fd = fd;
	return former > 0;
}

int tenant_claim(
	struct tenant *tenant, enum tenant_kind kind, const char *identity, struct err *err)
{
	const struct places_roots roots = {getenv("XDG_RUNTIME_DIR"), "/run/user", "/tmp"};
	char name[NAME_BYTES];
	int result = tenant_check_identity(identity, err);

	if (result < 0)
		return result;
	snprintf(name, sizeof(name), "%s%s", prefixes[kind], identity);
	if (tenant->listen_fd >= 0 && strcmp(tenant->id.name, name) == 0)
		return 0;
	tenant_end(tenant);
	struct places *places = malloc(sizeof(*places)); /* paths */
	if (!places)
		return err_sys(err, ENOMEM, "cannot look for other agents");
	result = places_open(&roots, places, err);
	if (result == 0) {
		result = claim(tenant, places, name, identity, err);
		places_close(places);
	}
	free(places);
	return result;
}

/* The agent that listens there, or 0. */
static pid_t find_agent(int dir_fd, const char *name)
{
	_cleanup_fd_ int sock = unixsock_connect(dir_fd, name, SOCK_SEQPACKET);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct err discard;

	if (sock < 0 || identity_check(sock, &discard) < 0 ||
		getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return 0;
	return peer.pid;
}

static size_t find_kin(
	const struct place *place, const char *own, size_t shared, pid_t *out, size_t max)
{
	int fd = openat(place->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *file;
	size_t count = 0;

	if (!dir) {
		fd_close(&fd);
		return 0;
	}
	while (count < max && (file = readdir(dir))) {
		if (strncmp(file->d_name, own, shared) != 0 || strcmp(file->d_name, own) == 0)
			continue;
		pid_t pid = find_agent(place->dir_fd, file->d_name);
		if (pid > 0)
			out[count++] = pid;
	}
	closedir(dir);
	return count;
}

size_t tenant_kin(const char *identity, pid_t *out, size_t max)
{
	const struct places_roots roots = {getenv("XDG_RUNTIME_DIR"), "/run/user", "/tmp"};
	const size_t shared = strlen(prefixes[TENANT_AGENT]) + strlen(identity) / 2;
	struct places *places = malloc(sizeof(*places)); /* paths */
	char own[NAME_BYTES];
	struct err discard;
	size_t count = 0;

	snprintf(own, sizeof(own), "%s%s", prefixes[TENANT_AGENT], identity);
	if (places && places_open(&roots, places, &discard) == 0) {
		for (size_t i = 0; i < places->count; i++)
			count += find_kin(&places->items[i], own, shared, out + count, max - count);
		places_close(places);
	}
	free(places);
	return count;
}

int tenant_shed(const struct tenant *tenant)
{
	int fd;

	while ((fd = accept4(tenant->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
	return errno == EAGAIN ? 0 : -errno;
}

void tenant_end(struct tenant *tenant)
{
	if (tenant->listen_fd < 0)
		return;
	unixsock_remove(tenant->dir_fd, &tenant->id);
	fd_close(&tenant->listen_fd);
	fd_close(&tenant->dir_fd);
	fd_close(&tenant->hub_fd);
}
