/* SPDX-License-Identifier: Apache-2.0 */
/* net/solicit - which datagrams from outside the guest has asked for */
#include "net/solicit.h"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "net/packet.h"

#define FRAGMENT_OFFSET 0x1fff

/* Both ends of a datagram. */
struct ends {
	size_t ip_len; /* of an address */
	const uint8_t *src, *dst;
	uint16_t src_port, dst_port;
};

/* False if it is none, or not the beginning of one. */
static bool find_ends(const uint8_t *frame, size_t len, struct ends *out)
{
	const uint8_t *ip = frame + ETH_HLEN, *udp;

	if (len < ETH_HLEN + PACKET_IPV4_BYTES + PACKET_UDP_BYTES)
		return false;
	if (packet_get16(frame + 12) == ETHERTYPE_IP) {
		udp = ip + (size_t)(ip[0] & 0xf) * 4;
		if (ip[9] != IPPROTO_UDP || (packet_get16(ip + 6) & FRAGMENT_OFFSET))
			return false;
		*out = (struct ends){.ip_len = 4, .src = ip + 12, .dst = ip + 16};
	} else {
		udp = ip + PACKET_IPV6_BYTES;
		if (packet_get16(frame + 12) != ETHERTYPE_IPV6 || ip[6] != IPPROTO_UDP)
			return false;
		*out = (struct ends){.ip_len = 16, .src = ip + 8, .dst = ip + 24};
	}
	if (udp + PACKET_UDP_BYTES > frame + len)
		return false;
	out->src_port = packet_get16(udp);
	out->dst_port = packet_get16(udp + 2);
	return true;
}

/* The guest's own address is one of each family: the peer's and the ports tell flows apart. */
static struct awaited_flow make_flow(
	size_t ip_len, const uint8_t *peer, uint16_t peer_port, uint16_t own_port)
{
	struct awaited_flow flow = {.ports = (uint32_t)own_port << 16 | peer_port};

	memcpy(flow.ips, peer, ip_len);
	return flow;
}

/* Spoken twice, from inside and again after an answer: a flow, and no question. */
enum stage { ASKED, ANSWERED, SETTLED };

static void keep(
	struct solicit *solicit, struct awaited_flow *flow, enum stage stage, uint64_t now_ns)
{
	flow->stage = stage;
	flow->end_ns = now_ns + (stage == SETTLED ? AWAITED_TIME_NS : SOLICIT_FRESH_NS);
	awaited_put(&solicit->awaited, flow);
}

void solicit_note(struct solicit *solicit, const uint8_t *frame, size_t len, uint64_t now_ns)
{
	struct ends ends;

	if (!find_ends(frame, len, &ends))
		return;
	struct awaited_flow flow = make_flow(ends.ip_len, ends.dst, ends.dst_port, ends.src_port);
	const struct awaited_flow *old = awaited_find(&solicit->awaited, &flow, now_ns);
	keep(solicit, &flow, old && old->stage != ASKED ? SETTLED : ASKED, now_ns);
}

bool solicit_has(struct solicit *solicit, const uint8_t *frame, size_t len, uint64_t now_ns)
{
	struct ends ends;

	if (!find_ends(frame, len, &ends))
		return true;
	struct awaited_flow flow = make_flow(ends.ip_len, ends.src, ends.src_port, ends.dst_port);
	const struct awaited_flow *old = awaited_find(&solicit->awaited, &flow, now_ns);
	if (!old)
		return false;
	keep(solicit, &flow, old->stage == SETTLED ? SETTLED : ANSWERED, now_ns);
	return true;
}
