/* SPDX-License-Identifier: Apache-2.0 */
/* net/refusal - the answer to a connection or datagram that cannot be: what its target, or the way
 * there, said */
#include "net/refusal.h"

#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "net/icmp.h"
#include "net/packet.h"

/* The codes from which a kernel makes these errors: icmp_err_convert in its net/ipv4/icmp.c,
 * tab_unreach in net/ipv6/icmp.c. IPv4 has none for EACCES, IPv6 none for what is not in the list.
 */
static const struct code {
	int error;
	uint8_t code4, code6;
} codes[] = {
	{ECONNREFUSED, ICMP_PORT_UNREACH, ICMP6_DST_UNREACH_NOPORT},
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

int refusal_open(sa_family_t family)
{
	/* of this protocol: it only sends, with headers that are ours, raw(7) */
	int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);

	return fd < 0 ? -errno : fd;
}

/* Headers are what is known of the datagram, and all that a kernel looks at. */
static size_t answer4(const struct addr *client, const struct addr *asked, int error, uint8_t *out)
{
	uint8_t datagram[PACKET_DATAGRAM_BYTES];
	struct packet_view view;
	const size_t len = packet_make_udp(datagram,
		(struct packet_end){client->v4.sin_addr, addr_port(client)},
		(struct packet_end){asked->v4.sin_addr, addr_port(asked)}, 0);

	return packet_parse(datagram, len, &view)
		       ? icmp_make_unreachable(&view, asked->v4.sin_addr, code_of(error).code4, out)
		       : 0;
}

/* The same, behind an Ethernet header. */
static size_t answer6(const struct addr *client, const struct addr *asked, int error, uint8_t *out)
{
	uint8_t frame[ETH_HLEN + PACKET_IPV6_BYTES + PACKET_UDP_BYTES] = {0};
	uint8_t *ip = frame + ETH_HLEN, *udp = ip + PACKET_IPV6_BYTES;

	ip[0] = 6 << 4;
	packet_put16(ip + 4, PACKET_UDP_BYTES);
	ip[6] = IPPROTO_UDP;
	memcpy(ip + 8, &client->v6.sin6_addr, sizeof(client->v6.sin6_addr));
	memcpy(ip + 24, &asked->v6.sin6_addr, sizeof(asked->v6.sin6_addr));
	packet_put16(udp, addr_port(client));
	packet_put16(udp + 2, addr_port(asked));
	packet_put16(udp + 4, PACKET_UDP_BYTES);
	return icmp6_make_unreachable(
		&asked->v6.sin6_addr, code_of(error).code6, frame, sizeof(frame), out);
}

void refusal_send(int fd, const struct addr *client, const struct addr *asked, int result)
{
	const bool is_four = client->family == AF_INET;
	uint8_t answer[REFUSAL_FRAME_BYTES];
	struct addr to = *client;
	const size_t len = is_four ? answer4(client, asked, -result, answer)
				   : answer6(client, asked, -result, answer);
	const size_t from = is_four ? 0 : ETH_HLEN;

	addr_set_port(&to, 0); /* a protocol, for raw sockets of IPv6 */
	if (len > 0)
		sendto(fd, answer + from, len - from, MSG_DONTWAIT, &to.any, addr_len(&to));
}
