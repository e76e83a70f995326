/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/clerk - what clients ask a tunnel's server for, and whether they get it */
#include "tunnel/clerk.h"

#include <errno.h>
#include <string.h>

#include "tunnel/order.h"

/* Without --allow-forward: this host's loopback, and where only who is known can be a client all of
 * its addresses. */
static bool may_listen(const struct clerk *clerk, const struct addr *at)
{
	const struct endpoint endpoint = {.addr = *at};

	if (clerk->listen->count > 0)
		return permit_allows(clerk->listen, &endpoint);
	return at->family != AF_UNIX && (clerk->are_known || addr_is_loopback(at));
}

/* @text is where is listened. Returns 0, or -errno with @err filled; -EPERM: it is the same for
 * ever. */
static int grant(struct clerk *clerk, struct lane *lane, const struct order *order, char *text,
	struct err *err)
{
	struct gate *gate = NULL;
	int result;

	text[0] = '\0';
	if (order->is_reverse)
		return permit_allows(clerk->reach, &order->to)
			       ? 0
			       : err_set(err, EPERM,
					 "the server does not allow it (--allow-reverse)");
	if (!may_listen(clerk, &order->at))
		return err_set(err, EPERM, "the server does not allow it (--allow-forward)");
	result = gates_open(clerk->gates, order, &lane->peer, &gate, err);
	if (result < 0)
		return result;
	if (rota_join(lane->caller, gate) < 0)
		return err_sys(err, ENOMEM, "cannot listen");
	addr_format(&gate->addr, text, ADDR_TEXT_BYTES);
	return 0;
}

int clerk_order(struct clerk *clerk, struct lane *lane, const struct hail *hail)
{
	unsigned char answer[HAIL_TEXT_MAX];
	char text[sizeof(((struct err *)0)->text) + 1];
	struct err err = {0};
	struct order order;
	size_t len;

	if (order_decode(hail->text, hail->len, &order) < 0 || !order.name[0] ||
		rota_count_named(lane->caller) >= ORDERS_MAX)
		return -EPROTO;
	int result = grant(clerk, lane, &order, text, &err);
	if (result == 0) {
		len = order_label(order.name, text, answer);
		return hail_send(lane->io.fd, HAIL_GRANTED, answer, len) < 0 ? -EPROTO : 0;
	}
	text[0] = result == -EPERM ? '0' : '1';
	memcpy(text + 1, err.text, sizeof(err.text));
	len = order_label(order.name, text, answer);
	return hail_send(lane->io.fd, HAIL_DENIED, answer, len) < 0 ? -EPROTO : 0;
}

static int refuse(const struct lane *lane, const char *why)
{
	hail_send(lane->io.fd, HAIL_REFUSED, why, strlen(why));
	return -EPROTO;
}

int clerk_reach(struct clerk *clerk, struct lane *lane, const struct hail *hail)
{
	struct budget *budget = clerk->errands->context->budget;
	unsigned source = shares_source(&budget->shares, &lane->peer);
	struct order order;

	if (order_decode(hail->text, hail->len, &order) < 0 || !order.is_reverse)
		return -EPROTO;
	if (!permit_allows(clerk->reach, &order.to))
		return refuse(lane, "the server does not allow it (--allow-reverse)");
	if (!budget_has_place(budget, &lane->peer))
		return refuse(lane, "the server has as many as it may have for this address");
	errands_add(clerk->errands, rota_take_lane(lane), &order.to, order.proto, source);
	return 1;
}
