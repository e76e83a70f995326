/* SPDX-License-Identifier: Apache-2.0 */
/* net/hairpin - lead what a guest sends to one address outside back to sockets inside */
#include "net/hairpin.h"

#include <net/ethernet.h>
#include <string.h>

#include "net/packet.h"
#include "net/tap.h"

#define AT_TYPE        12 /* of an Ethernet header */
#define AT_FRAGMENT    6  /* of an IPv4 header */
#define AT_PROTOCOL    9
#define AT_SOURCE      12
#define AT_DESTINATION 16
#define PORTS_BYTES    4

#define MORE_OR_OFFSET 0x3fff

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t kept = a[i];

		a[i] = b[i];
		b[i] = kept;
	}
}

/* The port of the socket that @ip, a whole IPv4 header to `outer`, is for or from; 0: none. */
static uint16_t own_port(const struct hairpin *hairpin, const uint8_t *ip)
{
	if (ip[AT_PROTOCOL] == IPPROTO_TCP)
		return hairpin->tcp_port;
	return ip[AT_PROTOCOL] == IPPROTO_UDP ? hairpin->udp_port : 0;
}

bool hairpin_turn(const struct hairpin *hairpin, uint8_t *frame, size_t len)
{
	uint8_t *ip = frame + TAP_ETHER_BYTES, *ports = ip + PACKET_IPV4_BYTES;

	if (len < TAP_ETHER_BYTES + PACKET_IPV4_BYTES + PORTS_BYTES ||
		packet_get16(frame + AT_TYPE) != ETHERTYPE_IP || ip[0] != 0x45 ||
		memcmp(ip + AT_DESTINATION, &hairpin->outer, sizeof(hairpin->outer)) != 0 ||
		(packet_get16(ip + AT_FRAGMENT) & MORE_OR_OFFSET))
		return false;
	uint16_t port = own_port(hairpin, ip);
	if (port == 0)
		return false;
	if (packet_get16(ports) == port)
		packet_put16(ports, hairpin->outer_port);
	else if (packet_get16(ports + 2) == hairpin->outer_port)
		packet_put16(ports + 2, port);
	else
		return false;
	swap(frame, frame + ETH_ALEN, ETH_ALEN);
	swap(ip + AT_SOURCE, ip + AT_DESTINATION, sizeof(struct in_addr));
	return true;
}
