/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks - a SOCKS proxy: 4, 4a and 5 */
#include "proxy/socks.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/socks_udp.h"
#include "proxy/socks_wire.h"
#include "util/log.h"

#define BUFFER_BYTES 1024 /* a message, and what comes early */

_Static_assert(BUFFER_BYTES >= SOCKS_MESSAGE_MAX, "a message must fit");

enum state { SOCKS_GREETS, SOCKS_LOGS_IN, SOCKS_ASKS, SOCKS_WAITS, SOCKS_STAYS };

struct socks {
	struct front_guest guest;
	struct guide_trip trip;
	struct socks_udp *udp; /* SOCKS_STAYS */
	enum state state;
	enum socks_version version;
	size_t len;
	char bytes[BUFFER_BYTES];
};

static const char http_answer[] =
	"HTTP/1.1 400 Bad Request\r\n"
	"Content-Type: text/plain\r\n"
	"Connection: close\r\n"
	"\r\n"
	"nswrap: this is a SOCKS proxy, and no HTTP proxy: expected socks5h://ADDR:PORT\n";

static struct socks *socks_of(struct front_guest *guest)
{
	return container_of(guest, struct socks, guest);
}

static void consume(struct socks *socks, size_t len)
{
	socks->len -= len;
	memmove(socks->bytes, socks->bytes + len, socks->len);
}

/* --- the request -------------------------------------------------------------------------- */

static void refuse(struct socks *socks, int result)
{
	unsigned char reply[SOCKS_REPLY_MAX];
	const struct addr nowhere = {.family = AF_UNSPEC};

	front_part(&socks->guest, reply,
		socks_wire_write_reply(socks->version, result, &nowhere, reply));
}

static void on_result(struct socks *socks, int result)
{
	unsigned char reply[SOCKS_REPLY_MAX];
	struct addr own = {.family = AF_UNSPEC};

	if (result < 0) {
		refuse(socks, result);
		return;
	}
	addr_get_own(result, &own);
	size_t len = socks_wire_write_reply(socks->version, 0, &own, reply);
	front_relay(&socks->guest, result, (struct front_bytes){socks->bytes, socks->len},
		(struct front_bytes){reply, len});
}

static void on_dialled(struct guide_trip *trip, int result)
{
	on_result(container_of(trip, struct socks, trip), result);
}

static void connect_it(struct socks *socks, const struct socks_request *request)
{
	struct front *front = socks->guest.front;

	socks->state = SOCKS_WAITS;
	socks->trip.on_dialled = on_dialled;
	front_set_deadline(&socks->guest, 0); /* the dial has its own */
	int result = guide_dial(front_guide(front), &socks->trip, request->host, request->port);
	if (result != -EINPROGRESS)
		on_result(socks, result);
}

/* Its datagrams are led as long as the connection lasts. */
static void associate(struct socks *socks, const struct socks_request *request)
{
	struct front_guest *guest = &socks->guest;
	unsigned char reply[SOCKS_REPLY_MAX];
	struct addr at;

	socks->udp = socks_udp_new(guest, request->port, &at);
	if (!socks->udp) {
		refuse(socks, -errno);
		return;
	}
	socks->state = SOCKS_STAYS;
	front_set_deadline(guest, 0);
	size_t len = socks_wire_write_reply(SOCKS_5, 0, &at, reply);
	if (send(guest->io.fd, reply, len, MSG_NOSIGNAL) != (ssize_t)len)
		front_drop(guest);
}

/* --- messages ----------------------------------------------------------------------------- */

static bool tell(struct socks *socks, const void *bytes, size_t len)
{
	if (send(socks->guest.io.fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len)
		return true;
	front_drop(&socks->guest);
	return false;
}

/*
 * Each handles one message: it returns its size, 0 if it is not whole, or -EPROTO. `is_over`: the
 * guest is gone, or has nothing more to say.
 */
static ssize_t on_greeting(struct socks *socks, bool *is_over)
{
	bool wants = access_wants_password(front_access(socks->guest.front));
	unsigned char answer[SOCKS_REPLY_MAX];
	unsigned methods;
	ssize_t len = socks_wire_read_greeting(socks->bytes, socks->len, &methods);

	if (len <= 0)
		return len;
	unsigned method =
		!wants && (methods & SOCKS_NO_AUTH) ? SOCKS_NO_AUTH : methods & SOCKS_PASSWORD;
	size_t answer_len = socks_wire_write_method(method, answer);
	if (method == 0) {
		if (wants)
			front_note_refused(&socks->guest, "gave no password");
		front_part(&socks->guest, answer, answer_len);
		*is_over = true;
		return len;
	}
	socks->state = method == SOCKS_NO_AUTH ? SOCKS_ASKS : SOCKS_LOGS_IN;
	*is_over = !tell(socks, answer, answer_len);
	return len;
}

static ssize_t on_login(struct socks *socks, bool *is_over)
{
	const struct access *access = front_access(socks->guest.front);
	unsigned char answer[SOCKS_REPLY_MAX];
	struct socks_login login;
	ssize_t len = socks_wire_read_login(socks->bytes, socks->len, &login);

	if (len <= 0)
		return len;
	bool is_known = !access_wants_password(access) ||
			access_is_known(access, login.user, login.user_len, login.password,
				login.password_len);
	explicit_bzero(socks->bytes, (size_t)len);
	size_t answer_len = socks_wire_write_login(is_known, answer);
	if (is_known) {
		socks->state = SOCKS_ASKS;
		*is_over = !tell(socks, answer, answer_len);
		return len;
	}
	front_note_refused(&socks->guest, "gave a wrong password");
	front_part(&socks->guest, answer, answer_len);
	*is_over = true;
	return len;
}

static ssize_t on_request(struct socks *socks, bool *is_over)
{
	struct socks_request request;
	ssize_t len = socks_wire_read_request(socks->bytes, socks->len, &request);

	if (len <= 0 || request.version != socks->version)
		return len < 0 || request.version != socks->version ? -EPROTO : 0;
	*is_over = true;
	consume(socks, (size_t)len);
	if (socks->version == SOCKS_4 && access_wants_password(front_access(socks->guest.front))) {
		front_note_refused(&socks->guest, "gave no password, which SOCKS 4 cannot");
		refuse(socks, -EACCES);
	} else if (request.command != SOCKS_CONNECT &&
		   (request.command != SOCKS_ASSOCIATE || socks->version != SOCKS_5)) {
		refuse(socks, SOCKS_NO_COMMAND);
	} else if (request.is_other_kind) {
		refuse(socks, SOCKS_NO_KIND);
	} else if (request.command == SOCKS_ASSOCIATE) {
		associate(socks, &request);
	} else {
		connect_it(socks, &request);
	}
	return len;
}

static void on_nonsense(struct socks *socks)
{
	if (socks->state == SOCKS_GREETS && isupper((unsigned char)socks->bytes[0]))
		front_part(&socks->guest, http_answer, sizeof(http_answer) - 1);
	else if (socks->state == SOCKS_ASKS)
		refuse(socks, -EPROTO);
	else
		front_drop(&socks->guest);
}

/* What has come is handled as far as it is whole. */
static void handle(struct socks *socks)
{
	bool is_over = false;
	ssize_t len = 1;

	while (len > 0 && socks->len > 0) {
		if (socks->state == SOCKS_GREETS) {
			socks->version = (unsigned char)socks->bytes[0];
			if (socks->version == SOCKS_4)
				socks->state = SOCKS_ASKS;
		}
		if (socks->state == SOCKS_ASKS)
			len = on_request(socks, &is_over);
		else if (socks->state == SOCKS_GREETS)
			len = on_greeting(socks, &is_over);
		else
			len = on_login(socks, &is_over);
		if (is_over)
			return;
		if (len > 0)
			consume(socks, (size_t)len);
	}
	if (len < 0)
		on_nonsense(socks);
}

static void on_ready(struct front_guest *guest, uint32_t events)
{
	struct socks *socks = socks_of(guest);

	if ((events & (EPOLLERR | EPOLLHUP)) || !(events & EPOLLIN)) {
		front_drop(guest); /* it is broken */
		return;
	}
	if (socks->state == SOCKS_WAITS) {
		/* what comes early waits; EPOLLERR and EPOLLHUP are always reported */
		loop_io_mod(front_context(guest->front)->loop, &guest->io, 0);
		return;
	}
	ssize_t len =
		recv(guest->io.fd, socks->bytes + socks->len, sizeof(socks->bytes) - socks->len, 0);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len == 0 && socks->state == SOCKS_STAYS) {
		front_end(guest);
		return;
	}
	if (len <= 0) { /* it has ended before it said what it wants */
		front_drop(guest);
		return;
	}
	if (socks->state == SOCKS_STAYS) /* it has nothing more to say */
		return;
	socks->len += (size_t)len;
	handle(socks);
}

static void on_end(struct front_guest *guest)
{
	guide_cancel(front_guide(guest->front), &socks_of(guest)->trip);
	socks_udp_free(socks_of(guest)->udp);
}

const struct front_protocol socks_protocol = {
	.name = "SOCKS",
	.guest_bytes = sizeof(struct socks),
	.guest_fds = 2, /* and its target, on its way, or its socket for datagrams */
	.on_ready = on_ready,
	.on_end = on_end,
};
