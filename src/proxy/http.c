/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http - the HTTP proxy: requests of a client, one after the other, each led to its server */
#include "proxy/http.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy/http_login.h"
#include "proxy/http_reply.h"
#include "proxy/http_transfer.h"
#include "util/clock.h"
#include "util/fd.h"

#define SOCKET_EVENTS (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET)
#define CHECK_MS      5000 /* how often a guest's time is looked at: one timer for all limits */
#define STEPS_MAX     16   /* of a guest, before others have their turn */

enum state {
	READING,      /* a head */
	DIALLING,     /* its target */
	TRANSFERRING, /* request and answer */
};

struct guest {
	struct front_guest front; /* the first */
	enum state state;
	struct http_transfer transfer;
	struct loop_task turn; /* more can be moved */

	struct loop_io server_io;
	struct guide_trip trip;
	char host[HTTP_HOST_MAX + 1]; /* where the server's connection leads */
	uint16_t port;
	bool is_begun;         /* it has said something; what is below counts */
	bool is_tunnel;        /* CONNECT is what is dialled for */
	bool is_reused;        /* the server's connection had another request before */
	uint64_t last_used_ns; /* of the server's connection */

	uint64_t since_ns;   /* of what it is waited for, see on_late */
	uint64_t moved_seen; /* by the transfer */
};

/* Is there still a guest, and what is next? */
enum step { GONE, WAITS, GOES_ON };

static struct loop *loop_of(const struct guest *guest)
{
	return front_context(guest->front.front)->loop;
}

static enum step enter(struct guest *guest, enum state state)
{
	guest->state = state;
	guest->since_ns = loop_now_ns(loop_of(guest));
	guest->moved_seen = guest->transfer.moved;
	front_use(&guest->front);
	return state == DIALLING ? WAITS : GOES_ON;
}

static void set_nodelay(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails where it is no TCP */
}

static void note_events(struct http_sock *sock, uint32_t events)
{
	const uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

	if (events & (EPOLLIN | ends))
		sock->is_readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		sock->is_writable = true;
	if (events & (ends | EPOLLPRI))
		sock->reads_to_end = true;
}

/* --- the end of a guest, or of its server's connection -----------------------------------------
 */

static void close_server(struct guest *guest, bool is_reset)
{
	struct http_sock *server = &guest->transfer.server;

	if (server->fd < 0)
		return;
	loop_io_del(loop_of(guest), &guest->server_io);
	if (is_reset)
		fd_reset(&server->fd);
	else
		fd_close(&server->fd);
	*server = (struct http_sock){.fd = -1};
	/* what is left of it is for nobody */
	http_way_skip(&guest->transfer.down, guest->transfer.down.raw_len);
}

static enum step drop(struct guest *guest)
{
	front_drop(&guest->front);
	return GONE;
}

/* It has ended, and has heard everything. */
static enum step end(struct guest *guest)
{
	front_end(&guest->front);
	return GONE;
}

/* It has heard everything, and hears the end. */
static enum step part(struct guest *guest)
{
	front_part(&guest->front, "", 0);
	return GONE;
}

/* The last thing that is said to the client; nothing was said about this request before. */
static enum step refuse(struct guest *guest, int status, const char *line)
{
	const struct http_reply reply = {.status = status,
		.error = "http_request_error",
		.line = line,
		.is_head = guest->transfer.exchange.is_head};
	size_t len;
	char *text = http_reply_format(&reply, time(NULL), &len);

	if (!text)
		return drop(guest);
	front_part(&guest->front, text, len);
	free(text);
	return GONE;
}

static enum step refuse_request(struct guest *guest, const struct http_fault *fault)
{
	char line[300];

	snprintf(line, sizeof(line), "the request is refused: %s", fault->why);
	return refuse(guest, fault->status, line);
}

/* The client's connection goes on, if it wanted that and its request is over. */
static enum step reply(struct guest *guest, struct http_reply said)
{
	struct http_transfer *transfer = &guest->transfer;
	size_t len = 0;

	close_server(guest, true);
	said.is_head = transfer->exchange.is_head;
	said.keeps_client =
		transfer->exchange.keeps_client && http_body_is_done(&transfer->request);
	char *text = http_reply_format(&said, time(NULL), &len);
	if (http_transfer_reply(transfer, text, len, said.keeps_client) < 0)
		return drop(guest);
	return enter(guest, TRANSFERRING);
}

/* "web:80: WHAT: WHY" */
static enum step reply_about_server(
	struct guest *guest, int status, const char *error, const char *what, const char *why)
{
	const struct dial_target target = {.host = guest->host, .port = guest->port};
	char name[HTTP_HOST_MAX + 10], line[600];

	snprintf(line, sizeof(line), "%s: %s%s%s", dial_format(&target, name, sizeof(name)), what,
		why ? ": " : "", why ? why : "");
	return reply(guest, (struct http_reply){.status = status, .error = error, .line = line});
}

/* --- the way to the server ---------------------------------------------------------------------
 */

static enum step reply_to_failed_dial(struct guest *guest, int result)
{
	static const struct {
		int result, status;
		const char *error; /* of RFC 9209 */
	} kinds[] = {
		{-ENOENT, 502, "dns_error"},
		{-EAGAIN, 504, "dns_timeout"},
		{-ETIMEDOUT, 504, "connection_timeout"},
		{-ECONNREFUSED, 502, "connection_refused"},
		{-EHOSTUNREACH, 502, "destination_ip_unroutable"},
		{-ENETUNREACH, 502, "destination_ip_unroutable"},
		{-EACCES, 403, "destination_ip_prohibited"},
		{-EPERM, 403, "destination_ip_prohibited"},
	};

	if (dial_is_short(result))
		return reply_about_server(guest, 503, "connection_limit_reached",
			"no connection can be made now", dial_words(result));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].result == result)
			return reply_about_server(guest, kinds[i].status, kinds[i].error,
				"cannot connect", dial_words(result));
	return reply_about_server(
		guest, 502, "destination_unavailable", "cannot connect", dial_words(result));
}

static void on_server_ready(struct loop_io *io, uint32_t events);

static enum step connected(struct guest *guest, int fd)
{
	struct http_transfer *transfer = &guest->transfer;
	struct http_way *up = &transfer->up;

	if (guest->is_tunnel) {
		front_relay(&guest->front, fd, (struct front_bytes){http_way_raw(up), up->raw_len},
			(struct front_bytes){HTTP_REPLY_TUNNEL, strlen(HTTP_REPLY_TUNNEL)});
		return GONE;
	}
	guest->is_reused = false;
	transfer->server = (struct http_sock){.fd = fd, .is_writable = true};
	guest->server_io = (struct loop_io){fd, on_server_ready};
	set_nodelay(fd);
	if (loop_io_add(loop_of(guest), &guest->server_io, SOCKET_EVENTS) < 0) {
		fd_close(&transfer->server.fd);
		return drop(guest);
	}
	return enter(guest, TRANSFERRING);
}

static enum step dialled(struct guest *guest, int result)
{
	return result >= 0 ? connected(guest, result) : reply_to_failed_dial(guest, result);
}

static void run(struct guest *guest, enum step step);

static void on_dialled(struct guide_trip *trip, int result)
{
	struct guest *guest = container_of(trip, struct guest, trip);

	run(guest, dialled(guest, result));
}

static enum step dial(struct guest *guest)
{
	enter(guest, DIALLING);
	guest->trip.on_dialled = on_dialled;
	int result =
		guide_dial(front_guide(guest->front.front), &guest->trip, guest->host, guest->port);
	return result == -EINPROGRESS ? WAITS : dialled(guest, result);
}

/* May the next request go over the connection that is there? */
static bool is_server_of(const struct guest *guest, const struct http_target *target)
{
	const struct http_sock *server = &guest->transfer.server;
	uint64_t unused_ns = loop_now_ns(loop_of(guest)) - guest->last_used_ns;
	char byte;

	if (server->fd < 0 || target->is_tunnel || guest->port != target->port ||
		strcasecmp(guest->host, target->host) != 0)
		return false;
	if (!guest->transfer.exchange.is_safe && unused_ns > HTTP_FRESH_MS * NS_PER_MS)
		return false;
	/* a byte that nobody asked for is as bad as the end */
	return recv(server->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* --- requests ----------------------------------------------------------------------------------
 */

static enum step lead_to(struct guest *guest, const struct http_target *target)
{
	if (is_server_of(guest, target)) {
		guest->is_reused = true;
		guest->transfer.server.is_readable = false;
		return enter(guest, TRANSFERRING);
	}
	close_server(guest, false);
	guest->is_tunnel = target->is_tunnel;
	guest->port = target->port;
	memcpy(guest->host, target->host, sizeof(guest->host));
	return dial(guest);
}

static enum step ask_who(struct guest *guest)
{
	return reply(guest,
		(struct http_reply){.status = 407,
			.error = "http_request_denied",
			.line = "user and password are wanted (Proxy-Authorization: Basic)"});
}

/* The head as it goes on. Returns 0 or -ENOMEM. */
static int write_request(
	struct guest *guest, const struct http_head *head, const struct http_target *target)
{
	struct http_transfer *transfer = &guest->transfer;
	size_t len = 0;

	transfer->expects = head->minor == 1 && http_head_lists(head, "Expect", "100-continue") &&
			    !http_body_is_done(&transfer->request);
	char *text = http_forward_request(head, target, &transfer->exchange, &len);
	return http_way_set_text(&transfer->up, text, len);
}

/* The first @len raw bytes are a head. */
static enum step begin(struct guest *guest, size_t len)
{
	struct http_transfer *transfer = &guest->transfer;
	struct http_fault fault;
	struct http_target target;
	struct http_head head;

	if (http_head_read_request(http_way_raw(&transfer->up), len, &head, &fault) < 0)
		return refuse_request(guest, &fault);
	http_forward_begin(&transfer->exchange, &head);
	http_forward_request_body(&transfer->request, &head);
	if (!http_login_is_known(&head, front_access(guest->front.front))) {
		http_way_skip(&transfer->up, len);
		return ask_who(guest);
	}
	if (http_target_read(head.method, head.target, &target, &fault) < 0)
		return refuse_request(guest, &fault);
	if (target.is_tunnel && !http_body_is_done(&transfer->request))
		return refuse(guest, 400, "the request is refused: CONNECT has no body");
	bool is_last = http_forward_hops(&head) == 0;
	if (!target.is_tunnel && write_request(guest, &head, &target) < 0)
		return drop(guest);
	/* from here on its texts are gone */
	http_way_skip(&transfer->up, len);
	if (is_last)
		return reply(guest, (struct http_reply){.status = 200,
					    .line = "this is a proxy, and Max-Forwards is 0"});
	return lead_to(guest, &target);
}

/* Empty lines before a request do not count. */
static void skip_blanks(struct http_way *up)
{
	while (up->raw_len > 0 && http_head_is_blank(http_way_raw(up), up->raw_len))
		http_way_skip(up, 2);
}

static enum step read_request(struct guest *guest)
{
	struct http_transfer *transfer = &guest->transfer;
	struct http_way *up = &transfer->up;
	struct http_fault fault;
	ssize_t len = 0;

	skip_blanks(up);
	/* half an empty line is none yet */
	if (up->raw_len > 1 || (up->raw_len == 1 && http_way_raw(up)[0] != '\r'))
		len = http_head_find(http_way_raw(up), up->raw_len, &up->seen, &fault);
	if (len < 0)
		return refuse_request(guest, &fault);
	if (len > 0)
		return begin(guest, (size_t)len);
	if (!transfer->client.is_readable)
		return WAITS;
	bool is_first = up->raw_len == 0;
	len = http_way_receive(up, &transfer->client);
	if (len == -EAGAIN)
		return WAITS;
	if (len == 0)
		return end(guest);
	if (len < 0)
		return drop(guest);
	if (is_first)
		enter(guest, READING);
	return GOES_ON;
}

/* --- request and answer ------------------------------------------------------------------------
 */

static enum step next_request(struct guest *guest)
{
	struct http_transfer *transfer = &guest->transfer;

	if (transfer->server.fd >= 0 && transfer->keeps_server)
		guest->last_used_ns = loop_now_ns(loop_of(guest));
	else
		close_server(guest, false);
	http_transfer_reset(transfer);
	return enter(guest, READING);
}

static enum step no_answer(struct guest *guest)
{
	struct http_transfer *transfer = &guest->transfer;

	if (!guest->is_reused || !transfer->exchange.is_safe)
		return reply_about_server(guest, 502, "connection_terminated",
			"the connection ended without an answer", NULL);
	close_server(guest, false);
	transfer->server_is_gone = transfer->up_is_broken = false;
	transfer->up.text_sent = 0;
	return dial(guest);
}

/* The rest is no HTTP. */
static enum step upgrade(struct guest *guest)
{
	struct http_transfer *transfer = &guest->transfer;
	struct http_way *up = &transfer->up, *down = &transfer->down;
	char *text = realloc(down->text, down->text_len + down->raw_len + 1);

	if (!text)
		return drop(guest);
	down->text = text;
	if (down->raw_len > 0)
		memcpy(text + down->text_len, http_way_raw(down), down->raw_len);
	loop_io_del(loop_of(guest), &guest->server_io);
	front_relay(&guest->front, fd_take(&transfer->server.fd),
		(struct front_bytes){http_way_raw(up), up->raw_len},
		(struct front_bytes){text, down->text_len + down->raw_len});
	return GONE;
}

static enum step transfer(struct guest *guest)
{
	switch (http_transfer_pump(&guest->transfer)) {
	case HTTP_HAS_MORE:
		loop_task_add(loop_of(guest), &guest->turn);
		return WAITS;
	case HTTP_KEPT:
		return next_request(guest);
	case HTTP_CLOSED:
		return part(guest);
	case HTTP_BAD_REQUEST:
		return refuse_request(guest, &guest->transfer.fault);
	case HTTP_UNANSWERED:
		return no_answer(guest);
	case HTTP_BAD_ANSWER:
		return reply_about_server(guest, 502, "http_protocol_error",
			"its answer is no good HTTP", guest->transfer.fault.why);
	case HTTP_UPGRADED:
		return upgrade(guest);
	case HTTP_BROKEN:
		return drop(guest);
	case HTTP_WAITS:
		break;
	}
	return WAITS;
}

/* --- events ------------------------------------------------------------------------------------
 */

static void run(struct guest *guest, enum step step)
{
	for (int i = 0; step == GOES_ON; i++) {
		if (i == STEPS_MAX) {
			loop_task_add(loop_of(guest), &guest->turn);
			return;
		}
		switch (guest->state) {
		case READING:
			step = read_request(guest);
			break;
		case DIALLING:
			step = WAITS;
			break;
		case TRANSFERRING:
			step = transfer(guest);
			break;
		}
	}
}

static void on_turn(struct loop_task *task)
{
	run(container_of(task, struct guest, turn), GOES_ON);
}

static void on_server_ready(struct loop_io *io, uint32_t events)
{
	struct guest *guest = container_of(io, struct guest, server_io);

	front_use(&guest->front);
	note_events(&guest->transfer.server, events);
	if (guest->state != READING)
		run(guest, GOES_ON);
	else if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		close_server(guest, false); /* nobody has asked it */
}

static void on_ready(struct front_guest *front, uint32_t events)
{
	struct guest *guest = container_of(front, struct guest, front);
	struct http_transfer *transfer = &guest->transfer;

	if (!guest->is_begun) {
		guest->is_begun = true;
		guest->turn = (struct loop_task){.on_run = on_turn};
		transfer->client = (struct http_sock){.fd = front->io.fd, .is_writable = true};
		transfer->server.fd = -1;
		set_nodelay(front->io.fd);
		enter(guest, READING);
		front_set_deadline(front, CHECK_MS);
		if (loop_io_mod(loop_of(guest), &front->io, SOCKET_EVENTS) < 0) {
			drop(guest);
			return;
		}
	}
	/* gone both ways: there is nobody to answer */
	if (events & (EPOLLHUP | EPOLLERR)) {
		drop(guest);
		return;
	}
	note_events(&transfer->client, events);
	run(guest, GOES_ON);
}

/* --- time --------------------------------------------------------------------------------------
 */

/* Nothing has moved for @ms. */
static enum step stalled(struct guest *guest, uint64_t ms)
{
	struct http_transfer *transfer = &guest->transfer;

	if (http_way_has_ready(&transfer->down))
		return ms >= HTTP_READING_MS ? drop(guest) : WAITS;
	if (!http_body_is_done(&transfer->request) && !transfer->up_is_broken &&
		!http_way_has_ready(&transfer->up) && !transfer->expects) {
		if (ms < HTTP_BODY_MS)
			return WAITS;
		return transfer->is_answered
			       ? drop(guest)
			       : refuse(guest, 408, "the rest of the request has not come");
	}
	/* an answer that has begun may take its time: events of a server, say */
	if (transfer->is_answered || ms < HTTP_ANSWER_MS)
		return WAITS;
	return reply_about_server(
		guest, 504, "http_response_timeout", "no answer has come in 300 s", NULL);
}

static enum step look_at_time(struct guest *guest)
{
	uint64_t now_ns = loop_now_ns(loop_of(guest));
	uint64_t ms = (now_ns - guest->since_ns) / NS_PER_MS;

	switch (guest->state) {
	case READING:
		if (guest->transfer.up.raw_len == 0)
			return ms >= HTTP_IDLE_MS || !guest->is_begun ? part(guest) : WAITS;
		return ms >= HTTP_HEAD_MS
			       ? refuse(guest, 408, "the head of the request has not come in 30 s")
			       : WAITS;
	case DIALLING: /* who dials has a limit */
		return WAITS;
	case TRANSFERRING:
		if (guest->moved_seen == guest->transfer.moved)
			return stalled(guest, ms);
		enter(guest, TRANSFERRING);
		return WAITS;
	}
	return WAITS;
}

static void on_late(struct front_guest *front)
{
	struct guest *guest = container_of(front, struct guest, front);
	enum step step = look_at_time(guest);

	if (step == GONE)
		return;
	front_set_deadline(front, CHECK_MS);
	run(guest, step);
}

static void on_end(struct front_guest *front)
{
	struct guest *guest = container_of(front, struct guest, front);

	if (!guest->is_begun)
		return;
	close_server(guest, guest->state == TRANSFERRING);
	guide_cancel(front_guide(front->front), &guest->trip);
	loop_task_cancel(loop_of(guest), &guest->turn);
	http_way_fini(&guest->transfer.up);
	http_way_fini(&guest->transfer.down);
}

const struct front_protocol http_protocol = {
	.name = "HTTP",
	.guest_bytes = sizeof(struct guest),
	.guest_fds = 2,
	.on_ready = on_ready,
	.on_late = on_late,
	.on_end = on_end,
};
