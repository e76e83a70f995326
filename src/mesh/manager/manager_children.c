/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_children - reap the commands of hosts, and end what they leave behind */
#include <stdlib.h>
#include <sys/wait.h>

#include "mesh/manager/manager_parts.h"

#define KILL_MS 300

void children_inherit(struct manager *manager)
{
	ssize_t count = children_list(manager->inherited, CHILDREN_INHERITED_MAX);

	manager->ninherited = count > 0 ? (size_t)count : 0;
}

static struct peer *find_peer(const struct manager *manager, pid_t pid)
{
	for (size_t i = 0; i < manager->manifest.nhosts; i++)
		if (manager->peers[i]->child.pid == pid)
			return manager->peers[i];
	for (struct peer *peer = manager->leaving; peer; peer = peer->next)
		if (peer->child.pid == pid)
			return peer;
	return NULL;
}

/* SIGKILL what commands that have ended left behind. Returns how many that were. */
static size_t kill_orphans(const struct manager *manager)
{
	size_t count = 0, most = manager->manifest.nhosts + manager->ninherited;

	for (struct peer *peer = manager->leaving; peer; peer = peer->next)
		most++;
	pid_t *spared = calloc(most + 1, sizeof(*spared));
	if (!spared)
		return 0;
	for (size_t i = 0; i < manager->manifest.nhosts; i++)
		spared[count++] = manager->peers[i]->child.pid;
	for (struct peer *peer = manager->leaving; peer; peer = peer->next)
		spared[count++] = peer->child.pid;
	for (size_t i = 0; i < manager->ninherited; i++)
		spared[count++] = manager->inherited[i];
	size_t found = children_kill_others(spared, count);
	free(spared);
	return found;
}

/* Its number may come again, and then is no longer spared. */
static void forget_inherited(struct manager *manager, pid_t pid)
{
	for (size_t i = 0; i < manager->ninherited; i++)
		if (manager->inherited[i] == pid)
			manager->inherited[i] = 0;
}

void children_reap(struct manager *manager)
{
	bool has_any = false;

	for (;;) {
		siginfo_t info = {0};

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
			break;
		has_any = true;
		forget_inherited(manager, info.si_pid);
		struct peer *peer = find_peer(manager, info.si_pid);
		if (peer)
			peer_on_child_end(peer, info.si_code, info.si_status);
	}
	if (has_any)
		kill_orphans(manager);
}

void children_end(struct manager *manager)
{
	const struct timespec pause = {.tv_nsec = 2000000};

	for (size_t i = 0; i < manager->manifest.nhosts; i++)
		peer_kill(manager->peers[i]);
	for (struct peer *peer = manager->leaving; peer; peer = peer->next)
		peer_kill(peer);
	for (unsigned waited_ms = 0; waited_ms < KILL_MS; waited_ms += 2) {
		bool has_peers = false;

		children_reap(manager);
		for (size_t i = 0; i < manager->manifest.nhosts; i++)
			has_peers = has_peers || peer_has_child(manager->peers[i]);
		for (struct peer *peer = manager->leaving; peer; peer = peer->next)
			has_peers = has_peers || peer_has_child(peer);
		if (!has_peers && kill_orphans(manager) == 0)
			return;
		nanosleep(&pause, NULL);
	}
	manager_say(manager, LOG_WARNING, "processes of some hosts cannot be ended");
}
