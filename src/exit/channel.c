/* SPDX-License-Identifier: Apache-2.0 */
/* exit/channel - the packets of a link between an entrance and an exit, in frames or bare */
#include "exit/channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/packet.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "version.h"

#define BARE_READS 64

static void end(struct channel *channel, const char *why)
{
	channel_close(channel);
	channel->ops->on_end(channel->owner, why);
}

static void say(struct channel *channel, const struct hello *hello)
{
	char text[HELLO_TEXT_BYTES];
	size_t len = hello_encode(hello, text);

	/* when there is no room for it the other end has enough to hear */
	wire_send_message(&channel->wire, text, len);
}

/* --- life --------------------------------------------------------------------------------- */

static void on_beat(struct loop_timer *timer)
{
	struct channel *channel = container_of(timer, struct channel, beat);
	const unsigned max = channel->is_up ? CHANNEL_SILENT_MAX : CHANNEL_FIRST_MAX;
	char why[96];

	if (channel->wire.bytes_in != channel->heard_bytes)
		channel->silent = 0;
	else
		channel->silent++;
	channel->heard_bytes = channel->wire.bytes_in;
	if (channel->silent >= max) {
		snprintf(
			why, sizeof(why), "no sign of life for %u s", max * CHANNEL_BEAT_MS / 1000);
		end(channel, why);
		return;
	}
	if (channel->is_up && channel->silent > 0)
		say(channel, &(struct hello){.kind = HELLO_PING, .number = ++channel->asked});
	loop_timer_set(channel->loop, &channel->beat, CHANNEL_BEAT_MS);
}

/* --- frames ------------------------------------------------------------------------------- */

static void on_hello(struct channel *channel, const struct hello *hello)
{
	if (channel->is_up)
		return;
	if (hello->kind == channel->self.kind) {
		end(channel, hello->kind == HELLO_EXIT
				     ? "the other end is an exit, too"
				     : "the other end is an entrance, too: expected nswrap exit");
		return;
	}
	channel->peer = *hello;
	channel->is_up = true;
	if (hello->features & channel->self.features & HELLO_ACKNOWLEDGE)
		wire_acknowledge(&channel->wire);
	channel->ops->on_up(channel->owner);
}

static void on_message(struct channel *channel, const struct frame *frame)
{
	struct hello hello;
	struct err err;

	if (hello_decode(frame->payload, frame->len, &hello, &err) < 0) {
		end(channel, err.text);
		return;
	}
	if (hello.kind == HELLO_ENTRANCE || hello.kind == HELLO_EXIT)
		on_hello(channel, &hello);
	else if (hello.kind == HELLO_PING)
		say(channel, &(struct hello){.kind = HELLO_PONG, .number = hello.number});
}

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct channel *channel = container_of(wire, struct channel, wire);

	if (frame->type == FRAME_MESSAGE)
		on_message(channel, frame);
	else if (frame->type == FRAME_PACKET && channel->is_up)
		channel->ops->on_packet(channel->owner, frame->payload, frame->len);
}

static void on_room(struct wire *wire)
{
	struct channel *channel = container_of(wire, struct channel, wire);

	if (channel->is_up)
		channel->ops->on_room(channel->owner);
}

static void on_broken(struct wire *wire, const struct err *err)
{
	end(container_of(wire, struct channel, wire), err->code == 0 ? NULL : err->text);
}

static void on_noise(struct wire *wire, const char *bytes, size_t len)
{
	struct channel *channel = container_of(wire, struct channel, wire);

	channel->ops->on_noise(channel->owner, bytes, len);
}

/* --- bare packets ------------------------------------------------------------------------- */

static void on_bare(struct loop_io *io, uint32_t events)
{
	struct channel *channel = container_of(io, struct channel, bare);
	unsigned char packet[FRAME_PACKET_MAX];

	(void)events;
	for (int i = 0; i < BARE_READS && channel->is_open; i++) {
		ssize_t got = recv(io->fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* whoever was to get the last datagram was not there; it may come */
		if (got < 0 && (errno == ECONNREFUSED || errno == EMSGSIZE))
			continue;
		if (got == 0 && channel->is_datagram) /* one without a byte */
			continue;
		if (got <= 0) {
			end(channel, got == 0 ? NULL : strerror(errno));
			return;
		}
		channel->ops->on_packet(channel->owner, packet, (size_t)got);
	}
}

static int open_bare(struct channel *channel, int fd)
{
	channel->bare = (struct loop_io){fd, on_bare};
	channel->is_up = true;
	int result = fd_set_nonblock(fd, 1);
	return result < 0 ? result : loop_io_add(channel->loop, &channel->bare, EPOLLIN);
}

/* Ends that know no more than this of one another: RemoteNetstack's are given an MTU of 1500. */
static void send_bare(struct channel *channel, const struct iovec *packets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		packet_limit_mss(packets[i].iov_base, packets[i].iov_len, CHANNEL_BARE_MSS);
		if (send(channel->bare.fd, packets[i].iov_base, packets[i].iov_len,
			    MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_debug("a packet was lost: %s", strerror(errno));
	}
}

/* ------------------------------------------------------------------------------------------ */

/* The type of a socket, or 0. */
static int socket_type(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ? 0 : type;
}

int channel_open(struct channel *channel, int in_fd, int out_fd)
{
	static const struct wire_ops talking = {.on_frame = on_frame,
		.on_room = on_room,
		.on_broken = on_broken,
		.on_noise = on_noise};
	static const struct wire_ops strict = {
		.on_frame = on_frame, .on_room = on_room, .on_broken = on_broken};
	const int type = socket_type(in_fd);
	int result;

	channel->peer = (struct hello){.kind = HELLO_OTHER};
	channel->is_up = false;
	channel->silent = 0;
	channel->is_open = true;
	channel->is_datagram = type == SOCK_DGRAM;
	channel->is_bare = type == SOCK_SEQPACKET || type == SOCK_DGRAM;
	if (channel->is_bare) {
		/* one socket is both ways; the other number is a copy, or none that is of use */
		if (out_fd != in_fd)
			fd_close(&out_fd);
		result = open_bare(channel, in_fd);
		if (result == 0)
			channel->ops->on_up(channel->owner);
		else
			channel_close(channel);
		return result;
	}
	result = wire_open(&channel->wire, channel->hub,
		channel->ops->on_noise ? &talking : &strict, in_fd, out_fd);
	if (result < 0) {
		channel->is_open = false;
		return result;
	}
	channel->heard_bytes = channel->wire.bytes_in;
	channel->beat.on_expired = on_beat;
	loop_timer_set(channel->loop, &channel->beat, CHANNEL_BEAT_MS);
	snprintf(channel->self.version, sizeof(channel->self.version), "%s", NSWRAP_VERSION);
	say(channel, &channel->self);
	return 0;
}

void channel_close(struct channel *channel)
{
	if (!channel->is_open)
		return;
	channel->is_open = channel->is_up = false;
	if (channel->is_bare) {
		loop_io_del(channel->loop, &channel->bare);
		fd_close(&channel->bare.fd);
		return;
	}
	loop_timer_cancel(channel->loop, &channel->beat);
	wire_close(&channel->wire);
}

void channel_send(struct channel *channel, struct iovec *packets, size_t count)
{
	if (!channel->is_up)
		return;
	if (channel->is_bare) {
		send_bare(channel, packets, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		unsigned char *frame = (unsigned char *)packets[i].iov_base - FRAME_HEADER_BYTES;

		frame_encode_header(frame, FRAME_PACKET, packets[i].iov_len);
		packets[i] = (struct iovec){frame, FRAME_HEADER_BYTES + packets[i].iov_len};
	}
	wire_send(&channel->wire, 0, packets, count);
}

bool channel_wants(const struct channel *channel)
{
	return channel->is_up && (channel->is_bare || wire_wants_packets(&channel->wire));
}
