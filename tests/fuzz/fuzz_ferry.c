/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ferry - two hosts with streams, of which each is hostile in its turn: their packets are
 * changed, lost, cut and said twice as the input says, before the other one has them. Connections
 * begin, say something and end meanwhile. Nothing may be left behind.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/association.h"
#include "stream/ferry.h"
#include "util/budget.h"

#define ROUNDS 60
#define CALLS  6

struct bed;

struct host {
	struct bed *bed;
	struct ferry *ferry;
};

struct call {
	struct beyond_call call;
	struct bed *bed;
	int fd;
};

struct bed {
	const uint8_t *data;
	size_t size, at;
	struct host hosts[2];
	struct call calls[CALLS];
	int fds[4 * CALLS];
	size_t nfds;
};

static uint8_t next(struct bed *bed)
{
	return bed->at < bed->size ? bed->data[bed->at++] : 0;
}

static void on_packets(void *owner)
{
	(void)owner;
}

static void on_asked(void *owner, struct track *track, struct in_addr peer, struct packet_end to)
{
	struct bed *bed = ((struct host *)owner)->bed;
	int ends[2];

	(void)peer;
	if (to.port % 3 == 0 || bed->nfds == sizeof(bed->fds) / sizeof(bed->fds[0]) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) {
		track_refuse(track, -111);
		return;
	}
	bed->fds[bed->nfds++] = ends[1];
	if (track_accept(track) < 0 || track_join(track, ends[0], ends[1]) < 0)
		abort();
}

static void on_track_over(void *owner, struct track *track)
{
	(void)owner;
	(void)track;
}

static void on_returned(void *owner, const struct packet_view *syn)
{
	(void)owner;
	if (syn->proto != IPPROTO_TCP)
		abort();
}

static bool find_host(void *owner, struct in_addr ip, struct in_addr *host)
{
	(void)owner;
	*host = ip;
	return true;
}

static void on_done(struct beyond_call *beyond, int result)
{
	struct call *call = (struct call *)beyond;

	call->fd = result;
}

/* As the input has it. Returns how often it is sent. */
static int change(struct bed *bed, unsigned char *packet, size_t *len)
{
	const size_t head = PACKET_IPV4_BYTES;

	switch (next(bed) % 8) {
	case 1:
		return 0;
	case 2:
		return 2;
	case 3:
		*len = head + next(bed) % (*len - head + 1);
		break;
	case 4:
		for (size_t i = next(bed) % 4 + 1; i > 0; i--) {
			const size_t at = (size_t)next(bed) << 2 | next(bed) % 4;

			packet[head + at % (*len - head)] ^= next(bed);
		}
		break;
	case 5: { /* frames of its own behind the header of a short packet */
		const size_t at = head + 1 + 1 + ASSOCIATION_CID_BYTES + 1;

		if (*len <= at + 2)
			break;
		for (size_t i = at; i + 1 < *len && bed->at < bed->size && i < at + 60; i++)
			packet[i] = next(bed);
		break;
	}
	case 6:
		packet[head] = next(bed) % 5;
		break;
	default:
		break;
	}
	return 1;
}

static void exchange(struct bed *bed)
{
	static unsigned char packet[65535], copy[65535];
	struct packet_view view;
	size_t len;

	for (int i = 0; i < 2; i++)
		for (int packets = 0; packets < 40 && (len = ferry_take(bed->hosts[i].ferry, packet,
							       sizeof(packet), next(bed) & 1)) > 0;
			packets++) {
			int times = change(bed, packet, &len);

			packet[2] = (unsigned char)(len >> 8);
			packet[3] = (unsigned char)len;
			while (times-- > 0) {
				memcpy(copy, packet, len);
				if (packet_parse(copy, len, &view))
					ferry_in(bed->hosts[1 - i].ferry, &view);
			}
		}
}

static void act(struct bed *bed, const struct in_addr ips[2])
{
	struct call *call = &bed->calls[next(bed) % CALLS];
	const int from = next(bed) & 1;
	struct beyond *beyond = ferry_beyond(bed->hosts[from].ferry);
	static const char words[5000];
	unsigned char syn[PACKET_RST_BYTES];
	struct packet_view view;

	switch (next(bed) % 8) {
	case 0:
	case 1:
	case 2: {
		const struct addr to = addr_of4(ips[1 - from], next(bed));

		if (call->call.trip || call->fd >= 0)
			break;
		call->call.on_done = on_done;
		(void)!beyond->start(beyond, &call->call, &to, PROTO_TCP);
		break;
	}
	case 3:
		if (call->call.trip)
			beyond->cancel(beyond, &call->call);
		break;
	case 4:
		if (call->fd >= 0)
			(void)!send(call->fd, words, next(bed) * 19u, MSG_NOSIGNAL);
		break;
	case 5:
		if (call->fd >= 0)
			close(call->fd);
		call->fd = -1;
		break;
	case 6:
		ferry_on_error(bed->hosts[from].ferry, ips[1 - from], next(bed) % 4);
		break;
	default:
		packet_make_syn((struct packet_end){ips[1 - from], 1},
			(struct packet_end){ips[from], 2}, syn);
		if (packet_parse(syn, sizeof(syn), &view))
			ferry_return(bed->hosts[from].ferry, &view);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ferry_ops ops = {
		on_packets, on_asked, on_track_over, on_returned, find_host, NULL};
	const struct in_addr ips[2] = {{htonl(0x7f002a01)}, {htonl(0x7f002a02)}};
	struct bed *bed = calloc(1, sizeof(*bed));
	struct loop *loop = loop_new();
	struct budget budget = {.max = 1000};
	struct conn_context context;

	if (!bed || !loop || context_open(&context, loop, &budget, -1) < 0)
		abort();
	bed->data = data;
	bed->size = size;
	const uint8_t stacks = next(bed);
	for (int i = 0; i < 2; i++) {
		bed->hosts[i] = (struct host){bed, ferry_new(&context, &ops, &bed->hosts[i])};
		if (!bed->hosts[i].ferry)
			abort();
		ferry_set_self(bed->hosts[i].ferry, ips[i], stacks >> i & 1);
		ferry_meet(bed->hosts[i].ferry, &ips[1 - i], 1);
	}
	for (int i = 0; i < CALLS; i++)
		bed->calls[i] = (struct call){.bed = bed, .fd = -1};
	for (int round = 0; round < ROUNDS && bed->at < size; round++) {
		act(bed, ips);
		exchange(bed);
		loop_run_once(loop, 0);
	}
	for (int i = 0; i < 2; i++)
		ferry_free(bed->hosts[i].ferry);
	for (int i = 0; i < CALLS; i++)
		if (bed->calls[i].fd >= 0)
			close(bed->calls[i].fd);
	for (size_t i = 0; i < bed->nfds; i++)
		close(bed->fds[i]);
	context_close(&context);
	loop_free(loop);
	free(bed);
	return 0;
}
