/* SPDX-License-Identifier: Apache-2.0 */
/* proc/daemon - is a process there for others than who started it? */
#include "proc/daemon.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/tree.h"
#include "util/procfs.h"

#define SOCKETS_MAX 256
#define BELOW_MAX   256
#define PIPES_MAX   64
#define COUNTED_MAX 64
#define LISTENS     0x10000 /* __SO_ACCEPTCON, in the flags of /proc/net/unix */
#define CONNECTED   3       /* SS_CONNECTED, net.h of Linux */

/* A link below /proc/PID; "" if it cannot be read. */
static void read_link(pid_t pid, const char *name, char *out, size_t cap_bytes)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	ssize_t len = readlink(path, out, cap_bytes - 1);
	out[len > 0 ? len : 0] = '\0';
}

/* Does what it calls itself begin so? */
static bool is_called(pid_t pid, const char *begin)
{
	char path[64], name[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool is_read = fgets(name, sizeof(name), file) != NULL;
	fclose(file);
	return is_read && strncmp(name, begin, strlen(begin)) == 0;
}

static bool is_nswrap(pid_t pid)
{
	return is_called(pid, "nswrap");
}

bool daemon_keeps(pid_t pid)
{
	return is_called(pid, "nswrap: keeper");
}

struct inodes {
	unsigned long items[SOCKETS_MAX];
	size_t count;
};

static bool add_inode(void *owner, unsigned long inode)
{
	struct inodes *inodes = owner;

	inodes->items[inodes->count++] = inode;
	return inodes->count == SOCKETS_MAX; /* enough */
}

static bool has(const struct inodes *inodes, unsigned long inode)
{
	for (size_t i = 0; i < inodes->count; i++)
		if (inodes->items[i] == inode)
			return true;
	return false;
}

/* An accepted socket has the name of the one that listens. */
bool daemon_serves(pid_t pid)
{
	struct inodes inodes = {.count = 0};
	unsigned long inode, flags;
	char line[512], path[256];
	bool listens = false, is_connected = false;
	unsigned state;

	if (!is_nswrap(pid))
		procfs_has_socket(pid, add_inode, &inodes);
	FILE *file = inodes.count > 0 ? fopen("/proc/net/unix", "re") : NULL;
	while (file && fgets(line, sizeof(line), file)) {
		/* Num RefCount Protocol Flags Type St Inode Path, proc_net(5) */
		if (sscanf(line, "%*s %*x %*x %lx %*x %x %lu %255s", &flags, &state, &inode,
			    path) != 4 ||
			path[0] != '/' || !has(&inodes, inode))
			continue;
		listens |= (flags & LISTENS) != 0;
		is_connected |= state == CONNECTED;
	}
	if (file)
		fclose(file);
	return listens && is_connected;
}

bool daemon_serves_below(pid_t root)
{
	pid_t pids[BELOW_MAX];
	ssize_t count = tree_list(root, pids, BELOW_MAX);

	for (ssize_t i = 0; i < count; i++)
		if (daemon_serves(pids[i]))
			return true;
	return daemon_serves(root);
}

/* Are all its streams files, or none, as daemon(3) makes them? Also if nobody may know. */
static bool has_left_streams(pid_t pid)
{
	char name[16], target[64];

	for (int fd = 0; fd < 3; fd++) {
		snprintf(name, sizeof(name), "fd/%d", fd);
		read_link(pid, name, target, sizeof(target));
		if (strncmp(target, "pipe:", 5) == 0 || strncmp(target, "socket:", 7) == 0 ||
			strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0)
			return false;
	}
	return true;
}

bool daemon_is_one(pid_t pid)
{
	char ours[64], its[64];

	read_link(getpid(), "ns/net", ours, sizeof(ours));
	read_link(pid, "ns/net", its, sizeof(its)); /* "" of an ssh-agent, which nobody may trace */
	/* the last: who ends has no streams any more */
	return !is_nswrap(pid) && (its[0] == '\0' || strcmp(ours, its) == 0) &&
	       has_left_streams(pid) && !tree_is_ending(pid);
}

struct pipes {
	struct {
		unsigned long inode;
		bool is_written;
	} ends[PIPES_MAX];
	size_t count;
	bool are_read, are_written; /* at the other end by whom it is compared with */
};

static bool add_end(void *owner, unsigned long inode, bool is_written)
{
	struct pipes *pipes = owner;

	pipes->ends[pipes->count].inode = inode;
	pipes->ends[pipes->count++].is_written = is_written;
	return pipes->count == PIPES_MAX; /* enough */
}

static bool match_end(void *owner, unsigned long inode, bool is_written)
{
	struct pipes *pipes = owner;

	for (size_t i = 0; i < pipes->count; i++)
		if (pipes->ends[i].inode == inode && pipes->ends[i].is_written != is_written)
			*(is_written ? &pipes->are_written : &pipes->are_read) = true;
	return pipes->are_written && pipes->are_read;
}

bool daemon_is_helper(pid_t pid, bool (*is_left)(const void *owner, pid_t pid), const void *owner)
{
	struct pipes pipes = {.count = 0};
	pid_t pids[BELOW_MAX];

	procfs_has_pipe(pid, add_end, &pipes);
	ssize_t count = pipes.count > 0 ? tree_children(pids, BELOW_MAX) : 0;
	for (ssize_t i = 0; i < count; i++) {
		pipes.are_written = pipes.are_read = false;
		if (pids[i] != pid && procfs_has_pipe(pids[i], match_end, &pipes) &&
			is_left(owner, pids[i]))
			return true;
	}
	return false;
}

size_t daemon_count(
	pid_t session, bool (*is_spared)(const void *owner, pid_t pid), const void *owner)
{
	pid_t pids[COUNTED_MAX];
	ssize_t count = tree_list(getpid(), pids, COUNTED_MAX);
	/* where we were started by nohup all do */
	const bool all_ignore = procfs_ignores(getpid(), SIGHUP);
	size_t daemons = 0;

	for (ssize_t i = 0; i < count; i++) {
		const pid_t its = getsid(pids[i]); /* -1: it has just ended */

		daemons += its >= 0 && !(is_spared && is_spared(owner, pids[i])) &&
			   (its != session || (!all_ignore && procfs_ignores(pids[i], SIGHUP)));
	}
	return daemons;
}
