/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/envoy - a client asks its server for what is to be led through by name, and hears of it */
#include "tunnel/envoy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/control.h"
#include "util/log.h"
#include "util/parse.h"

struct wish *envoy_find(struct envoy *envoy, const char *name, bool is_reverse)
{
	for (size_t i = 0; i < envoy->count; i++) {
		struct wish *wish = &envoy->wishes[i];
		if (wish->order->is_reverse == is_reverse && strcmp(wish->order->name, name) == 0)
			return wish;
	}
	return NULL;
}

/* Returns 0 or -errno. */
static int ask(struct envoy *envoy, struct wish *wish)
{
	unsigned char text[HAIL_TEXT_MAX];

	wish->state = WISH_ASKED;
	return hail_send(envoy->spoke->io.fd, HAIL_ORDER, text, order_encode(wish->order, text));
}

/* --- answers --------------------------------------------------------------------------------- */

static void grant(struct envoy *envoy, struct wish *wish, const char *at)
{
	const struct order *order = wish->order;
	char to[ENDPOINT_TEXT_BYTES];

	wish->state = WISH_GRANTED;
	if (!order->is_reverse)
		parse_shown(at, wish->at, sizeof(wish->at));
	log_notice("tunnel: %s: %s/%s %s leads to %s", order->name, wish->at,
		addr_proto_name(order->proto), order->is_reverse ? "here" : "at the server",
		endpoint_format(&order->to, to, sizeof(to)));
	envoy->on_answer(envoy->owner, wish);
}

static void deny(struct envoy *envoy, struct wish *wish, const char *text)
{
	char why[sizeof(wish->why)];

	wish->may_be_asked = text[0] == '1';
	wish->state = WISH_DENIED;
	parse_shown(text[0] ? text + 1 : text, why, sizeof(why));
	if (strcmp(why, wish->why) != 0)
		log_warning("tunnel: %s: %s: %s%s", wish->order->name, envoy->server, why,
			wish->may_be_asked ? "; asking again" : "");
	memcpy(wish->why, why, sizeof(why));
	if (wish->may_be_asked && !loop_timer_is_armed(&envoy->again))
		loop_timer_set(envoy->house->context->loop, &envoy->again, ENVOY_AGAIN_MS);
	envoy->on_answer(envoy->owner, wish);
}

static int on_message(struct spoke *spoke, const struct hail *hail)
{
	struct envoy *envoy = spoke->owner;
	char name[ORDER_NAME_MAX + 1], text[HAIL_TEXT_MAX + 1];
	struct wish *wish;

	if (!order_read_label(hail, name, text))
		return -EPROTO;
	wish = envoy_find(envoy, name, false);
	if (!wish)
		wish = envoy_find(envoy, name, true);
	if (!wish || wish->state != WISH_ASKED)
		return -EPROTO;
	if (hail->type == HAIL_GRANTED)
		grant(envoy, wish, text);
	else if (hail->type == HAIL_DENIED)
		deny(envoy, wish, text);
	else
		return -EPROTO;
	return 0;
}

/* --- the connection -------------------------------------------------------------------------- */

static void on_up(struct spoke *spoke, enum server_kind kind)
{
	struct envoy *envoy = spoke->owner;

	(void)kind;
	for (size_t i = 0; i < envoy->count; i++)
		if (ask(envoy, &envoy->wishes[i]) < 0)
			return; /* it breaks, and is opened again */
}

static void forget(struct envoy *envoy)
{
	envoy->spoke = NULL;
	for (size_t i = 0; i < envoy->count; i++)
		envoy->wishes[i].state = WISH_ASKED;
}

static void on_lost(struct spoke *spoke, const char *why)
{
	struct envoy *envoy = spoke->owner;

	log_debug("tunnel: the connection for messages: %s", why);
	forget(envoy);
	if (envoy->is_up)
		loop_timer_set(envoy->house->context->loop, &envoy->again, ENVOY_AGAIN_MS);
}

static const struct spoke_ops ops = {.on_up = on_up, .on_message = on_message, .on_lost = on_lost};

static void on_again(struct loop_timer *timer)
{
	struct envoy *envoy = container_of(timer, struct envoy, again);

	if (!envoy->spoke) {
		envoy->spoke = spoke_open(envoy->house, HAIL_CONTROL, &ops, envoy);
		if (!envoy->spoke)
			loop_timer_set(envoy->house->context->loop, timer, ENVOY_AGAIN_MS);
		return;
	}
	for (size_t i = 0; i < envoy->count; i++) {
		struct wish *wish = &envoy->wishes[i];
		if (wish->state == WISH_DENIED && wish->may_be_asked && ask(envoy, wish) < 0)
			return;
	}
}

void envoy_up(struct envoy *envoy)
{
	envoy->is_up = true;
	if (envoy->count > 0 && !envoy->spoke)
		loop_timer_set(envoy->house->context->loop, &envoy->again, 0);
}

void envoy_down(struct envoy *envoy)
{
	envoy->is_up = false;
	loop_timer_cancel(envoy->house->context->loop, &envoy->again);
	if (envoy->spoke)
		spoke_close(envoy->spoke);
	forget(envoy);
}

void envoy_leave(struct envoy *envoy)
{
	if (envoy->spoke && envoy->spoke->state == SPOKE_WAITING)
		hail_send(envoy->spoke->io.fd, HAIL_LEAVE, NULL, 0);
	envoy_down(envoy);
}

/* --- the beginning and the end --------------------------------------------------------------- */

void envoy_init(struct envoy *envoy, const struct order *orders, size_t count)
{
	envoy->again.on_expired = on_again;
	envoy->count = count;
	for (size_t i = 0; i < count; i++) {
		envoy->wishes[i].order = &orders[i];
		addr_format(&orders[i].at, envoy->wishes[i].at, sizeof(envoy->wishes[i].at));
	}
}

void envoy_fini(struct envoy *envoy)
{
	if (envoy->house)
		envoy_down(envoy);
}

json_t *envoy_tell(const struct envoy *envoy)
{
	static const char *const states[] = {
		[WISH_ASKED] = "asked", [WISH_GRANTED] = "up", [WISH_DENIED] = "denied"};
	json_t *all = json_array();

	for (size_t i = 0; i < envoy->count; i++) {
		const struct wish *wish = &envoy->wishes[i];
		const struct order *order = wish->order;
		char to[ENDPOINT_TEXT_BYTES];
		json_t *told = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "name",
			order->name, "direction", order->is_reverse ? "reverse" : "forward",
			"proto", addr_proto_name(order->proto), "state", states[wish->state],
			"from", control_text(wish->at), "to",
			control_text(endpoint_format(&order->to, to, sizeof(to))), "served",
			(json_int_t)wish->served, "refused", (json_int_t)wish->refused);

		if (told && wish->state == WISH_DENIED)
			json_object_set_new(told, "why", control_text(wish->why));
		json_array_append_new(all, told);
	}
	return all;
}
