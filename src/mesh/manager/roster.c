/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/roster - the hosts of a mesh: those of its manifest, and those that leave */
#include "mesh/manager/roster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/manager/apart.h"
#include "mesh/manager/naming.h"

#define LINE_BYTES 1024
#define KILL_MS    300

/* --- what peers tell ------------------------------------------------------------------------ */

/* One line for each host whose agent is too old for some other one, however many there are. */
static void say_apart(struct peer *foreign, const struct peer *other)
{
	const struct mesh_agent_info *info = &foreign->session.info;
	char text[LINE_BYTES];

	if (foreign->is_said_apart || !apart_is_foreign(info))
		return;
	foreign->is_said_apart = true;
	session_notice(&foreign->session, LOG_WARNING, "%s",
		apart_format(info, other->name, &other->session.info, text, sizeof(text)));
}

/* @peer is ready: who of those that are cannot connect to it? */
static void look_for_strangers(struct roster *roster, struct peer *peer)
{
	for (size_t i = 0; i < roster->manifest.nhosts; i++) {
		struct peer *other = roster->peers[i];

		if (other == peer || other->state != PEER_READY ||
			!apart_are(&peer->session.info, &other->session.info))
			continue;
		say_apart(peer, other);
		say_apart(other, peer);
	}
}

static void on_change(struct peer *peer)
{
	struct roster *roster = peer->context->owner;

	const bool is_ready = peer->state == PEER_READY;

	/* whoever talks to a host that is ready for the first time does not do so for long */
	if (is_ready != peer->was_ready && (peer->was_ready || peer->restarts > 0))
		peer->is_news = true;
	if (is_ready && !peer->was_ready)
		look_for_strangers(roster, peer);
	else if (!is_ready)
		peer->is_said_apart = false;
	peer->was_ready = is_ready;
	fabric_settle(&roster->fabric, &peer->port);
	loop_task_add(roster->loop, roster->check);
	display_change(roster->display);
}

static void on_notice(struct session *session, enum log_level level, const char *text)
{
	const struct peer *peer = peer_of(session);
	struct roster *roster = peer->context->owner;

	display_say(roster->display, level, "%s: %s", peer->name, text);
}

static void on_stderr(struct peer *peer, const char *text, size_t len)
{
	struct roster *roster = peer->context->owner;
	char line[LINE_BYTES];
	size_t name_len = (size_t)snprintf(line, sizeof(line), "%.256s: ", peer->name);

	if (!log_wants(LOG_WARNING))
		return;
	if (len > sizeof(line) - name_len)
		len = sizeof(line) - name_len;
	memcpy(line + name_len, text, len);
	display_line(roster->display, line, name_len + len);
}

static int configure(struct session *session, struct mesh_config *out)
{
	const struct peer *peer = peer_of(session);
	const struct roster *roster = peer->context->owner;

	int result = manifest_configure(&roster->manifest, (size_t)peer->port.number, out);
	if (result < 0)
		return result;
	out->silence_s = PEER_AGENT_SILENCE_S;
	out->keep_s = peer->host && peer->host->no_restart ? 0 : PEER_KEEP_S;
	out->identity = naming_identity(roster->scope, peer->name);
	return out->identity ? 0 : -ENOMEM;
}

/*
 * Only by way of another host by which the manifest has names looked up: no agent may draw to
 * itself what was not meant for it.
 */
static void on_suggestion(
	struct session *session, const struct in_addr *ips, size_t count, struct in_addr via)
{
	const struct peer *peer = peer_of(session);
	struct roster *roster = peer->context->owner;
	const struct manifest *manifest = &roster->manifest;
	bool is_via = false;

	for (size_t i = 0; i < manifest->nroutes; i++)
		is_via = is_via || (manifest->routes[i].globs &&
					   manifest->routes[i].via.s_addr == via.s_addr);
	is_via = is_via && peer->host && peer->host->vip.s_addr != via.s_addr;
	for (size_t i = 0; is_via && i < count; i++)
		router_suggest(roster->router, ips[i], via);
}

static const struct session_ops session_ops = {
	.configure = configure, .on_notice = on_notice, .on_suggestion = on_suggestion};

static void on_lost_route(struct fabric *fabric, const struct fabric_port *from, struct in_addr dst)
{
	struct roster *roster = container_of(fabric, struct roster, fabric);
	char text[INET_ADDRSTRLEN];

	display_say(roster->display, LOG_WARNING, "%s: sends packets to %s, which is nobody's",
		container_of(from, struct peer, port)->name,
		inet_ntop(AF_INET, &dst, text, sizeof(text)));
}

/* --- another manifest ----------------------------------------------------------------------- */

/* What a manifest that is to be followed leads to. */
struct plan {
	struct difference difference;
	struct router *router;
	struct peer **peers;
	struct fabric_port **ports;
	enum roster_change *changes;
	struct allow **allows; /* NULL: everybody may */
	size_t nallows;
};

static void plan_free(struct plan *plan)
{
	difference_fini(&plan->difference);
	router_free(plan->router);
	free(plan->peers);
	free(plan->ports);
	free(plan->changes);
	for (size_t i = 0; i < plan->nallows; i++)
		allow_free(plan->allows[i]);
	free(plan->allows);
}

/* Is number @host told something else now than number @old was, given what its agent can do? */
static bool is_told_else(const struct manifest *before, size_t old, const struct manifest *after,
	size_t host, unsigned features, bool is_equal, const struct difference *difference)
{
	struct mesh_config was = {0}, is = {0};
	bool differs = true;

	/* names are told to all; the rest is compared as it is told, which takes its time */
	if (difference->has_other_hosts)
		return true;
	if (is_equal && difference->has_same_routes && difference->is_in_order &&
		difference->nleft + difference->ncame == 0)
		return false;
	if (manifest_configure(before, old, &was) == 0 && manifest_configure(after, host, &is) == 0)
		differs = !configure_tells_same(&was, features, &is, features);
	config_free(&was);
	config_free(&is);
	return differs;
}

int roster_find(const struct manifest *before, const struct manifest *after, size_t host)
{
	for (size_t i = 0; i < before->nhosts; i++)
		if (strcmp(before->hosts[i].name, after->hosts[host].name) == 0)
			return (int)i;
	return ROUTER_NOBODY;
}

enum roster_change roster_compare(const struct peer *peer, const struct manifest *before,
	size_t old, const struct manifest *after, size_t host, const struct difference *difference)
{
	const struct manifest_host *was = &before->hosts[old], *is = &after->hosts[host];
	const struct session *session = &peer->session;
	unsigned features = session->info.features;
	bool is_equal = manifest_host_equal(was, is);
	bool can_be_told = peer->state != PEER_DOWN && peer->state != PEER_ENDING &&
			   session->is_answered && (features & FEATURE_RECONFIGURE);

	if (!manifest_texts_equal(was->cmd, is->cmd) || was->install != is->install ||
		!manifest_sandbox_equal(was, is))
		return ROSTER_REPLACE;
	if (was->vip.s_addr != is->vip.s_addr)
		return ROSTER_RESTART;
	if (!is_told_else(before, old, after, host, features, is_equal, difference))
		return peer->state == PEER_DOWN && !is_equal ? ROSTER_RESTART : ROSTER_NOTHING;
	if (is_equal && can_be_told && difference->has_same_routes && (features & FEATURE_AMEND))
		return ROSTER_AMEND;
	return is_equal || can_be_told ? ROSTER_TELL : ROSTER_RESTART;
}

/* Number @host of @after: the peer that it has, or a new one. */
static struct peer *find_or_make(struct roster *roster, const struct manifest *after, size_t host,
	const struct difference *difference, enum roster_change *change)
{
	int old = roster_find(&roster->manifest, after, host);

	*change = ROSTER_RESTART;
	if (old == ROUTER_NOBODY)
		return peer_new(&roster->context, &after->hosts[host]);
	*change = roster_compare(
		roster->peers[old], &roster->manifest, (size_t)old, after, host, difference);
	return roster->peers[old];
}

/* Who may begin something with number @host of @after, @peer. */
static bool make_allow(
	const struct manifest *after, size_t host, struct peer *peer, struct plan *plan)
{
	const struct manifest_host *is = &after->hosts[host];

	plan->nallows++;
	if (is->own.nallow == 0)
		return true;
	plan->allows[host] = allow_new(is->vip, is->own.allow, is->own.nallow);
	if (!peer->port.awaited)
		peer->port.awaited = calloc(1, sizeof(*peer->port.awaited));
	return plan->allows[host] && peer->port.awaited;
}

static int make_plan(struct roster *roster, const struct manifest *after, struct plan *plan)
{
	size_t made = 0, count = after->nhosts;

	plan->router = router_new(after);
	plan->peers = calloc(count + 1, sizeof(*plan->peers));
	plan->ports = calloc(count + 1, sizeof(*plan->ports));
	plan->changes = calloc(count + 1, sizeof(*plan->changes));
	plan->allows = calloc(count + 1, sizeof(*plan->allows));
	bool is_made = difference_make(&roster->manifest, after, &plan->difference) == 0 &&
		       plan->router && plan->peers && plan->ports && plan->changes && plan->allows;
	for (; is_made && made < count; made++) {
		struct peer *peer =
			find_or_make(roster, after, made, &plan->difference, &plan->changes[made]);

		plan->peers[made] = peer;
		is_made = peer && make_allow(after, made, peer, plan);
		plan->ports[made] = peer ? &peer->port : NULL;
	}
	if (is_made)
		return 0;
	for (size_t i = 0; i < made; i++)
		if (roster_find(&roster->manifest, after, i) == ROUTER_NOBODY)
			peer_free(plan->peers[i]);
	plan_free(plan);
	return -ENOMEM;
}

/* Take @after and @plan over; who was there and is not in it leaves. Nothing fails in here. */
static void adopt(struct roster *roster, struct manifest *after, struct plan *plan)
{
	struct manifest before = roster->manifest;
	struct plan old = {
		.router = roster->router, .peers = roster->peers, .ports = roster->fabric.ports};

	/* what follows owns them */
	plan->nallows = 0;

	for (size_t i = 0; i < before.nhosts; i++) {
		roster->peers[i]->host = NULL;
		list_add_last(&roster->leaving, &roster->peers[i]->in_list);
	}
	fabric_forget(&roster->fabric);
	if (roster->router && plan->router)
		router_inherit(plan->router, roster->router);
	roster->manifest = *after;
	roster->router = plan->router;
	roster->peers = plan->peers;
	roster->fabric.router = plan->router;
	roster->fabric.ports = plan->ports;
	for (size_t i = 0; i < after->nhosts; i++) {
		list_del(&plan->peers[i]->in_list);
		plan->peers[i]->host = &roster->manifest.hosts[i];
		plan->peers[i]->port.number = (int)i;
		allow_free(plan->peers[i]->port.allow);
		plan->peers[i]->port.allow = plan->allows[i];
	}
	free(plan->allows);
	*after = (struct manifest){0};
	plan_free(&old);
	manifest_free(&before);
}

int roster_follow(struct roster *roster, struct manifest *after)
{
	struct plan plan = {0};
	int result = make_plan(roster, after, &plan);

	if (result < 0)
		return result;
	json_t *amendment = difference_encode(&plan.difference, &roster->manifest, after);
	difference_fini(&plan.difference);
	adopt(roster, after, &plan);
	/* before the first line is said: the rows are drawn again below it */
	display_rows(roster->display, roster->manifest.nhosts);
	list_each (at, &roster->leaving)
		peer_stop(container_of(at, struct peer, in_list));
	/* before they forget those hosts */
	roster_tell_news(roster);
	for (size_t i = 0; i < roster->manifest.nhosts; i++) {
		/* what is kept there is kept for another one */
		if (plan.changes[i] == ROSTER_REPLACE)
			session_leave(&roster->peers[i]->session);
		if (plan.changes[i] == ROSTER_AMEND)
			session_amend(&roster->peers[i]->session, amendment);
		else if (plan.changes[i] == ROSTER_TELL)
			session_reconfigure(&roster->peers[i]->session);
		else if (plan.changes[i] != ROSTER_NOTHING)
			peer_restart(roster->peers[i], "its part of the manifest has changed");
	}
	free(plan.changes);
	json_decref(amendment);
	return 0;
}

void roster_retry(struct roster *roster)
{
	for (size_t i = 0; i < roster->manifest.nhosts; i++)
		peer_retry(roster->peers[i]);
}

/* --- news ----------------------------------------------------------------------------------- */

struct news_list {
	struct in_addr *gone;
	size_t count;
	bool is_any_back;
};

static void add_news(struct news_list *list, struct peer *peer)
{
	if (!peer->is_news)
		return;
	peer->is_news = false;
	list->gone[list->count++] = peer->vip;
	list->is_any_back = list->is_any_back || peer->was_ready;
}

void roster_tell_news(struct roster *roster)
{
	struct news_list list = {0};
	size_t count = roster->manifest.nhosts;

	list_each (at, &roster->leaving)
		count++;
	list.gone = calloc(count + 1, sizeof(*list.gone));
	if (!list.gone)
		return; /* next time */
	list_each (at, &roster->leaving)
		add_news(&list, container_of(at, struct peer, in_list));
	for (size_t i = 0; i < roster->manifest.nhosts; i++)
		add_news(&list, roster->peers[i]);
	for (size_t i = 0; list.count > 0 && i < roster->manifest.nhosts; i++)
		session_tell_gone(
			&roster->peers[i]->session, list.gone, list.count, list.is_any_back);
	free(list.gone);
}

/* --- all of them ---------------------------------------------------------------------------- */

void roster_start(struct roster *roster)
{
	for (size_t i = 0; i < roster->manifest.nhosts; i++)
		peer_start(roster->peers[i]);
}

void roster_stop(struct roster *roster, bool is_now)
{
	for (size_t i = 0; i < roster->manifest.nhosts; i++) {
		peer_stop(roster->peers[i]);
		if (is_now)
			link_kill(&roster->peers[i]->link);
	}
	list_each (at, &roster->leaving)
		if (is_now)
			link_kill(&container_of(at, struct peer, in_list)->link);
}

bool roster_sweep(struct roster *roster, size_t counts[PEER_STATES])
{
	memset(counts, 0, PEER_STATES * sizeof(counts[0]));
	for (size_t i = 0; i < roster->manifest.nhosts; i++)
		counts[roster->peers[i]->state]++;
	list_each_safe (at, following, &roster->leaving) {
		struct peer *peer = container_of(at, struct peer, in_list);

		if (peer->state != PEER_DOWN)
			continue;
		list_del(at);
		peer_free(peer);
	}
	return !list_is_empty(&roster->leaving);
}

int roster_init(struct roster *roster, struct manifest *manifest, const struct rlimit *nofile)
{
	struct plan plan = {0};

	list_init(&roster->leaving);
	children_init(&roster->children, roster->loop);
	roster->fabric.loop = roster->loop;
	roster->fabric.on_lost_route = on_lost_route;
	roster->context = (struct peer_context){
		.loop = roster->loop,
		.hub = wire_hub_new(roster->loop),
		.children = &roster->children,
		.fabric = &roster->fabric,
		.nofile = *nofile,
		.session_ops = &session_ops,
		.desk = roster->desk,
		.agent_files = roster->agent_files,
		.on_change = on_change,
		.on_stderr = on_stderr,
		.owner = roster,
	};
	int result = roster->context.hub ? make_plan(roster, manifest, &plan) : -ENOMEM;
	if (result == 0) {
		difference_fini(&plan.difference);
		adopt(roster, manifest, &plan);
		free(plan.changes);
	}
	return result;
}

void roster_end(struct roster *roster)
{
	if (roster->context.owner && children_end(&roster->children, KILL_MS) < 0)
		display_say(
			roster->display, LOG_WARNING, "processes of some hosts cannot be ended");
}

void roster_fini(struct roster *roster)
{
	if (!roster->context.owner)
		return;
	adopt(roster, &(struct manifest){0}, &(struct plan){0});
	list_each_safe (at, following, &roster->leaving) {
		list_del(at);
		peer_free(container_of(at, struct peer, in_list));
	}
	wire_hub_free(roster->context.hub);
}
