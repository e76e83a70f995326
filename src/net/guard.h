/* SPDX-License-Identifier: Apache-2.0 */
/* net/guard - which frames of the guest may reach libslirp */
#ifndef NSWRAP_NET_GUARD_H
#define NSWRAP_NET_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/plan.h"

/*
 * How it works
 *
 * The guest writes whatever it likes to the TAP; libslirp 4.7.0 believes too much of it. What
 * passes here has every length inside the frame, no fragments, no IP options, no extension headers,
 * no urgent data, and addresses that belong where they stand:
 *
 * - from the guest's own address; from 127.0.0.1 only TCP and UDP (answers to a forward that ends
 *   at the guest's loopback), and no TCP connection starts there;
 * - to an address outside of the virtual network, or to `host` or `dns`; never to what the host's
 *   kernel would take for itself (0.0.0.0/8, 127.0.0.0/8, ::, ::1, ::ffff:0:0/96, ::/96).
 *
 * `host` without allows_host_loopback: libslirp shows a forward's client on the host's loopback as
 * `host`, so answers go there. TCP passes unless it opens a connection; UDP has no such mark and
 * passes: there it is libslirp's disable_host_loopback that refuses. ICMP echo always passes.
 * `dns`: port 53 and ICMP echo only, because libslirp would carry every port to the address of the
 * host's resolver, which may be a loopback address such as 127.0.0.53.
 *
 * No state, no allocation; reads headers only, so it costs the same for every length. Checksums are
 * not looked at (libslirp does). Urgent data is not dropped, since honest programs send it: the
 * flag is taken out and the bytes stay in the stream, as with SO_OOBINLINE.
 */
enum guard_verdict {
	GUARD_PASS = 0,
	GUARD_DROP_SHORT,            /* no complete Ethernet header */
	GUARD_DROP_LONG,             /* frame or packet over the MTU */
	GUARD_DROP_ETHERTYPE,        /* not ARP, IPv4, IPv6 */
	GUARD_DROP_IPV6_OFF,         /* IPv6, but it is off */
	GUARD_DROP_ARP_SHAPE,        /* cut, not Ethernet/IPv4, not request or reply */
	GUARD_DROP_ARP_SENDER,       /* speaks for an address that is not the guest's */
	GUARD_DROP_IP_HEADER,        /* cut, wrong version or header length, TTL 0 */
	GUARD_DROP_IP_OPTIONS,       /* IPv4 with options */
	GUARD_DROP_IP_LENGTH,        /* length field does not fit the frame */
	GUARD_DROP_FRAGMENT,         /* MF, an offset, or the reserved bit */
	GUARD_DROP_PROTOCOL,         /* not TCP, UDP, ICMP; IPv6: also every extension header */
	GUARD_DROP_SOURCE,           /* not an address, or not a use of it, that is the guest's */
	GUARD_DROP_DESTINATION,      /* destination that the host would take for itself; class E */
	GUARD_DROP_MULTICAST,        /* multicast, IPv6: other than ND */
	GUARD_DROP_BROADCAST,        /* 255.255.255.255 or the virtual network's */
	GUARD_DROP_NEIGHBOUR,        /* in the virtual network, but not `host` or `dns` */
	GUARD_DROP_LINK_LOCAL,       /* IPv6 link-local or site-local, other than ND */
	GUARD_DROP_HOST_LOOPBACK,    /* opens a connection to `host` */
	GUARD_DROP_DNS_OFF,          /* to `dns` without has_dns */
	GUARD_DROP_DNS_PORT,         /* to `dns`, port other than 53 */
	GUARD_DROP_TCP_HEADER,       /* cut, or data offset outside 20..packet */
	GUARD_DROP_TCP_FLAGS,        /* SYN+FIN, SYN+RST, or none */
	GUARD_DROP_TCP_OPTIONS,      /* an option with a wrong length */
	GUARD_DROP_UDP_LENGTH,       /* cut, or length field is not the payload's */
	GUARD_DROP_UDP_SERVICE,      /* BOOTP, TFTP, DHCPv6 servers inside libslirp */
	GUARD_DROP_ICMP_HEADER,      /* cut */
	GUARD_DROP_ICMP_TYPE,        /* other than echo request and ND solicitations/adverts */
	GUARD_DROP_ICMP_UNREACHABLE, /* usual: a closed port of the guest answers a forward */
	GUARD_DROP_ND,               /* hop limit, code, length or destination is wrong */
	GUARD_DROP_ND_OPTIONS,       /* an ND option with a wrong length */
	GUARD_VERDICTS
};

/*
 * By the addresses, limits and switches of @plan judge one Ethernet frame of @len bytes (without
 * vnet header or FCS), as read from the TAP. Reads nothing outside of @frame[0..len). Writes only
 * to clear TCP's URG flag and urgent pointer, with the checksum kept as right or wrong as it was
 * (RFC 1624); does so only if the frame passes.
 */
enum guard_verdict guard_check(const struct net_plan *plan, uint8_t *frame, size_t len);

/* A few words for logs and counters, such as "fragment"; never NULL. */
const char *guard_reason(enum guard_verdict verdict);

/* True for drops that any honest guest causes now and then (multicast, ...): not worth a line. */
bool guard_is_usual(enum guard_verdict verdict);

#endif
