/* SPDX-License-Identifier: Apache-2.0 */
/* stream/ferry - streams between this host and those of its mesh, in packets that any manager
 * routes
 */
#include "stream/ferry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <ngtcp2/ngtcp2.h>
#include <stdlib.h>
#include <string.h>

#include "stream/association.h"
#include "stream/dialler.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mix.h"

#define BUCKETS_BITS 9

enum { SAYS_QUIC, SAYS_HELLO, SAYS_ANSWER, SAYS_UNKNOWN };

struct host;

/* An association, and whose. */
struct side {
	struct host *host;
	struct association *association; /* NULL: none */
	bool is_asker, is_over;
	unsigned idle; /* rounds */
};

struct host {
	struct ferry *ferry;
	struct list link;  /* in its bucket */
	struct list wants; /* in the ring of those that may have something to write */
	struct in_addr ip;
	bool is_member, is_told, is_streamed, is_foreign;
	bool is_said_silent;
	uint64_t returned_ns; /* a SYN was, first since it was heard last; 0: none */
	bool says_hello, says_answer, says_unknown;
	uint8_t unknown[NGTCP2_MAX_CIDLEN];
	size_t nunknown, nquote;
	unsigned char quote[FERRY_QUOTE_BYTES];
	struct side asker, answerers[FERRY_ANSWERERS];
};

struct ferry {
	const struct conn_context *context;
	const struct ferry_ops *ops;
	void *owner;
	struct dialler dialler;
	struct tracks tracks;
	struct in_addr self;
	bool has_stack;
	size_t nstreamed; /* hosts that have none */
	struct list buckets[1 << BUCKETS_BITS];
	struct list wants;
	struct loop_task task; /* frees associations that are over */
	struct loop_timer timer;
};

/* --- hosts -------------------------------------------------------------------------------- */

static struct list *bucket_of(const struct ferry *ferry, struct in_addr ip)
{
	return (struct list *)&ferry->buckets[mix_bits(ip.s_addr) >> (64 - BUCKETS_BITS)];
}

static struct host *find(const struct ferry *ferry, struct in_addr ip)
{
	list_each (at, bucket_of(ferry, ip)) {
		struct host *host = container_of(at, struct host, link);

		if (packet_is_same_ip(host->ip, ip))
			return host;
	}
	return NULL;
}

/* The host that has @ip, or behind which it is, if it is known. */
static struct host *find_for(const struct ferry *ferry, struct in_addr ip)
{
	struct in_addr host;

	return ferry->ops->find_host(ferry->owner, ip, &host) ? find(ferry, host) : NULL;
}

static struct host *get(struct ferry *ferry, struct in_addr ip)
{
	struct host *host = find(ferry, ip);

	if (host)
		return host;
	host = calloc(1, sizeof(*host));
	if (!host)
		return NULL;
	host->ferry = ferry;
	host->ip = ip;
	host->asker = (struct side){.host = host, .is_asker = true};
	for (int i = 0; i < FERRY_ANSWERERS; i++)
		host->answerers[i].host = host;
	list_add_last(bucket_of(ferry, ip), &host->link);
	return host;
}

static struct side *side_of(struct host *host, size_t number)
{
	return number == 0 ? &host->asker : &host->answerers[number - 1];
}

static void want(struct host *host)
{
	if (!list_is_linked(&host->wants))
		list_add_last(&host->ferry->wants, &host->wants);
	host->ferry->ops->on_packets(host->ferry->owner);
}

static void side_close(struct side *side)
{
	struct association *association = side->association;

	side->association = NULL;
	side->is_over = false;
	side->idle = 0;
	association_free(association);
}

static void host_close(struct host *host, int result)
{
	for (size_t i = 0; i <= FERRY_ANSWERERS; i++) {
		struct side *side = side_of(host, i);

		if (side->association)
			association_end(side->association, result);
		side_close(side);
	}
}

static void set_streamed(struct host *host, bool is_streamed)
{
	host->ferry->nstreamed -= host->is_streamed;
	host->ferry->nstreamed += is_streamed;
	host->is_streamed = is_streamed;
}

static void host_free(struct host *host)
{
	set_streamed(host, false);
	host_close(host, -EHOSTUNREACH); /* for which nobody asks again */
	list_del(&host->link);
	list_del(&host->wants);
	free(host);
}

/* For people: @why @host, and this one, have nothing of each other. */
static void say_apart(const struct host *host, const char *why)
{
	char there[INET_ADDRSTRLEN], here[INET_ADDRSTRLEN];

	log_warning("the host at %s cannot be reached from this one, at %s: %s",
		inet_ntop(AF_INET, &host->ip, there, sizeof(there)),
		inet_ntop(AF_INET, &host->ferry->self, here, sizeof(here)), why);
}

static void say_foreign(struct host *host)
{
	if (!host->is_foreign)
		say_apart(host, "this one has no network stack, and the agent of that one knows of "
				"no streams");
	host->is_foreign = true;
}

static void say_silent(struct host *host)
{
	if (!host->is_said_silent)
		say_apart(host, "this one has no network stack, and nobody answers there who knows "
				"of streams");
	host->is_said_silent = true;
}

/* --- associations ------------------------------------------------------------------------- */

static void on_wake(void *owner)
{
	want(((struct side *)owner)->host);
}

/* It knows of streams. */
static void meet(struct host *host)
{
	host->is_foreign = host->is_said_silent = false;
	host->returned_ns = 0;
}

static void on_up(void *owner)
{
	meet(((struct side *)owner)->host);
}

static void on_asked(void *owner, struct track *track, struct in_addr ip, uint16_t port)
{
	const struct host *host = ((struct side *)owner)->host;
	const struct ferry *ferry = host->ferry;

	ferry->ops->on_asked(ferry->owner, track, host->ip, (struct packet_end){ip, port});
}

static void on_track_over(void *owner, struct track *track)
{
	const struct side *side = owner;
	const struct ferry *ferry = side->host->ferry;

	if (!side->is_asker)
		ferry->ops->on_track_over(ferry->owner, track);
}

static void on_over(void *owner, int result)
{
	struct side *side = owner;

	if (result == -ETIMEDOUT && side->is_asker && !association_is_up(side->association))
		say_silent(side->host);
	side->is_over = true;
	loop_task_add(side->host->ferry->context->loop, &side->host->ferry->task);
}

static const struct association_ops association_ops = {
	.on_wake = on_wake,
	.on_up = on_up,
	.on_asked = on_asked,
	.on_track_over = on_track_over,
	.on_over = on_over,
};

static bool side_open(struct side *side, const uint8_t *first, size_t len)
{
	side_close(side);
	side->association =
		association_new(&side->host->ferry->tracks, &association_ops, side, first, len);
	return side->association;
}

/* Call @each for every association. */
static void each_side(struct ferry *ferry, void (*each)(struct side *side))
{
	for (size_t i = 0; i < 1 << BUCKETS_BITS; i++)
		list_each_safe (at, following, &ferry->buckets[i]) {
			struct host *host = container_of(at, struct host, link);

			for (size_t j = 0; j <= FERRY_ANSWERERS; j++)
				if (side_of(host, j)->association)
					each(side_of(host, j));
		}
}

static void free_over(struct side *side)
{
	if (side->is_over)
		side_close(side);
}

static void on_task(struct loop_task *task)
{
	each_side(container_of(task, struct ferry, task), free_over);
}

/* Two rounds without a track, at least one of them whole. */
static void look_for_idle(struct side *side)
{
	if (association_tracks(side->association) > 0)
		side->idle = 0;
	else if (++side->idle > (side->is_asker ? 1 : FERRY_ANSWERER_IDLE))
		side_close(side);
}

static void on_timer(struct loop_timer *timer)
{
	struct ferry *ferry = container_of(timer, struct ferry, timer);

	each_side(ferry, look_for_idle);
	loop_timer_set(ferry->context->loop, timer, FERRY_IDLE_S * 1000ULL);
}

/* --- connections that begin here ---------------------------------------------------------- */

static int begin_track(void *owner, struct packet_end to,
	void (*on_answer)(struct track *track, int result), void *user, struct track **out)
{
	struct host *host = find_for(owner, to.ip);

	if (!host || !host->is_member)
		return -EHOSTUNREACH;
	if (host->is_foreign)
		return -EPROTONOSUPPORT;
	if ((!host->asker.association || host->asker.is_over) && !side_open(&host->asker, NULL, 0))
		return -ENOMEM;
	*out = association_dial(host->asker.association, to.ip, to.port, on_answer, user);
	want(host);
	return *out ? 0 : -ENOMEM;
}

static bool leads(void *owner, const struct addr *at, enum proto proto)
{
	const struct ferry *ferry = owner;

	return at->family == AF_INET &&
	       (!ferry->has_stack ||
		       (proto == PROTO_TCP && ferry_is_streamed(ferry, at->v4.sin_addr)));
}

static int dial_datagrams(void *owner, const struct addr *to)
{
	const struct ferry *ferry = owner;

	return ferry->ops->dial_datagrams(ferry->owner, to);
}

struct beyond *ferry_beyond(struct ferry *ferry)
{
	return &ferry->dialler.beyond;
}

/* --- packets that come -------------------------------------------------------------------- */

static void hear_hello(struct host *host, const uint8_t *bytes, size_t len)
{
	struct ferry *ferry = host->ferry;
	struct packet_view syn;

	if (len < 2)
		return;
	set_streamed(host, bytes[1] == 0);
	meet(host);
	if (bytes[0] == SAYS_HELLO) {
		host->says_answer = true;
		want(host);
	}
	if (len > 2 && ferry->has_stack && packet_parse((void *)(bytes + 2), len - 2, &syn) &&
		packet_is_same_ip(syn.src.ip, ferry->self) && find_for(ferry, syn.dst.ip) == host &&
		syn.proto == IPPROTO_TCP && syn.tcp_flags == PACKET_SYN)
		ferry->ops->on_returned(ferry->owner, &syn);
}

static void hear_unknown(struct host *host, const uint8_t *cid, size_t len)
{
	for (size_t i = 0; i <= FERRY_ANSWERERS; i++) {
		struct side *side = side_of(host, i);

		if (side->association && association_knows(side->association, cid, len))
			association_end(side->association, -ECONNRESET);
	}
}

/* Returns a place for one that begins there. */
static struct side *answerer_for(struct host *host)
{
	struct side *place = &host->answerers[0];

	for (int i = 0; i < FERRY_ANSWERERS; i++) {
		struct side *side = &host->answerers[i];

		if (!side->association)
			return side;
		if (side->idle >= place->idle && association_tracks(side->association) <=
							 association_tracks(place->association))
			place = side;
	}
	return place;
}

static bool begins(const uint8_t *packet, size_t len)
{
	ngtcp2_pkt_hd head;

	return ngtcp2_accept(&head, packet, len) == 0 && head.version == NGTCP2_PROTO_VER_V1;
}

static void hear_quic(struct host *host, const uint8_t *packet, size_t len)
{
	const bool is_long = packet[0] & 0x80;
	ngtcp2_version_cid cids;

	/* no packet of Retry or for another version is of us */
	if (ngtcp2_pkt_decode_version_cid(&cids, packet, len, ASSOCIATION_CID_BYTES) != 0 ||
		(is_long && (cids.version != NGTCP2_PROTO_VER_V1 || (packet[0] & 0x30) == 0x30)))
		return;
	for (size_t i = 0; i <= FERRY_ANSWERERS; i++) {
		struct side *side = side_of(host, i);

		if (!side->association ||
			!association_has(side->association, cids.dcid, cids.dcidlen))
			continue;
		side->idle = 0;
		association_read(side->association, packet, len);
		return;
	}
	if (is_long) {
		struct side *side = begins(packet, len) ? answerer_for(host) : NULL;

		if (side && side_open(side, packet, len))
			association_read(side->association, packet, len);
		return;
	}
	memcpy(host->unknown, cids.dcid, cids.dcidlen);
	host->nunknown = cids.dcidlen;
	host->says_unknown = true;
	want(host);
}

void ferry_in(struct ferry *ferry, const struct packet_view *packet)
{
	struct host *host = find(ferry, packet->src.ip);
	const uint8_t *bytes = packet->l4;

	if (!host || !host->is_member || packet->l4_len < 2)
		return;
	if (bytes[0] == SAYS_QUIC)
		hear_quic(host, bytes + 1, packet->l4_len - 1);
	else if (bytes[0] == SAYS_HELLO || bytes[0] == SAYS_ANSWER)
		hear_hello(host, bytes, packet->l4_len);
	else if (bytes[0] == SAYS_UNKNOWN)
		hear_unknown(host, bytes + 1, packet->l4_len - 1);
}

void ferry_on_error(struct ferry *ferry, struct in_addr peer, uint8_t code)
{
	struct host *host = find(ferry, peer);

	if (!host)
		return;
	if (code == ICMP_PROT_UNREACH)
		say_foreign(host);
	else
		host->is_foreign = false;
	host->is_told = host->is_foreign;
	if (host->asker.association && !association_is_up(host->asker.association))
		association_end(host->asker.association,
			host->is_foreign ? -EPROTONOSUPPORT : -EHOSTUNREACH);
}

/* --- packets that go ---------------------------------------------------------------------- */

/* What is to be said of the streams themselves. Returns its size, or 0. */
static size_t say(struct host *host, uint8_t *out)
{
	if (host->says_unknown) {
		host->says_unknown = false;
		out[0] = SAYS_UNKNOWN;
		memcpy(out + 1, host->unknown, host->nunknown);
		return 1 + host->nunknown;
	}
	if (!host->says_hello && !host->says_answer)
		return 0;
	out[0] = host->says_hello ? SAYS_HELLO : SAYS_ANSWER;
	out[1] = host->ferry->has_stack;
	memcpy(out + 2, host->quote, host->nquote);
	const size_t len = 2 + host->nquote;
	host->says_hello = host->says_answer = false;
	host->nquote = 0;
	return len;
}

static size_t write_from(struct host *host, uint8_t *out, size_t cap_bytes, bool is_slow)
{
	size_t len = say(host, out);

	for (size_t i = 0; len == 0 && i <= FERRY_ANSWERERS; i++) {
		struct side *side = side_of(host, i);

		if (side->association && !side->is_over)
			len = association_write(side->association, out + 1, cap_bytes - 1, is_slow);
		if (len > 0) {
			out[0] = SAYS_QUIC;
			return 1 + len;
		}
	}
	return len;
}

size_t ferry_take(struct ferry *ferry, void *packet, size_t cap_bytes, bool is_slow)
{
	while (!list_is_empty(&ferry->wants)) {
		struct host *host = list_first(&ferry->wants, struct host, wants);

		/* it may want again before this is over */
		list_del(&host->wants);
		size_t len = write_from(host, (uint8_t *)packet + PACKET_IPV4_BYTES,
			cap_bytes - PACKET_IPV4_BYTES, is_slow);
		if (len == 0)
			continue;
		if (!list_is_linked(&host->wants))
			list_add_last(&ferry->wants, &host->wants);
		return packet_make_ipv4(packet, FERRY_PROTO, ferry->self, host->ip, len);
	}
	return 0;
}

bool ferry_return(struct ferry *ferry, const struct packet_view *syn)
{
	struct host *host = find(ferry, syn->src.ip);
	const uint64_t now_ns = loop_now_ns(ferry->context->loop);

	if (!host || !host->is_member)
		return true;
	if (host->returned_ns == 0)
		host->returned_ns = now_ns;
	else if (now_ns - host->returned_ns > FERRY_ANSWER_S * NS_PER_S)
		say_foreign(host);
	if (host->is_foreign)
		return false;
	host->nquote = syn->len <= sizeof(host->quote) ? syn->len : 0;
	memcpy(host->quote, syn->ip, host->nquote);
	host->says_hello = true;
	want(host);
	return true;
}

/* --- who is there ------------------------------------------------------------------------- */

int ferry_meet(struct ferry *ferry, const struct in_addr *peers, size_t count)
{
	for (size_t i = 0; i < 1 << BUCKETS_BITS; i++)
		list_each (at, &ferry->buckets[i])
			container_of(at, struct host, link)->is_member = false;
	for (size_t i = 0; i < count; i++) {
		struct host *host = get(ferry, peers[i]);

		if (!host)
			return -ENOMEM;
		host->is_member = true;
		if (ferry->has_stack || host->is_told)
			continue;
		host->is_told = host->says_hello = true;
		want(host);
	}
	for (size_t i = 0; i < 1 << BUCKETS_BITS; i++)
		list_each_safe (at, following, &ferry->buckets[i]) {
			struct host *host = container_of(at, struct host, link);

			if (!host->is_member)
				host_free(host);
		}
	return 0;
}

void ferry_forget(struct ferry *ferry, const struct in_addr *peers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct host *host = find(ferry, peers[i]);

		if (!host)
			continue;
		host_close(host, -EHOSTUNREACH);
		set_streamed(host, false);
		meet(host);
		host->is_told = false;
	}
}

bool ferry_is_streamed(const struct ferry *ferry, struct in_addr peer)
{
	const struct host *host = ferry->nstreamed > 0 ? find_for(ferry, peer) : NULL;

	return host && host->is_streamed;
}

bool ferry_is_foreign(const struct ferry *ferry, struct in_addr peer)
{
	const struct host *host = find(ferry, peer);

	return host && host->is_foreign;
}

static void free_all(struct ferry *ferry)
{
	for (size_t i = 0; i < 1 << BUCKETS_BITS; i++)
		while (!list_is_empty(&ferry->buckets[i]))
			host_free(list_first(&ferry->buckets[i], struct host, link));
}

void ferry_set_self(struct ferry *ferry, struct in_addr self, bool has_stack)
{
	if (packet_is_same_ip(ferry->self, self) && ferry->has_stack == has_stack)
		return;
	free_all(ferry);
	ferry->self = self;
	ferry->has_stack = has_stack;
}

struct ferry *ferry_new(
	const struct conn_context *context, const struct ferry_ops *ops, void *owner)
{
	static const struct dialler_ops dialler_ops = {leads, begin_track, dial_datagrams};
	struct ferry *ferry = calloc(1, sizeof(*ferry));

	if (!ferry)
		return NULL;
	ferry->context = context;
	ferry->ops = ops;
	ferry->owner = owner;
	dialler_init(&ferry->dialler, &dialler_ops, ferry);
	ferry->tracks.loop = context->loop;
	ferry->tracks.budget = context->budget;
	ferry->has_stack = true;
	ferry->task.on_run = on_task;
	ferry->timer.on_expired = on_timer;
	list_init(&ferry->wants);
	for (size_t i = 0; i < 1 << BUCKETS_BITS; i++)
		list_init(&ferry->buckets[i]);
	loop_timer_set(context->loop, &ferry->timer, FERRY_IDLE_S * 1000ULL);
	return ferry;
}

void ferry_free(struct ferry *ferry)
{
	if (!ferry)
		return;
	free_all(ferry);
	loop_timer_cancel(ferry->context->loop, &ferry->timer);
	loop_task_cancel(ferry->context->loop, &ferry->task);
	free(ferry);
}
