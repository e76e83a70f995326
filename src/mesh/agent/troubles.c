/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/troubles - what does not work of this host's ports: lines for people, and a count */
#include "mesh/agent/troubles.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "conn/dial.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/log.h"

#define TEXT_BYTES 512

struct trouble {
	struct list link;
	enum proto proto;
	uint16_t port;
	char why[REPORT_WHY_BYTES];
	uint64_t count, untold, last_ns, told_ns; /* told_ns 0: never */
};

struct troubles {
	struct loop *loop;
	void (*on_change)(void *owner);
	void *owner;
	struct list all; /* who failed last comes first */
	struct loop_timer timer;
	uint64_t window_ns; /* lines: of this minute */
	unsigned lines;
};

static void change(struct troubles *troubles)
{
	if (troubles->on_change && !loop_timer_is_armed(&troubles->timer))
		loop_timer_set(troubles->loop, &troubles->timer, TROUBLES_TELL_MS);
}

static void on_timer(struct loop_timer *timer)
{
	struct troubles *troubles = container_of(timer, struct troubles, timer);

	troubles->on_change(troubles->owner);
}

/* --- lines -------------------------------------------------------------------------------- */

static bool may_say(struct troubles *troubles)
{
	uint64_t now_ns = loop_now_ns(troubles->loop);

	if (now_ns - troubles->window_ns >= TROUBLES_LINE_S * NS_PER_S) {
		troubles->window_ns = now_ns;
		troubles->lines = 0;
	}
	return troubles->lines++ < TROUBLES_LINES;
}

void troubles_say(struct troubles *troubles, const char *format, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	change(troubles);
	if (!may_say(troubles))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_warning("%s", text);
}

void troubles_works(struct troubles *troubles, enum proto proto, const struct addr *at)
{
	char ip[ADDR_TEXT_BYTES];

	troubles_say(troubles, "%sport %u of %s works now", proto == PROTO_TCP ? "" : "UDP ",
		addr_port(at), addr_format_ip(at, ip, sizeof(ip)));
}

static void say(struct troubles *troubles, struct trouble *trouble)
{
	const char *proto = trouble->proto == PROTO_UDP ? "/udp" : "";

	if (!may_say(troubles))
		return;
	if (trouble->untold > 1)
		log_warning("port %u%s does not lead anywhere: %s (%llu times since the last line)",
			trouble->port, proto, trouble->why, (unsigned long long)trouble->untold);
	else
		log_warning(
			"port %u%s does not lead anywhere: %s", trouble->port, proto, trouble->why);
	trouble->untold = 0;
}

/* --- targets that fail -------------------------------------------------------------------- */

static struct trouble *find(struct troubles *troubles, enum proto proto, uint16_t port)
{
	list_each (at, &troubles->all) {
		struct trouble *trouble = container_of(at, struct trouble, link);

		if (trouble->port == port && trouble->proto == proto)
			return trouble;
	}
	struct trouble *trouble = calloc(1, sizeof(*trouble));
	if (!trouble)
		return NULL;
	trouble->port = port;
	trouble->proto = proto;
	list_add_first(&troubles->all, &trouble->link);
	return trouble;
}

void troubles_fail(
	struct troubles *troubles, enum proto proto, uint16_t port, const char *where, int result)
{
	struct trouble *trouble = find(troubles, proto, port);
	uint64_t now_ns = loop_now_ns(troubles->loop);

	if (!trouble)
		return;
	list_del(&trouble->link);
	list_add_first(&troubles->all, &trouble->link);
	trouble->count++;
	trouble->untold++;
	trouble->last_ns = now_ns;
	snprintf(trouble->why, sizeof(trouble->why), "%s: %s", where, dial_words(result));
	if (trouble->told_ns == 0 || now_ns - trouble->told_ns >= TROUBLES_LINE_S * NS_PER_S) {
		trouble->told_ns = now_ns;
		say(troubles, trouble);
	}
	change(troubles);
}

void troubles_sift(struct troubles *troubles,
	bool (*is_kept)(void *owner, enum proto proto, uint16_t port), void *owner)
{
	list_each_safe (at, following, &troubles->all) {
		struct trouble *trouble = container_of(at, struct trouble, link);

		if (is_kept(owner, trouble->proto, trouble->port))
			continue;
		list_del(&trouble->link);
		free(trouble);
		change(troubles);
	}
}

void troubles_tell(const struct troubles *troubles, struct in_addr self, struct mesh_report *report)
{
	uint64_t now_ns = loop_now_ns(troubles->loop);

	list_each (at, &troubles->all) {
		const struct trouble *trouble = container_of(at, struct trouble, link);
		struct report_port port = {
			.ip = self,
			.port = trouble->port,
			.proto = trouble->proto,
			.count = trouble->count,
			.age_s = (now_ns - trouble->last_ns) / NS_PER_S,
		};

		snprintf(port.why, sizeof(port.why), "%s", trouble->why);
		report_add_failing(report, &port);
	}
}

/* --- start and end ------------------------------------------------------------------------ */

struct troubles *troubles_new(struct loop *loop, void (*on_change)(void *owner), void *owner)
{
	struct troubles *troubles = calloc(1, sizeof(*troubles));

	if (!troubles)
		return NULL;
	troubles->loop = loop;
	troubles->on_change = on_change;
	troubles->owner = owner;
	troubles->timer.on_expired = on_timer;
	list_init(&troubles->all);
	return troubles;
}

static bool keeps_none(void *owner, enum proto proto, uint16_t port)
{
	(void)owner;
	(void)proto;
	(void)port;
	return false;
}

void troubles_free(struct troubles *troubles)
{
	if (!troubles)
		return;
	troubles_sift(troubles, keeps_none, NULL);
	loop_timer_cancel(troubles->loop, &troubles->timer);
	free(troubles);
}
