/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/front - clients of one proxy: let in, served by its protocol, timed out, sent on */
#include "proxy/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn/relay.h"
#include "proxy/parting.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"

struct front {
	const struct conn_context *context;
	const struct front_protocol *protocol;
	struct guide *guide;
	struct access access;
	struct list guests; /* the oldest first */
	size_t nguests;
	struct shares_part part;
	struct partings partings;
	unsigned long long refused; /* whose user may not come in */
	uint64_t refusal_line_ns;   /* when that was last told; 0: never */
};

const struct access *front_access(const struct front *front)
{
	return &front->access;
}

const struct conn_context *front_context(const struct front *front)
{
	return front->context;
}

struct guide *front_guide(const struct front *front)
{
	return front->guide;
}

size_t front_guests(const struct front *front)
{
	return front->nguests;
}

int front_set_access(struct front *front, const struct access *access)
{
	struct access copy;
	int result = access_copy(access, &copy);

	if (result < 0)
		return result;
	access_fini(&front->access);
	front->access = copy;
	return 0;
}

/* --- a guest ------------------------------------------------------------------------------ */

/* There is no guest afterwards; its socket, if it has one still, is the caller's. */
static int let_go(struct front_guest *guest)
{
	struct front *front = guest->front;
	int fd = guest->io.fd;

	if (front->protocol->on_end)
		front->protocol->on_end(guest);
	loop_timer_cancel(front->context->loop, &guest->deadline);
	loop_io_del(front->context->loop, &guest->io);
	budget_give(front->context->budget, front->protocol->guest_fds);
	shares_give(&front->context->budget->shares, SHARES_CONNECTIONS, guest->source);
	list_del(&guest->link);
	front->nguests--;
	free(guest);
	return fd;
}

void front_drop(struct front_guest *guest)
{
	int fd = let_go(guest);

	fd_reset(&fd);
}

void front_part(struct front_guest *guest, const void *bytes, size_t len)
{
	struct front *front = guest->front;

	/* before @bytes, which may be the guest's, are gone */
	partings_add(&front->partings, &guest->io, bytes, len);
	let_go(guest);
}

void front_end(struct front_guest *guest)
{
	int fd = let_go(guest);

	fd_close(&fd);
}

static int push(struct relay *relay, enum relay_side from, struct front_bytes bytes)
{
	return bytes.len > 0 ? relay_push(relay, from, bytes.bytes, bytes.len) : 0;
}

void front_relay(struct front_guest *guest, int target_fd, struct front_bytes from_guest,
	struct front_bytes from_target)
{
	struct front *front = guest->front;
	struct relay *relay;

	relay = relay_start_with(front->context->relays, &guest->io, target_fd);
	if (!relay) {
		log_warning("a connection of the %s proxy was dropped: %s", front->protocol->name,
			strerror(errno));
		fd_reset(&target_fd);
		front_drop(guest);
		return;
	}
	if (guest->peer.family != AF_UNIX)
		relay_note_tcp(relay, RELAY_A);
	int result = push(relay, RELAY_A, from_guest);
	if (result == 0)
		result = push(relay, RELAY_B, from_target);
	if (result < 0) {
		log_warning("a connection of the %s proxy was dropped: %s", front->protocol->name,
			strerror(-result));
		relay_stop(relay);
	}
	guest->io.fd = -1;
	let_go(guest);
}

void front_use(struct front_guest *guest)
{
	guest->used_ns = loop_now_ns(guest->front->context->loop);
}

static void on_deadline(struct loop_timer *timer)
{
	struct front_guest *guest = container_of(timer, struct front_guest, deadline);

	if (guest->front->protocol->on_late)
		guest->front->protocol->on_late(guest);
	else
		front_drop(guest);
}

void front_set_deadline(struct front_guest *guest, uint64_t ms)
{
	struct loop *loop = guest->front->context->loop;

	if (ms > 0)
		loop_timer_set(loop, &guest->deadline, ms);
	else
		loop_timer_cancel(loop, &guest->deadline);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct front_guest *guest = container_of(io, struct front_guest, io);

	front_use(guest);
	guest->front->protocol->on_ready(guest, events);
}

/* --- the front ---------------------------------------------------------------------------- */

static void note_refused(struct front *front, const char *whom, const char *why)
{
	uint64_t now_ns = loop_now_ns(front->context->loop);

	front->refused++;
	if (front->refusal_line_ns != 0 && now_ns - front->refusal_line_ns < NS_PER_S)
		return;
	front->refusal_line_ns = now_ns;
	log_notice("refused a connection of %s to the %s proxy%s%s (%llu refused so far)", whom,
		front->protocol->name, why[0] ? ": it " : "", why, front->refused);
}

void front_note_refused(const struct front_guest *guest, const char *why)
{
	char whom[ADDR_TEXT_BYTES];

	note_refused(guest->front, addr_format_ip(&guest->peer, whom, sizeof(whom)), why);
}

void front_add(struct front *front, int fd, const struct addr *peer)
{
	char whom[ACCESS_WHOM_BYTES];
	struct front_guest *guest;

	if (!access_is_user(&front->access, PROTO_TCP, fd, peer, whom, sizeof(whom))) {
		note_refused(front, whom, "");
		fd_reset(&fd);
		return;
	}
	guest = calloc(1, front->protocol->guest_bytes);
	if (!guest) {
		fd_reset(&fd);
		return;
	}
	guest->front = front;
	guest->peer = *peer;
	guest->io = (struct loop_io){fd, on_ready};
	guest->deadline = (struct loop_timer){.on_expired = on_deadline};
	front_use(guest);
	list_add_last(&front->guests, &guest->link);
	front->nguests++;
	budget_take(front->context->budget, front->protocol->guest_fds);
	guest->source = shares_source(&front->context->budget->shares, peer);
	shares_take(&front->context->budget->shares, SHARES_CONNECTIONS, guest->source);
	loop_timer_set(front->context->loop, &guest->deadline, FRONT_WAIT_MS);
	if (loop_io_add(front->context->loop, &guest->io, EPOLLIN) < 0)
		front_drop(guest);
}

static struct front_guest *longest_at_rest(struct front *front, unsigned source)
{
	struct front_guest *longest = NULL;

	list_each (at, &front->guests) {
		struct front_guest *guest = container_of(at, struct front_guest, link);

		if (guest->source == source && (!longest || guest->used_ns < longest->used_ns))
			longest = guest;
	}
	return longest;
}

static bool yield(struct shares_part *part, unsigned source)
{
	struct front_guest *guest = longest_at_rest(container_of(part, struct front, part), source);

	if (guest)
		front_drop(guest);
	return guest;
}

struct front *front_new(const struct conn_context *context, const struct front_protocol *protocol,
	struct guide *guide)
{
	struct front *front = calloc(1, sizeof(*front));

	if (!front)
		return NULL;
	front->context = context;
	front->protocol = protocol;
	front->guide = guide;
	list_init(&front->guests);
	partings_init(&front->partings, context);
	front->part = (struct shares_part){.kind = SHARES_CONNECTIONS, .yield = yield};
	shares_join(&context->budget->shares, &front->part);
	return front;
}

void front_free(struct front *front)
{
	if (!front)
		return;
	while (!list_is_empty(&front->guests))
		front_drop(list_first(&front->guests, struct front_guest, link));
	partings_fini(&front->partings);
	shares_leave(&front->context->budget->shares, &front->part);
	access_fini(&front->access);
	free(front);
}
