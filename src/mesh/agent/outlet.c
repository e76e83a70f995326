/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/outlet - the exit of a plain host in its mesh: what it may reach, and who asks for
 * more */
#include "mesh/agent/outlet.h"

#include <errno.h>
#include <string.h>

#include "exit/stack.h"
#include "util/addr.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/log.h"
#include "wire/frame.h"

static struct crossing *crossing_of(void *owner)
{
	return ((struct outlet *)owner)->crossing;
}

/* --- of the exit -------------------------------------------------------------------------- */

static int open_listener(void *owner, uint16_t port)
{
	struct stack *stack = crossing_of(owner)->stack;

	return stack->ops->open_exit(stack, port);
}

static void let_in(void *owner, const struct packet_view *packet)
{
	crossing_let_in(crossing_of(owner), packet);
}

static void refuse(void *owner, const struct packet_view *packet, uint8_t code)
{
	crossing_answer(crossing_of(owner), packet, code);
}

static void send_back(void *owner, struct iovec *packets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned char *frame = (unsigned char *)packets[i].iov_base - FRAME_HEADER_BYTES;

		frame_encode_header(frame, FRAME_PACKET, packets[i].iov_len);
		packets[i] = (struct iovec){frame, FRAME_HEADER_BYTES + packets[i].iov_len};
	}
	wire_send(crossing_of(owner)->wire, 0, packets, count);
}

_Static_assert(EXIT_HEADROOM >= FRAME_HEADER_BYTES, "frames are made in place");

/* Our own address stands for this host, as it does for offers. */
static bool find(void *owner, struct packet_end dst, struct addr *out)
{
	struct in_addr ip = dst.ip;

	if (packet_is_same_ip(ip, gate_self(crossing_of(owner)->gate)))
		ip.s_addr = htonl(INADDR_LOOPBACK);
	*out = addr_of4(ip, dst.port);
	return true;
}

static void on_due(struct loop_timer *timer)
{
	struct outlet *outlet = container_of(timer, struct outlet, timer);

	outlet->on_change(outlet->owner);
}

/* @peer has asked for @to; port 0: it has none. */
static void tell_unexposed(struct outlet *outlet, struct in_addr peer, struct packet_end to)
{
	const struct addr dst = addr_of4(to.ip, to.port), src = addr_of4(peer, 0);
	const uint64_t now_ns = loop_now_ns(outlet->loop);
	char from[ADDR_TEXT_BYTES];

	if (to.port == 0)
		addr_format_ip(&dst, outlet->last, sizeof(outlet->last));
	else
		addr_format(&dst, outlet->last, sizeof(outlet->last));
	if (!loop_timer_is_armed(&outlet->timer))
		loop_timer_set(outlet->loop, &outlet->timer, OUTLET_TELL_MS);
	if (outlet->said_ns != 0 && now_ns - outlet->said_ns < OUTLET_LINE_S * NS_PER_S)
		return;
	outlet->said_ns = now_ns;
	log_warning("%s asks for %s, which this host does not expose (--expose of its agent, "
		    "expose of the manifest)",
		addr_format_ip(&src, from, sizeof(from)), outlet->last);
}

static void on_unexposed(void *owner, const struct packet_view *packet)
{
	struct packet_end to = packet->dst;

	if (packet->proto == IPPROTO_ICMP)
		to.port = 0;
	tell_unexposed(owner, packet->src.ip, to);
}

/* --- of the owner ------------------------------------------------------------------------- */

int outlet_open(struct outlet *outlet, const struct conn_context *context)
{
	static const struct exit_ops ops = {
		.on_unexposed = on_unexposed,
		.open_listener = open_listener,
		.let_in = let_in,
		.refuse = refuse,
		.find = find,
		.send = send_back,
	};

	outlet->loop = context->loop;
	outlet->timer.on_expired = on_due;
	outlet->limits = (struct exit_limits){outlet->host, &outlet->expose};
	outlet->exit = exit_new(context, &outlet->limits, &ops, outlet);
	return outlet->exit ? 0 : -errno;
}

void outlet_close(struct outlet *outlet)
{
	exit_free(outlet->exit);
	outlet->exit = NULL;
	if (outlet->loop)
		loop_timer_cancel(outlet->loop, &outlet->timer);
	expose_fini(&outlet->expose);
}

int outlet_configure(struct outlet *outlet, char *const *texts, struct err *err)
{
	int result = 0;

	expose_fini(&outlet->expose);
	for (char *const *text = texts; result == 0 && text && *text; text++)
		result = expose_add(&outlet->expose, *text, err);
	if (result < 0) {
		expose_fini(&outlet->expose);
		outlet->expose.has_rules = true;
	}
	return result;
}

bool outlet_leads_here(const struct outlet *outlet)
{
	const struct addr loopback = addr_of4((struct in_addr){htonl(INADDR_LOOPBACK)}, 0);

	return outlet->exit && exit_exposes(outlet->exit, &loopback);
}

void outlet_take(struct outlet *outlet, const struct packet_view *packet)
{
	if (outlet->exit)
		exit_take(outlet->exit, packet);
}

bool outlet_lets_begin(
	struct outlet *outlet, struct in_addr peer, struct packet_end to, const struct addr *at)
{
	if (!outlet->exit)
		return false;
	if (exit_exposes(outlet->exit, at))
		return true;
	outlet->unexposed++;
	tell_unexposed(outlet, peer, to);
	return false;
}

void outlet_report(const struct outlet *outlet, struct mesh_report *out)
{
	if (outlet->exit)
		out->unexposed = outlet->unexposed + exit_unexposed(outlet->exit);
	memcpy(out->unexposed_last, outlet->last, sizeof(out->unexposed_last));
}
