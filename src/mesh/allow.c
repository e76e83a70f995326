/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/allow - which hosts may begin something with one host, and on which of its ports */
#include "mesh/allow.h"

#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "stream/ferry.h"

/* Who may, protocol, port: 0 and 0 is everything; UINT16_MAX and 0: something. */
#define ANY_PROTO UINT8_MAX

struct allow {
	struct in_addr self;
	size_t count;
	uint64_t keys[]; /* in order */
};

static uint64_t make_key(struct in_addr ip, uint8_t proto, uint16_t port)
{
	return (uint64_t)ip.s_addr << 32 | (uint64_t)proto << 16 | port;
}

static int compare(const void *a, const void *b)
{
	const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

static bool has(const struct allow *allow, struct in_addr ip, uint8_t proto, uint16_t port)
{
	const uint64_t key = make_key(ip, proto, port);

	return bsearch(&key, allow->keys, allow->count, sizeof(key), compare) != NULL;
}

struct allow *allow_new(struct in_addr self, const struct mesh_allowed *list, size_t count)
{
	struct allow *allow = malloc(sizeof(*allow) + (2 * count + 1) * sizeof(allow->keys[0]));

	if (!allow)
		return NULL;
	allow->self = self;
	allow->count = 0;
	for (size_t i = 0; i < count; i++) {
		const uint8_t proto = list[i].proto == PROTO_TCP ? IPPROTO_TCP : IPPROTO_UDP;

		allow->keys[allow->count++] = list[i].port == 0
						      ? make_key(list[i].ip, 0, 0)
						      : make_key(list[i].ip, proto, list[i].port);
		allow->keys[allow->count++] = make_key(list[i].ip, ANY_PROTO, 0);
	}
	qsort(allow->keys, allow->count, sizeof(allow->keys[0]), compare);
	return allow;
}

void allow_free(struct allow *allow)
{
	free(allow);
}

static bool is_icmp(const struct packet_view *view)
{
	return view->proto == IPPROTO_ICMP && view->l4_len >= PACKET_ICMP_BYTES;
}

/* Neither an answer nor an error */
static bool asks(const struct packet_view *view)
{
	switch (view->l4[0]) {
	case ICMP_ECHOREPLY:
	case ICMP_DEST_UNREACH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return false;
	default:
		return true;
	}
}

static bool begins(const struct awaited *awaited, const struct packet_view *view, uint64_t now_ns)
{
	if (view->proto == IPPROTO_TCP)
		return (view->tcp_flags & (PACKET_SYN | PACKET_ACK)) == PACKET_SYN;
	if (view->proto == IPPROTO_UDP)
		return !awaited || !awaited_has(awaited, &view->dst, &view->src, now_ns);
	return !is_icmp(view) || asks(view);
}

enum allow_verdict allow_judge(const struct allow *allow, const struct awaited *awaited,
	const struct packet_view *view, uint64_t now_ns)
{
	const struct in_addr who = view->src.ip;

	if (has(allow, who, 0, 0) || packet_is_same_ip(who, allow->self))
		return ALLOW_PASS;
	if (view->proto == FERRY_PROTO && !view->is_fragment)
		return ALLOW_PASS;
	if (view->is_fragment)
		return ALLOW_DROP;
	if (!begins(awaited, view, now_ns))
		return ALLOW_PASS;
	if (!packet_is_same_ip(view->dst.ip, allow->self))
		return ALLOW_REFUSE;
	if (view->proto == IPPROTO_TCP || view->proto == IPPROTO_UDP)
		return has(allow, who, view->proto, view->dst.port) ? ALLOW_PASS : ALLOW_REFUSE;
	return is_icmp(view) && has(allow, who, ANY_PROTO, 0) ? ALLOW_PASS : ALLOW_REFUSE;
}

void allow_note(struct awaited *awaited, const struct packet_view *view, uint64_t now_ns)
{
	if (view->proto == IPPROTO_UDP && !view->is_fragment)
		awaited_note(awaited, &view->src, &view->dst, now_ns);
}

uint8_t allow_code(const struct packet_view *view)
{
	/* the one that Linux tells a program of */
	return view->proto == IPPROTO_UDP ? ICMP_PORT_UNREACH : ICMP_PKT_FILTERED;
}
