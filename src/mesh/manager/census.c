/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/census - asks the lists of a manifest who is there, from time to time */
#include "mesh/manager/census.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "control/control.h"
#include "mesh/manifest/muster.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/parse.h"

#define LAST_WORDS_MS 200 /* for what a command that has ended left in its pipes */
#define SHOWN_BYTES   64  /* of a command */
#define REASON_BYTES  512

struct census_list {
	struct census *census;
	size_t number;
	struct child child;
	struct loop_io out_io;  /* its stdout; -1: closed */
	struct lines errors;    /* its stderr */
	struct loop_timer next; /* when it is asked again */
	struct loop_timer patience;
	char *text;
	size_t len, cap;
	bool has_ended; /* the command, while its pipes are read on */
	bool has_answered;
	char trouble[REASON_BYTES]; /* of this time; "": none yet */
	char said[LINES_LINE_MAX];  /* the last line of its stderr */
	char reason[REASON_BYTES];  /* of the last time; "": it went well */
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
	int result = roll_follow(&after, list->text, list->len, &roll_ops, &claims, &err);
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

static void close_streams(struct census_list *list)
{
	if (list->out_io.fd >= 0) {
		loop_io_del(list->census->loop, &list->out_io);
		fd_close(&list->out_io.fd);
	}
	lines_close(&list->errors);
	loop_timer_cancel(list->census->loop, &list->patience);
}

/* The command has ended, and what it said is read. */
static void finish(struct census_list *list)
{
	char why[REASON_BYTES];

	close_streams(list);
	list->has_ended = false;
	if (list->trouble[0] == '\0')
		follow(list);
	else if (list->said[0] != '\0') {
		snprintf(why, sizeof(why), "%.250s: %.250s", list->trouble, list->said);
		fail(list, why);
	} else {
		fail(list, list->trouble);
	}
	free(list->text);
	list->text = NULL;
	list->len = list->cap = 0;
	loop_timer_set(list->census->loop, &list->next, crowd_of(list)->every_s * MS_PER_S);
}

__attribute__((format(printf, 2, 3))) static void give_up(
	struct census_list *list, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (list->trouble[0] == '\0')
		vsnprintf(list->trouble, sizeof(list->trouble), format, args);
	va_end(args);
	child_signal(&list->child, SIGKILL);
}

static void finish_if_over(struct census_list *list)
{
	if (list->has_ended && list->out_io.fd < 0 && !lines_is_open(&list->errors))
		finish(list);
}

static void on_output(struct loop_io *io, uint32_t events)
{
	struct census_list *list = container_of(io, struct census_list, out_io);
	ssize_t len;

	(void)events;
	for (;;) {
		if (list->cap - list->len < 4096) {
			size_t cap = list->cap ? 2 * list->cap : 16384;
			char *grown = realloc(list->text, cap);

			if (!grown) {
				give_up(list, "no memory for what it says");
				list->len = 0;
				return;
			}
			list->text = grown;
			list->cap = cap;
		}
		len = read(io->fd, list->text + list->len, list->cap - list->len);
		if (len <= 0)
			break;
		list->len += (size_t)len;
		if (list->len > CENSUS_TEXT_MAX) {
			give_up(list, "it says more than %d bytes: expected a list of names",
				CENSUS_TEXT_MAX);
			list->len = 0;
			return;
		}
	}
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	loop_io_del(list->census->loop, io);
	fd_close(&io->fd);
	finish_if_over(list);
}

static void on_error_line(struct lines *lines, const char *text, size_t len)
{
	struct census_list *list = lines->owner;

	snprintf(list->said, sizeof(list->said), "%.*s", (int)len, text);
}

static void on_errors_end(struct lines *lines)
{
	finish_if_over(lines->owner);
}

static void on_child_end(struct child *child, const struct child_end *end)
{
	struct census_list *list = container_of(child, struct census_list, child);
	char text[256];

	if (list->trouble[0] == '\0' && child_has_failed(end))
		snprintf(list->trouble, sizeof(list->trouble), "%s",
			child_describe_end(end, crowd_of(list)->list[0], text, sizeof(text)));
	list->has_ended = true;
	/* what it has left behind may hold its pipes for ever */
	loop_timer_set(list->census->loop, &list->patience, LAST_WORDS_MS);
	finish_if_over(list);
}

static void on_patience(struct loop_timer *timer)
{
	struct census_list *list = container_of(timer, struct census_list, patience);

	if (list->has_ended) {
		lines_drain(&list->errors);
		finish(list);
		return;
	}
	give_up(list, "it has not ended in %llu s", CENSUS_PATIENCE_MS / MS_PER_S);
	loop_timer_set(list->census->loop, timer, CENSUS_PATIENCE_MS);
}

/* --- asking ----------------------------------------------------------------------------------- */

static int start(struct census_list *list, struct err *err)
{
	_cleanup_fd_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int out_write = -1;
	_cleanup_fd_ int err_write = -1;
	int out[2], errors[2];

	if (in < 0 || pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot start it");
	out_write = out[1];
	list->out_io = (struct loop_io){out[0], on_output};
	if (pipe2(errors, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot start it");
	err_write = errors[1];
	int result = lines_open(&list->errors, list->census->loop, errors[0]);
	if (result == 0)
		result = fd_set_nonblock(out[0], 1);
	if (result == 0)
		result = loop_io_add(list->census->loop, &list->out_io, EPOLLIN);
	if (result < 0)
		return err_sys(err, -result, "cannot watch it");
	const struct command command = {
		.argv = crowd_of(list)->list,
		.streams = (int[]){in, out_write, err_write},
		.rights = COMMAND_KEEPS_ALL,
		.new_session = true,
		.is_subreaper = true,
		.restores_pipe = true,
		.death_signal = SIGTERM,
		.nofile = list->census->nofile,
	};
	return child_start(&list->child, list->census->children, &command, err);
}

static void ask(struct census_list *list)
{
	struct err err = {0};

	if (list->child.pid > 0 || list->has_ended)
		return;
	list->trouble[0] = list->said[0] = '\0';
	list->len = 0;
	loop_timer_cancel(list->census->loop, &list->next);
	if (start(list, &err) < 0) {
		snprintf(list->trouble, sizeof(list->trouble), "%s", err.text);
		finish(list);
		return;
	}
	loop_timer_set(list->census->loop, &list->patience, CENSUS_PATIENCE_MS);
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
	*list = (struct census_list){.census = census, .number = number, .out_io.fd = -1};
	list->child.on_end = on_child_end;
	list->errors.on_line = on_error_line;
	list->errors.on_end = on_errors_end;
	list->errors.owner = list;
	list->next.on_expired = on_next;
	list->patience.on_expired = on_patience;
}

static void stop_list(struct census_list *list)
{
	close_streams(list);
	child_drop(&list->child);
	loop_timer_cancel(list->census->loop, &list->next);
	free(list->text);
	list->text = NULL;
	list->has_ended = false;
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
