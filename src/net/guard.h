/* SPDX-License-Identifier: Apache-2.0 */
/* net/guard - which frames of the guest may reach libslirp */
#pragma once

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
 * - from the guest's own address; from 127.0.0.1 only TCP (answers to a forward that ends at the
 *   guest's loopback), and no connection starts there;
 * - to an address outside of the virtual network, or to `host` or `dns`; never to what the host's
 *   kernel would take for itself (0.0.0.0/8, 127.0.0.0/8, ::, ::1, ::ffff:0:0/96, ::/96).
 *
 * `host` without allows_host_loopback: libslirp shows a forward's client on the host's loopback as
 * `host`, so answers go there. TCP passes unless it opens a connection; UDP has no such mark and
 * passes: there it is libslirp's disable_host_loopback that refuses. ICMP echo always passes.
 * `dns`: ICMP echo only. Queries have been taken away before (net/hairpin), and libslirp would
 * carry every port to the address of the host's resolver, which may be a loopback address such as
 * 127.0.0.53. ICMPv6 echo: `host` and `dns` only; libslirp carries none to the outside, and says so
 * for each.
 *
 * No state, no allocation; reads headers only, so it costs the same for every length. Checksums are
 * not looked at (libslirp does). Urgent data is not dropped, since honest programs send it: the
 * flag is taken out and the bytes stay in the stream, as with SO_OOBINLINE.
 */

/*
 * What is dropped, and its words for a log. USUAL: any honest guest causes it now and then (it is
 * not worth a line).
 */
#define GUARD_LIST(DROP, USUAL)                                                                    \
	DROP(SHORT, "short frame")           /* no complete Ethernet header */                     \
	DROP(LONG, "over the MTU")           /* frame or packet */                                 \
	DROP(ETHERTYPE, "unknown ethertype") /* not ARP, IPv4, IPv6 */                             \
	USUAL(IPV6_OFF, "IPv6 is off")                                                             \
	DROP(ARP_SHAPE, "bad ARP packet")      /* cut, not Ethernet/IPv4, not request or reply */  \
	DROP(ARP_SENDER, "foreign ARP sender") /* speaks for an address not the guest's */         \
	DROP(IP_HEADER, "bad IP header")       /* cut, wrong version or header length, TTL 0 */    \
	DROP(IP_OPTIONS, "IP options")         /* IPv4 */                                          \
	DROP(IP_LENGTH, "bad IP length")       /* length field does not fit the frame */           \
	DROP(FRAGMENT, "fragment")             /* MF, an offset, or the reserved bit */            \
	USUAL(PROTOCOL, "unknown protocol")    /* IPv6: every extension header, too (MLD) */       \
	DROP(SOURCE, "foreign source")         /* not the guest's, or not so used by it */         \
	USUAL(BOUND, "SYN from loopback")      /* who is bound to it. net/slirp answers */         \
	USUAL(BOUND_UDP, "datagram from loopback") /* the same */                                  \
	DROP(DESTINATION, "forbidden destination") /* the host itself; class E */                  \
	USUAL(MULTICAST, "multicast")              /* IPv6: other than ND */                       \
	USUAL(BROADCAST, "broadcast")              /* 255.255.255.255 or the virtual network's */  \
	DROP(NEIGHBOUR, "no such neighbour")       /* in the network, not `host` or `dns` */       \
	DROP(LINK_LOCAL, "link-local destination") /* IPv6; site-local too; other than ND */       \
	DROP(HOST_LOOPBACK, "host loopback")       /* SYN to `host`; net/slirp answers */          \
	DROP(DNS_OFF, "DNS is off")                /* to `dns` without has_dns */                  \
	DROP(DNS_PORT, "not a DNS port")           /* TCP and UDP to `dns` */                      \
	DROP(TCP_HEADER, "bad TCP header")         /* cut, or data offset outside 20..packet */    \
	DROP(TCP_FLAGS, "bad TCP flags")           /* SYN+FIN, SYN+RST, or none */                 \
	DROP(TCP_OPTIONS, "bad TCP options")       /* a wrong length */                            \
	DROP(UDP_LENGTH, "bad UDP length")         /* cut, or length field is not the payload's */ \
	DROP(UDP_SERVICE, "BOOTP, TFTP or DHCPv6") /* servers inside libslirp */                   \
	DROP(ICMP_HEADER, "bad ICMP header")       /* cut */                                       \
	DROP(ICMP_TYPE, "unknown ICMP type") /* not echo request, ND solicitation or advert */     \
	USUAL(ECHO6, "ICMPv6 echo to the outside")  /* libslirp cannot; net/slirp answers */       \
	USUAL(ICMP_UNREACHABLE, "ICMP unreachable") /* a forward met a closed port */              \
	DROP(ND, "bad neighbour discovery") /* wrong hop limit, code, length, destination */       \
	DROP(ND_OPTIONS, "bad neighbour discovery options") /* a wrong length */

#define GUARD_NAME(name, reason) GUARD_DROP_##name,
enum guard_verdict { GUARD_PASS, GUARD_LIST(GUARD_NAME, GUARD_NAME) GUARD_VERDICTS };

/*
 * By the addresses, limits and switches of @plan judge one Ethernet frame of @len bytes (without
 * vnet header or FCS), as read from the TAP. Reads nothing outside of @frame[0..len). Writes only
 * to clear TCP's URG flag and urgent pointer, with the checksum kept as right or wrong as it was
 * (RFC 1624); does so only if the frame passes.
 */
enum guard_verdict guard_check(const struct net_plan *plan, uint8_t *frame, size_t len);

/* A few words for logs and counters, such as "fragment"; never NULL. */
const char *guard_reason(enum guard_verdict verdict);

/* GUARD_PASS, or marked as USUAL above. */
bool guard_is_usual(enum guard_verdict verdict);
