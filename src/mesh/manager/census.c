/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/census - asks the lists of a manifest who is there, from time to time */
#include "mesh/manager/census.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/control.h"
#include "link/advice.h"
#include "mesh/manifest/muster.h"
#include "proc/capture.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/parse.h"

#define SHOWN_BYTES  64 /* of a command */
#define REASON_BYTES CAPTURE_WHY_BYTES

struct census_list {
	struct census *census;
	size_t number;
	struct capture capture;
	struct loop_timer next; /* when it is asked again */
	bool has_answered;
	char reason[REASON_BYTES]; /* of the last time; "": it went well */
	uint64_t answered_ns;
};

static const struct manifest_crowd *crowd_of(const struct census_list *list)
{
	return &list->census->base.crowds[list->number];
}

static struct roll *roll_of(const struct census_list *list)
{
	return &list->census->rolls[list->number];
}

/* "kubectl get pods", for a person. */
static char *show(const struct manifest_crowd *crowd, char out[SHOWN_BYTES])
{
	char *all = g_strjoinv(" ", crowd->list);

	parse_quote(all, out, SHOWN_BYTES);
	g_free(all);
	return out;
}

__attribute__((format(printf, 3, 4))) static void notice(
	struct census_list *list, enum log_level level, const char *format, ...)
{
	char text[REASON_BYTES + 256], shown[SHOWN_BYTES];
	va_list args;

	size_t len = (size_t)snprintf(text, sizeof(text), "list %s: ", show(crowd_of(list), shown));
	va_start(args, format);
	vsnprintf(text + len, sizeof(text) - len, format, args);
	va_end(args);
	list->census->ops->on_notice(list->census->owner, level, text);
}

/* --- who has what ----------------------------------------------------------------------------- */

/* For the rolls: which of them asks, and of what. */
struct claims {
	const struct manifest *base;
	const struct roll *rolls;
	size_t nrolls, self;
};

static bool is_name_taken(void *owner, const char *name)
{
	const struct claims *claims = owner;

	for (size_t i = 0; i < claims->base->nhosts; i++) {
		const struct manifest_host *host = &claims->base->hosts[i];

		if (strcasecmp(host->name, name) == 0)
			return true;
		for (char **alias = host->aliases; alias && *alias; alias++)
			if (strcasecmp(*alias, name) == 0)
				return true;
	}
	for (size_t i = 0; i < claims->nrolls; i++)
		if (i != claims->self && roll_has_name(&claims->rolls[i], name))
			return true;
	return false;
}

static bool is_vip_taken(void *owner, struct in_addr vip)
{
	const struct claims *claims = owner;

	for (size_t i = 0; i < claims->base->nhosts; i++)
		if (claims->base->hosts[i].vip.s_addr == vip.s_addr)
			return true;
	return false;
}

static const struct roll_ops roll_ops = {is_name_taken, is_vip_taken};

/* --- what a list says ------------------------------------------------------------------------- */

static void fail(struct census_list *list, const char *why)
{
	const size_t hosts = roll_present(roll_of(list));

	if (strcmp(list->reason, why) == 0)
		return;
	snprintf(list->reason, sizeof(list->reason), "%s", why);
	if (list->has_answered)
		notice(list, LOG_ERROR, "%s; its %zu host%s stay%s as before", why, hosts,
			hosts == 1 ? "" : "s", hosts == 1 ? "s" : "");
	else
		notice(list, LOG_ERROR, "%s; it has no hosts yet", why);
}

static void follow(struct census_list *list)
{
	struct census *census = list->census;
	struct claims claims = {&census->base, census->rolls, census->base.ncrowds, list->number};
	struct roll *roll = roll_of(list), before, after;
	const bool was_known = list->has_answered, had_failed = list->reason[0] != '\0';
	struct err err = {0};

	roll_copy(&after, roll);
	int result = roll_follow(
		&after, list->capture.text, list->capture.len, &roll_ops, &claims, &err);
	before = *roll;
	list->has_answered = was_known || result >= 0;
	if (result > 0 || (result == 0 && !was_known)) {
		*roll = after;
		if (census->ops->on_change(census->owner, &err) < 0) {
			*roll = before;
			list->has_answered = was_known;
			result = -EINVAL;
		} else {
			after = before;
		}
	}
	const size_t hosts_before = roll_present(&before);
	roll_fini(&after);
	if (result < 0) {
		fail(list, err.text);
		return;
	}
	list->answered_ns = loop_now_ns(census->loop);
	list->reason[0] = '\0';
	const size_t hosts = roll_present(roll);
	if (result > 0 || !was_known || had_failed)
		notice(list, LOG_NOTICE, "%zu host%s%s", hosts, hosts == 1 ? "" : "s",
			hosts == hosts_before && result > 0 ? ", others than before" : "");
}

static void on_done(struct capture *capture, const char *why)
{
	struct census_list *list = container_of(capture, struct census_list, capture);
	const struct advice *advice = why ? advice_of_line(why, strlen(why)) : NULL;
	char text[REASON_BYTES];

	if (why) {
		snprintf(text, sizeof(text), "%.340s%s%s", why, advice ? ": " : "",
			advice ? advice->text : "");
		fail(list, text);
	} else {
		follow(list);
	}
	loop_timer_set(list->census->loop, &list->next, crowd_of(list)->every_s * MS_PER_S);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void ask(struct census_list *list)
{
	struct err err = {0};

	if (capture_is_running(&list->capture))
		return;
	loop_timer_cancel(list->census->loop, &list->next);
	if (capture_start(&list->capture, crowd_of(list)->list, &err) < 0)
		on_done(&list->capture, err.text);
}

static void on_next(struct loop_timer *timer)
{
	ask(container_of(timer, struct census_list, next));
}

void census_ask(struct census *census)
{
	for (size_t i = 0; i < census->base.ncrowds; i++)
		ask(&census->lists[i]);
}

/* --- another manifest ------------------------------------------------------------------------- */

static size_t find_net(const struct manifest *base, const struct manifest_crowd *crowd)
{
	size_t i = 0;

	while (i < base->ncrowds && (base->crowds[i].net.s_addr != crowd->net.s_addr ||
					    base->crowds[i].prefix_len != crowd->prefix_len))
		i++;
	return i;
}

static void init_list(struct census *census, struct census_list *list, size_t number)
{
	*list = (struct census_list){
		.census = census,
		.number = number,
		.capture = {.loop = census->loop,
			.children = census->children,
			.nofile = census->nofile,
			.patience_ms = CENSUS_PATIENCE_MS,
			.max_bytes = CENSUS_TEXT_MAX,
			.expected = "a list of names",
			.on_done = on_done},
	};
	capture_init(&list->capture);
	list->next.on_expired = on_next;
}

static void stop_list(struct census_list *list)
{
	capture_stop(&list->capture);
	loop_timer_cancel(list->census->loop, &list->next);
}

void census_stop(struct census *census)
{
	for (size_t i = 0; i < census->base.ncrowds; i++)
		stop_list(&census->lists[i]);
}

static void free_rolls(struct roll *rolls, size_t count)
{
	for (size_t i = 0; rolls && i < count; i++)
		roll_fini(&rolls[i]);
	free(rolls);
}

/* Rolls for @base as they would be: those of networks that were there are what they were. */
static struct roll *make_rolls(struct census *census, const struct manifest *base, struct err *err)
{
	struct roll *rolls = calloc(base->ncrowds + 1, sizeof(*rolls));
	int result = rolls ? 0 : err_sys(err, ENOMEM, "cannot follow the lists of hosts");

	for (size_t i = 0; result >= 0 && i < base->ncrowds; i++) {
		const size_t old = find_net(&census->base, &base->crowds[i]);

		rolls[i] = (struct roll){
			.net = base->crowds[i].net, .prefix_len = base->crowds[i].prefix_len};
		if (old < census->base.ncrowds)
			roll_copy(&rolls[i], &census->rolls[old]);
	}
	for (size_t i = 0; result >= 0 && i < base->ncrowds; i++) {
		struct claims claims = {base, rolls, base->ncrowds, i};

		result = roll_settle(&rolls[i], &roll_ops, &claims, err);
	}
	if (result >= 0)
		return rolls;
	free_rolls(rolls, base->ncrowds);
	return NULL;
}

int census_follow(
	struct census *census, struct manifest *base, struct manifest *hosts, struct err *err)
{
	struct census_list *lists = calloc(base->ncrowds + 1, sizeof(*lists));
	struct roll *rolls = lists ? make_rolls(census, base, err) : NULL;

	if (!lists)
		err_sys(err, ENOMEM, "cannot follow the lists of hosts");
	if (!rolls || muster_make(base, rolls, hosts, err) < 0) {
		free_rolls(rolls, base->ncrowds);
		free(lists);
		return -EINVAL;
	}
	for (size_t i = 0; i < base->ncrowds; i++) {
		const size_t old = find_net(&census->base, &base->crowds[i]);

		init_list(census, &lists[i], i);
		if (old == census->base.ncrowds)
			continue;
		lists[i].has_answered = census->lists[old].has_answered;
		lists[i].answered_ns = census->lists[old].answered_ns;
		memcpy(lists[i].reason, census->lists[old].reason, REASON_BYTES);
	}
	census_fini(census);
	census->base = *base;
	census->rolls = rolls;
	census->lists = lists;
	*base = (struct manifest){.hosts = NULL};
	return 0;
}

int census_hosts(const struct census *census, struct manifest *hosts, struct err *err)
{
	return muster_make(&census->base, census->rolls, hosts, err);
}

void census_fini(struct census *census)
{
	census_stop(census);
	free_rolls(census->rolls, census->base.ncrowds);
	free(census->lists);
	manifest_free(&census->base);
	census->rolls = NULL;
	census->lists = NULL;
}

/* --- what is to be known ---------------------------------------------------------------------- */

bool census_is_complete(const struct census *census)
{
	for (size_t i = 0; i < census->base.ncrowds; i++)
		if (!census->lists[i].has_answered)
			return false;
	return true;
}

json_t *census_json(const struct census *census)
{
	json_t *all = json_array();

	for (size_t i = 0; i < census->base.ncrowds; i++) {
		const struct census_list *list = &census->lists[i];
		char *words = g_strjoinv(" ", crowd_of(list)->list);
		const uint64_t age_ns = loop_now_ns(census->loop) - list->answered_ns;

		json_array_append_new(all,
			json_pack("{s:o, s:I, s:b, s:o, s:o}", "list", control_text(words), "hosts",
				(json_int_t)roll_present(roll_of(list)), "known",
				list->has_answered, "age",
				list->has_answered ? json_integer((json_int_t)(age_ns / NS_PER_S))
						   : json_null(),
				"reason",
				list->reason[0] ? control_text(list->reason) : json_null()));
		g_free(words);
	}
	return all;
}
