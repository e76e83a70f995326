/* SPDX-License-Identifier: Apache-2.0 */
/* proc/tree - find and signal every process below another one */
#include "proc/tree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/parse.h"
#include "util/procfs.h"

#define TREE_MAX       65536
#define PID_MAX        (1UL << 30)
#define CHILDREN_BYTES 65536 /* those past it are seen when others have ended */
#define REAP_MAX       256   /* at a time */
#define OWN_MAX        8192  /* in so many bytes */

struct entry {
	pid_t pid, parent;
	bool is_below;
};

/* Words of /proc/PID/stat behind "PID (COMM) S", proc(5); COMM may hold anything, also ")". */
enum stat_word { STAT_PARENT = 1, STAT_FLAGS = 6 };

#define PF_EXITING 0x4 /* linux/sched.h; set before its files are closed and its children leave */

/* What stands behind COMM: " S PARENT...", or NULL. */
static char *read_behind_comm(pid_t pid, char *stat, size_t cap_bytes)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	char *end = fd_read_file(path, stat, cap_bytes) > 0 ? strrchr(stat, ')') : NULL;
	return end ? strchr(end, ' ') : NULL;
}

static int read_stat(pid_t pid, enum stat_word word, unsigned long *out)
{
	char stat[512], *next = read_behind_comm(pid, stat, sizeof(stat));

	if (!next)
		return -ESRCH;
	for (unsigned i = 0; next && i < (unsigned)word; i++)
		next = strchr(next + 1, ' ');
	char *end = next ? strchr(next + 1, ' ') : NULL;
	if (!end)
		return -EBADMSG;
	*end = '\0';
	return parse_uint(next + 1, UINT_MAX, out);
}

pid_t tree_parent(pid_t pid)
{
	unsigned long parent;

	return read_stat(pid, STAT_PARENT, &parent) < 0 ? -1 : (pid_t)parent;
}

bool tree_is_ending(pid_t pid)
{
	unsigned long flags;

	return read_stat(pid, STAT_FLAGS, &flags) == 0 && (flags & PF_EXITING) != 0;
}

bool tree_runs(pid_t pid)
{
	char stat[512];
	const char *state = read_behind_comm(pid, stat, sizeof(stat));

	return state ? !strchr("Tt", state[1]) : kill(pid, 0) < 0 && errno == ESRCH;
}

/* A zombie has no children any more: they have left before it became one. */
static bool is_zombie(pid_t pid)
{
	char stat[512];
	const char *state = read_behind_comm(pid, stat, sizeof(stat));

	return !state || state[1] == 'Z' || state[1] == 'X';
}

static ssize_t read_entries(struct entry *entries, size_t cap)
{
	DIR *proc = opendir("/proc");
	size_t count = 0;

	if (!proc)
		return -errno;
	for (pid_t pid; count < cap && (pid = procfs_next_pid(proc)) != 0;) {
		pid_t parent = tree_parent(pid);
		if (parent >= 0)
			entries[count++] = (struct entry){pid, parent, false};
	}
	closedir(proc);
	return (ssize_t)count;
}

ssize_t tree_children(pid_t *pids, size_t cap)
{
	char *text = malloc(CHILDREN_BYTES), *next = text, *end;
	unsigned long pid;
	size_t count = 0;

	if (!text)
		return -ENOMEM;
	ssize_t got = fd_read_file("/proc/thread-self/children", text, CHILDREN_BYTES);
	for (; got > 0 && count < cap && (end = strchr(next, ' ')); next = end + 1) {
		*end = '\0';
		if (parse_uint(next, PID_MAX, &pid) == 0)
			pids[count++] = (pid_t)pid;
	}
	free(text);
	return got < 0 ? got : (ssize_t)count;
}

static const struct entry *find(const struct entry *entries, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (entries[i].pid == pid)
			return &entries[i];
	return NULL;
}

/*
 * Our own children that the list of /proc hides. What they started comes to us when they die.
 * Returns the new count.
 */
static size_t add_own_children(struct entry *entries, size_t count, size_t cap)
{
	const size_t listed = count;
	pid_t pids[OWN_MAX];
	ssize_t own = tree_children(pids, OWN_MAX);

	for (ssize_t i = 0; i < own && count < cap; i++)
		if (!find(entries, listed, pids[i]))
			entries[count++] = (struct entry){pids[i], getpid(), false};
	return count;
}

static bool is_below(const struct entry *entries, size_t count, pid_t root, pid_t parent)
{
	const struct entry *found = parent == root ? NULL : find(entries, count, parent);

	return parent == root || (found && found->is_below);
}

static ssize_t list(pid_t root, bool (*is_spared)(const void *owner, pid_t pid), const void *owner,
	pid_t *pids, size_t cap)
{
	struct entry *entries = calloc(TREE_MAX, sizeof(*entries));
	bool has_changed = true;
	size_t stored = 0;

	if (!entries)
		return -ENOMEM;
	ssize_t count = read_entries(entries, TREE_MAX);
	if (count >= 0 && root == getpid())
		count = (ssize_t)add_own_children(entries, (size_t)count, TREE_MAX);
	/* a child may stand before its parent: pids wrap around */
	while (count > 0 && has_changed) {
		has_changed = false;
		for (ssize_t i = 0; i < count; i++) {
			if (entries[i].is_below ||
				!is_below(entries, (size_t)count, root, entries[i].parent))
				continue;
			if (is_spared && entries[i].parent == root &&
				is_spared(owner, entries[i].pid))
				continue;
			entries[i].is_below = has_changed = true;
			if (stored < cap)
				pids[stored++] = entries[i].pid;
		}
	}
	free(entries);
	return count < 0 ? count : (ssize_t)stored;
}

ssize_t tree_list(pid_t root, pid_t *pids, size_t cap)
{
	return list(root, NULL, NULL, pids, cap);
}

static ssize_t signal_others(pid_t root, int sig, pid_t group,
	bool (*is_spared)(const void *owner, pid_t pid), const void *owner)
{
	pid_t *pids = malloc(TREE_MAX * sizeof(*pids));

	if (!pids)
		return -ENOMEM;
	ssize_t count = list(root, is_spared, owner, pids, TREE_MAX);
	for (ssize_t i = 0; i < count; i++)
		if (group == TREE_NO_GROUP || getpgid(pids[i]) != group)
			kill(pids[i], sig);
	free(pids);
	return count;
}

ssize_t tree_signal(pid_t root, int sig)
{
	return signal_others(root, sig, TREE_NO_GROUP, NULL, NULL);
}

ssize_t tree_signal_others(
	int sig, pid_t group, bool (*is_spared)(const void *owner, pid_t pid), const void *owner)
{
	return signal_others(getpid(), sig, group, is_spared, owner);
}

enum tree_reaped tree_reap(
	int options, void (*on_change)(void *owner, const siginfo_t *info), void *owner)
{
	for (unsigned i = 0; i < REAP_MAX; i++) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, options | WNOHANG) < 0)
			return TREE_CHILDLESS;
		if (info.si_pid == 0)
			return TREE_LIVES;
		if (on_change)
			on_change(owner, &info);
	}
	return TREE_MORE;
}

/*
 * All that is below us at one look, if nobody is spared; else our children, and what they leave are
 * that the next time. Returns how many are not spared.
 */
static ssize_t kill_children_but(bool (*is_spared)(const void *owner, pid_t pid), const void *owner)
{
	pid_t pids[OWN_MAX];
	ssize_t count = tree_children(pids, OWN_MAX), left = count;

	for (ssize_t i = 0; i < count; i++)
		if (is_spared(owner, pids[i]))
			left--;
		else
			kill(pids[i], SIGKILL);
	if (left > 0 && left == count)
		tree_signal(getpid(), SIGKILL);
	return left;
}

int tree_kill_but(
	unsigned timeout_ms, bool (*is_spared)(const void *owner, pid_t pid), const void *owner)
{
	for (struct clock_wait wait = clock_wait_start(timeout_ms);
		tree_reap(WEXITED, NULL, NULL) != TREE_CHILDLESS;) {
		ssize_t left = is_spared ? kill_children_but(is_spared, owner) : -ENOENT;

		if (left == 0)
			return 0;
		if (left < 0)
			left = tree_signal(getpid(), SIGKILL);
		if (left < 0)
			return (int)left;
		if (!clock_wait_go_on(&wait))
			return -EBUSY;
	}
	return 0;
}

int tree_kill(unsigned timeout_ms)
{
	return tree_kill_but(timeout_ms, NULL, NULL);
}

int tree_kill_child(pid_t pid, unsigned timeout_ms)
{
	struct clock_wait wait = clock_wait_start(timeout_ms);
	_cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = {pidfd, POLLIN, 0};
	siginfo_t info = {0};

	kill(pid, SIGKILL);
	/* the pauses below are for what has no pidfd (before Linux 5.3), and a signal's arrival */
	if (pidfd >= 0)
		poll(&end, 1, (int)timeout_ms);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
		if (!clock_wait_go_on(&wait))
			return -EBUSY;
	return 0;
}

int tree_kill_below(pid_t root, unsigned timeout_ms)
{
	struct clock_wait wait = clock_wait_start(timeout_ms);
	pid_t *pids = malloc(TREE_MAX * sizeof(*pids));
	ssize_t left = pids ? 1 : -ENOMEM;

	while (left > 0) {
		ssize_t count = tree_list(root, pids, TREE_MAX);

		left = count < 0 ? count : 0;
		for (ssize_t i = 0; i < count; i++) {
			if (is_zombie(pids[i]))
				continue;
			kill(pids[i], SIGKILL);
			left++;
		}
		if (left > 0 && !clock_wait_go_on(&wait))
			left = -EBUSY;
	}
	free(pids);
	return (int)left;
}

/* Signal (0: only count) whoever is in that namespace now. Returns how many were found. */
static size_t signal_namespace(const struct stat *ns, int sig)
{
	DIR *proc = opendir("/proc");
	size_t found = 0;

	if (!proc)
		return 0;
	for (pid_t pid; (pid = procfs_next_pid(proc)) != 0;) {
		char path[64];
		struct stat theirs;

		snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
		if (stat(path, &theirs) < 0 || theirs.st_dev != ns->st_dev ||
			theirs.st_ino != ns->st_ino)
			continue;
		kill(pid, sig);
		found++;
	}
	closedir(proc);
	return found;
}

void tree_end_namespace(int ns_fd, unsigned grace_ms, unsigned timeout_ms)
{
	struct stat ns;

	if (fstat(ns_fd, &ns) < 0)
		return;
	struct clock_wait wait = clock_wait_start(grace_ms);
	while (signal_namespace(&ns, 0) > 0 && clock_wait_go_on(&wait))
		;
	wait = clock_wait_start(timeout_ms);
	while (signal_namespace(&ns, SIGKILL) > 0 && clock_wait_go_on(&wait))
		;
}
