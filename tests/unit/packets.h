/* SPDX-License-Identifier: Apache-2.0 */
/* unit/packets - build IPv4 packets for tests, and look at them again in the slowest way */
#ifndef NSWRAP_TESTS_UNIT_PACKETS_H
#define NSWRAP_TESTS_UNIT_PACKETS_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PKT_CAP 2048

struct pkt {
	uint8_t bytes[PKT_CAP];
	size_t len;
};

/* What pkt_ip puts in front of the payload */
struct pkt_head {
	const char *src, *dst;
	const void *options; /* a multiple of 4 bytes */
	size_t options_len;
};

static inline struct in_addr pkt_addr(const char *text)
{
	struct in_addr addr = {0};

	inet_pton(AF_INET, text, &addr);
	return addr;
}

static inline unsigned int pkt_get16(const uint8_t *at)
{
	return at[0] * 256u + at[1];
}

static inline void pkt_put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value / 256);
	at[1] = (uint8_t)value;
}

/* The one's complement sum of @len bytes and @start, all of it carried: 0xffff if it is right */
static inline unsigned int pkt_sum(const uint8_t *bytes, size_t len, unsigned long start)
{
	for (size_t i = 0; i < len; i++)
		start += i % 2 ? bytes[i] : bytes[i] * 256ul;
	while (start > 0xffff)
		start = start % 0x10000 + start / 0x10000;
	return (unsigned int)start;
}

static inline size_t pkt_head_len(const uint8_t *ip)
{
	return (ip[0] & 15u) * 4u;
}

/* The sum of a TCP or UDP packet with its pseudo header. UDP says itself how long it is. */
static inline unsigned int pkt_flow_sum(const uint8_t *ip, size_t len)
{
	const uint8_t *l4 = ip + pkt_head_len(ip);
	size_t l4_len = ip[9] == IPPROTO_UDP ? pkt_get16(l4 + 4) : len - pkt_head_len(ip);

	return pkt_sum(l4, l4_len, pkt_sum(ip + 12, 8, ip[9] + l4_len));
}

static inline bool pkt_is_ip_right(const uint8_t *ip)
{
	return pkt_sum(ip, pkt_head_len(ip), 0) == 0xffff;
}

/* Also true for UDP without a checksum */
static inline bool pkt_is_flow_right(const uint8_t *ip, size_t len)
{
	if (ip[9] == IPPROTO_UDP && pkt_get16(ip + pkt_head_len(ip) + 6) == 0)
		return true;
	return pkt_flow_sum(ip, len) == 0xffff;
}

static inline bool pkt_is_icmp_right(const uint8_t *ip, size_t len)
{
	return pkt_sum(ip + pkt_head_len(ip), len - pkt_head_len(ip), 0) == 0xffff;
}

static inline struct pkt pkt_ip(
	struct pkt_head head, uint8_t proto, const void *payload, size_t len)
{
	struct pkt pkt = {.len = 20 + head.options_len + len};
	uint8_t *ip = pkt.bytes;
	struct in_addr src = pkt_addr(head.src), dst = pkt_addr(head.dst);

	ip[0] = (uint8_t)(0x45 + head.options_len / 4);
	pkt_put16(ip + 2, (unsigned int)pkt.len);
	pkt_put16(ip + 4, 0x1234);
	ip[8] = 63;
	ip[9] = proto;
	memcpy(ip + 12, &src, 4);
	memcpy(ip + 16, &dst, 4);
	if (head.options_len)
		memcpy(ip + 20, head.options, head.options_len);
	if (len)
		memcpy(ip + 20 + head.options_len, payload, len);
	pkt_put16(ip + 10, 0xffff - pkt_sum(ip, pkt_head_len(ip), 0));
	return pkt;
}

/* 7 bytes of data follow the header. */
static inline struct pkt pkt_tcp_with(
	struct pkt_head head, unsigned int src_port, unsigned int dst_port, uint8_t flags)
{
	uint8_t tcp[27] = {[4] = 1, 2, 3, 4, 5, 6, 7, 8, [12] = 0x50, flags, 0xff, 0xff};

	pkt_put16(tcp, src_port);
	pkt_put16(tcp + 2, dst_port);
	memcpy(tcp + 20, "payload", 7);
	struct pkt pkt = pkt_ip(head, IPPROTO_TCP, tcp, sizeof(tcp));
	pkt_put16(pkt.bytes + pkt_head_len(pkt.bytes) + 16,
		0xffff - pkt_flow_sum(pkt.bytes, pkt.len));
	return pkt;
}

static inline struct pkt pkt_tcp(const char *src, unsigned int src_port, const char *dst,
	unsigned int dst_port, uint8_t flags)
{
	return pkt_tcp_with((struct pkt_head){src, dst, NULL, 0}, src_port, dst_port, flags);
}

static inline struct pkt pkt_udp(
	const char *src, unsigned int src_port, const char *dst, unsigned int dst_port)
{
	uint8_t udp[13] = {[5] = 13};

	pkt_put16(udp, src_port);
	pkt_put16(udp + 2, dst_port);
	memcpy(udp + 8, "query", 5);
	struct pkt pkt =
		pkt_ip((struct pkt_head){src, dst, NULL, 0}, IPPROTO_UDP, udp, sizeof(udp));
	unsigned int sum = 0xffff - pkt_flow_sum(pkt.bytes, pkt.len);
	pkt_put16(pkt.bytes + 26, sum ? sum : 0xffff);
	return pkt;
}

static inline struct pkt pkt_icmp(
	const char *src, const char *dst, uint8_t type, const void *data, size_t len)
{
	uint8_t icmp[PKT_CAP - 20] = {type};

	if (len)
		memcpy(icmp + 8, data, len);
	pkt_put16(icmp + 2, 0xffff - pkt_sum(icmp, 8 + len, 0));
	return pkt_ip((struct pkt_head){src, dst, NULL, 0}, IPPROTO_ICMP, icmp, 8 + len);
}

/* An error about @cause, of which @len bytes are quoted at most */
static inline struct pkt pkt_error(
	const char *src, const char *dst, uint8_t type, struct pkt cause, size_t len)
{
	return pkt_icmp(src, dst, type, cause.bytes, len < cause.len ? len : cause.len);
}

#endif
