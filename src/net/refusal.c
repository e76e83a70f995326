/* SPDX-License-Identifier: Apache-2.0 */
/* net/refusal - the answer to a connection that cannot be: what its target, or the way there, said
 */
#include "net/refusal.h"

#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "net/icmp.h"
#include "net/packet.h"

/* The codes from which a kernel makes these errors: icmp_err_convert in its net/ipv4/icmp.c,
 * tab_unreach in net/ipv6/icmp.c. IPv4 has none for EACCES, IPv6 none for what is not in the list.
 */
static const struct code {
	int error;
	uint8_t code4, code6;
} codes[] = {
	{ENETUNREACH, ICMP_NET_UNREACH, ICMP6_DST_UNREACH_NOROUTE},
	{EADDRNOTAVAIL, ICMP_NET_UNREACH, ICMP6_DST_UNREACH_NOROUTE},
	{EAFNOSUPPORT, ICMP_NET_UNREACH, ICMP6_DST_UNREACH_NOROUTE},
	{EACCES, ICMP_PKT_FILTERED, ICMP6_DST_UNREACH_ADMIN},
	{EPERM, ICMP_PKT_FILTERED, ICMP6_DST_UNREACH_ADMIN},
	{ENOPROTOOPT, ICMP_PROT_UNREACH, ICMP6_DST_UNREACH_ADDR},
	{EHOSTDOWN, ICMP_HOST_UNKNOWN, ICMP6_DST_UNREACH_ADDR},
	{ENONET, ICMP_HOST_ISOLATED, ICMP6_DST_UNREACH_ADDR},
};

static struct code code_of(int error)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].error == error)
			return codes[i];
	return (struct code){error, ICMP_HOST_UNREACH, ICMP6_DST_UNREACH_ADDR};
}

size_t refusal_make(const struct net_plan *plan, uint8_t *frame, size_t len, int result,
	uint8_t out[REFUSAL_FRAME_BYTES])
{
	const bool is_reset = result == -ECONNREFUSED || result == -ECONNRESET;
	const struct code code = code_of(-result);
	struct packet_view view;
	size_t answered;

	if (result == -ETIMEDOUT || result == -EAGAIN || len < ETH_HLEN)
		return 0;
	if (packet_get16(frame + 12) == ETHERTYPE_IPV6)
		return is_reset ? icmp6_make_rst(frame, len, out)
				: icmp6_make_unreachable(&plan->host6, code.code6, frame, len, out);
	/* a frame may be longer than its packet */
	size_t total = len >= ETH_HLEN + PACKET_IPV4_BYTES ? packet_get16(frame + ETH_HLEN + 2) : 0;
	if (total > len - ETH_HLEN || !packet_parse(frame + ETH_HLEN, total, &view))
		return 0;
	if (is_reset)
		answered = packet_make_rst(&view, out + ETH_HLEN) ? PACKET_RST_BYTES : 0;
	else
		answered = icmp_make_unreachable(&view, plan->host, code.code4, out + ETH_HLEN);
	memcpy(out, frame + ETH_ALEN, ETH_ALEN);
	memcpy(out + ETH_ALEN, frame, ETH_ALEN);
	memcpy(out + 12, frame + 12, 2);
	return answered > 0 ? ETH_HLEN + answered : 0;
}
