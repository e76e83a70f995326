/* SPDX-License-Identifier: Apache-2.0 */
/* exit/answer - what is said at once about a packet that nobody will ever answer */
#include "exit/answer.h"

#include "util/clock.h"

#define CREDIT_NS NS_PER_S
#define COST_NS   (NS_PER_S / ANSWERS_PER_S)

static bool can_afford(struct answers *answers, struct in_addr to, uint64_t now_ns)
{
	uint64_t *paid_ns = &answers->paid_ns[(to.s_addr * 2654435769U) >> 26];

	_Static_assert(ANSWERS_SLOTS == 1 << (32 - 26), "the upper bits say which slot");
	if (*paid_ns + CREDIT_NS < now_ns)
		*paid_ns = now_ns - CREDIT_NS;
	if (*paid_ns + COST_NS > now_ns)
		return false;
	*paid_ns += COST_NS;
	return true;
}

size_t answer_make(struct answers *answers, const struct answer *answer,
	const struct packet_view *view, uint64_t now_ns, unsigned char frame[ANSWER_FRAME_BYTES])
{
	const bool is_tcp = view->proto == IPPROTO_TCP && !view->is_fragment;
	const bool begins =
		(view->tcp_flags & (PACKET_SYN | PACKET_ACK | PACKET_RST)) == PACKET_SYN;
	unsigned char *packet = frame + FRAME_HEADER_BYTES;
	size_t len = 0;

	if (!answer->is_tcp_only && (!is_tcp || (begins && answer->code == ICMP_HOST_UNREACH)) &&
		can_afford(answers, view->src.ip, now_ns))
		len = icmp_make_unreachable(view, answer->from, answer->code, packet);
	if (len == 0 && is_tcp && packet_make_rst(view, packet))
		len = PACKET_RST_BYTES;
	if (len > 0)
		frame_encode_header(frame, FRAME_PACKET, len);
	return len > 0 ? FRAME_HEADER_BYTES + len : 0;
}
