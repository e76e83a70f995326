/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/manager_reload - follow a manifest that has changed, without touching what has not
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "mesh/configure.h"
#include "mesh/manager/manager_parts.h"

struct report {
	struct manager *manager;
	json_t *errors;
};

static void on_error(void *told, const char *line)
{
	struct report *report = told;

	manager_say(report->manager, LOG_ERROR, "%s", line);
	json_array_append_new(report->errors, control_text(line));
}

/* Is host number @new told something else now than number @old was, given what it can do? */
static bool is_told_else(const struct manifest *before, int old, const struct manifest *after,
	int new, unsigned features)
{
	struct mesh_config was = {0}, is = {0};
	bool differs = true;

	if (manifest_configure(before, (size_t)old, &was) == 0 &&
		manifest_configure(after, (size_t) new, &is) == 0) {
		json_t *told = configure_encode(&was, features);
		json_t *to_tell = configure_encode(&is, features);

		differs = !told || !to_tell || !json_equal(told, to_tell);
		json_decref(told);
		json_decref(to_tell);
	}
	config_free(&was);
	config_free(&is);
	return differs;
}

/* What becomes of a peer that is in both manifests. */
enum change { CHANGE_NONE, CHANGE_TELL, CHANGE_RESTART };

static enum change compare(const struct peer *peer, const struct manifest *before,
	const struct manifest *after, int number)
{
	const struct manifest_host *was = &before->hosts[peer->number];
	const struct manifest_host *is = &after->hosts[number];
	bool is_equal = manifest_host_equal(was, is);
	bool can_be_told = peer->is_answered && (peer->info.features & FEATURE_RECONFIGURE);

	if (was->vip.s_addr != is->vip.s_addr || !config_texts_equal(was->cmd, is->cmd))
		return CHANGE_RESTART;
	if (!is_told_else(before, peer->number, after, number, peer->info.features))
		return peer->state == PEER_DOWN && !is_equal ? CHANGE_RESTART : CHANGE_NONE;
	return is_equal || can_be_told ? CHANGE_TELL : CHANGE_RESTART;
}

/* Each host of @after: the peer that it has, or a new one. Stores what is to be done with each. */
static struct peer **match(
	struct manager *manager, const struct manifest *after, enum change *changes)
{
	const struct manifest *before = &manager->manifest;
	struct peer **peers = calloc(after->nhosts + 1, sizeof(struct peer *));

	for (size_t i = 0; peers && i < after->nhosts; i++) {
		for (size_t j = 0; j < before->nhosts && !peers[i]; j++)
			if (strcmp(before->hosts[j].name, after->hosts[i].name) == 0)
				peers[i] = manager->peers[j];
		changes[i] = peers[i] ? compare(peers[i], before, after, (int)i) : CHANGE_RESTART;
	}
	return peers;
}

static bool make_new_ones(
	struct manager *manager, const struct manifest *after, struct peer **peers)
{
	for (size_t i = 0; i < after->nhosts; i++) {
		if (peers[i])
			continue;
		peers[i] = peer_new(&manager->context, &after->hosts[i], -1);
		if (!peers[i])
			return false;
	}
	return true;
}

/* Who is not among the @count ones at @peers leaves. */
static void let_others_leave(struct manager *manager, struct peer **peers, size_t count)
{
	for (size_t i = 0; i < manager->manifest.nhosts; i++) {
		struct peer *peer = manager->peers[i];
		size_t at = 0;

		while (at < count && peers[at] != peer)
			at++;
		if (at < count)
			continue;
		peer->host = NULL;
		peer->next = manager->leaving;
		manager->leaving = peer;
	}
}

static void apply(struct peer *peer, enum change change)
{
	switch (change) {
	case CHANGE_NONE:
		break;
	case CHANGE_TELL:
		peer_reconfigure(peer);
		break;
	case CHANGE_RESTART:
		peer_restart(peer, "its part of the manifest has changed");
		break;
	}
}

/* Nothing fails from here on. @after, @router and @peers are taken over. */
static void follow(struct manager *manager, const struct manifest *after, struct router *router,
	struct peer **peers, const enum change *changes)
{
	struct manifest before = manager->manifest;
	struct peer **old_peers = manager->peers;

	router_inherit(router, manager->router);
	router_free(manager->router);
	let_others_leave(manager, peers, after->nhosts);
	manager->manifest = *after;
	manager->router = router;
	manager->peers = peers;
	manager->was_complete = false;
	for (size_t i = 0; i < after->nhosts; i++) {
		peers[i]->host = &manager->manifest.hosts[i];
		peers[i]->number = (int)i;
	}
	for (struct peer *peer = manager->leaving; peer; peer = peer->next)
		peer_stop(peer);
	for (size_t i = 0; i < after->nhosts; i++)
		apply(peers[i], changes[i]);
	display_rows(manager->display, after->nhosts);
	free(old_peers);
	manifest_free(&before);
}

static int prepare(struct manager *manager, struct manifest *after)
{
	enum change *changes = calloc(after->nhosts + 1, sizeof(*changes));
	struct router *router = router_new(after);
	struct peer **peers = changes && router ? match(manager, after, changes) : NULL;
	int result = peers && make_new_ones(manager, after, peers) ? 0 : -ENOMEM;

	if (result == 0) {
		follow(manager, after, router, peers, changes);
	} else {
		for (size_t i = 0; peers && i < after->nhosts; i++)
			if (peers[i] && peers[i]->number < 0)
				peer_free(peers[i]);
		router_free(router);
		free(peers);
	}
	free(changes);
	return result;
}

int manager_reload(struct manager *manager, json_t *errors)
{
	struct report report = {manager, errors};
	const char *path = manager->config->path;
	struct manifest after = {0};

	if (manager->is_ending) {
		on_error(&report, "it is ending");
		return -EBUSY;
	}
	if (strcmp(path, "-") == 0) {
		on_error(&report, "the manifest was read from stdin: it cannot be read again");
		return -EINVAL;
	}
	int result = manifest_read(path, &after, on_error, &report);
	if (result == 0) {
		result = prepare(manager, &after);
		if (result < 0) {
			manifest_free(&after);
			on_error(&report, "no memory");
		}
	}
	manager_say(
		manager, LOG_NOTICE, result < 0 ? "%s is not followed" : "%s was read again", path);
	return result;
}
