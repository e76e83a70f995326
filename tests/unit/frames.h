/* SPDX-License-Identifier: Apache-2.0 */
/* unit/frames - build Ethernet frames for tests, and look at them again in the slowest, plainest
 * way */
#ifndef NSWRAP_TESTS_UNIT_FRAMES_H
#define NSWRAP_TESTS_UNIT_FRAMES_H

#include "net/guard.h"

#include <arpa/inet.h>
#include <string.h>

#define FRAME_CAP 2048
#define FRAME_L3  14
#define FRAME_L4  (FRAME_L3 + 20) /* IPv4 */
#define FRAME6_L4 (FRAME_L3 + 40)

struct frame {
	uint8_t bytes[FRAME_CAP];
	size_t len;
};

static inline struct in_addr frame_v4(const char *text)
{
	struct in_addr addr = {0};

	inet_pton(AF_INET, text, &addr);
	return addr;
}

static inline struct in6_addr frame_v6(const char *text)
{
	struct in6_addr addr = {0};

	inet_pton(AF_INET6, text, &addr);
	return addr;
}

static inline struct net_plan frame_config(void)
{
	return (struct net_plan){
		.guest = frame_v4("10.0.2.100"),
		.host = frame_v4("10.0.2.2"),
		.dns = frame_v4("10.0.2.3"),
		.network = frame_v4("10.0.2.0"),
		.netmask = frame_v4("255.255.255.0"),
		.has_ipv6 = true,
		.guest6 = frame_v6("fd00::100"),
		.host6 = frame_v6("fd00::2"),
		.dns6 = frame_v6("fd00::3"),
		.prefix6 = frame_v6("fd00::"),
		.prefix6_len = 64,
		.has_dns = true,
		.mtu = 1500,
	};
}

static inline void frame_put16(struct frame *frame, size_t at, unsigned int value)
{
	frame->bytes[at] = (uint8_t)(value >> 8);
	frame->bytes[at + 1] = (uint8_t)value;
}

static inline unsigned int frame_get16(const uint8_t *bytes)
{
	return (unsigned int)bytes[0] << 8 | bytes[1];
}

static inline uint32_t frame_sum(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static inline uint16_t frame_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The checksum of a TCP, UDP or ICMPv6 payload over its pseudo header; 0 if the one inside is right
 */
static inline uint16_t frame_l4_sum(const struct frame *frame)
{
	bool is_v6 = frame->bytes[FRAME_L3] >> 4 == 6;
	size_t at = is_v6 ? FRAME6_L4 : FRAME_L4;
	size_t len = frame->len - at;
	uint32_t sum = frame->bytes[is_v6 ? FRAME_L3 + 6 : FRAME_L3 + 9];

	sum += (uint32_t)len;
	sum = is_v6 ? frame_sum(frame->bytes + FRAME_L3 + 8, 32, sum)
		    : frame_sum(frame->bytes + FRAME_L3 + 12, 8, sum);
	return frame_fold(frame_sum(frame->bytes + at, len, sum));
}

static inline struct frame frame_eth(unsigned int ethertype)
{
	static const uint8_t addrs[12] = {0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1};
	struct frame frame = {.len = FRAME_L3};

	memcpy(frame.bytes, addrs, sizeof(addrs));
	frame_put16(&frame, 12, ethertype);
	return frame;
}

static inline struct frame frame_arp(unsigned int op, const char *sender, const char *target)
{
	static const uint8_t kind[6] = {0, 1, 8, 0, 6, 4};
	struct frame frame = frame_eth(0x0806);
	struct in_addr from = frame_v4(sender), to = frame_v4(target);

	memcpy(frame.bytes + FRAME_L3, kind, sizeof(kind));
	frame_put16(&frame, FRAME_L3 + 6, op);
	memcpy(frame.bytes + FRAME_L3 + 8, frame.bytes + 6, 6);
	memcpy(frame.bytes + FRAME_L3 + 14, &from, 4);
	memcpy(frame.bytes + FRAME_L3 + 24, &to, 4);
	frame.len += 28;
	return frame;
}

/* An IP packet with @len bytes of payload; the version follows from the address */
static inline struct frame frame_ip(
	const char *src, const char *dst, uint8_t proto, const void *payload, size_t len)
{
	bool is_v6 = strchr(src, ':') != NULL;
	struct frame frame = frame_eth(is_v6 ? 0x86dd : 0x0800);
	uint8_t *ip = frame.bytes + FRAME_L3;

	ip[0] = is_v6 ? 0x60 : 0x45;
	ip[is_v6 ? 6 : 9] = proto;
	ip[is_v6 ? 7 : 8] = is_v6 ? 255 : 64;
	inet_pton(is_v6 ? AF_INET6 : AF_INET, src, ip + (is_v6 ? 8 : 12));
	inet_pton(is_v6 ? AF_INET6 : AF_INET, dst, ip + (is_v6 ? 24 : 16));
	frame_put16(&frame, FRAME_L3 + (is_v6 ? 4 : 2), (unsigned int)(is_v6 ? len : len + 20));
	if (!is_v6)
		frame_put16(&frame, FRAME_L3 + 10, frame_fold(frame_sum(ip, 20, 0)));
	frame.len = (is_v6 ? FRAME6_L4 : FRAME_L4) + len;
	memcpy(frame.bytes + frame.len - len, payload, len);
	return frame;
}

/* @flags are TCP's; @options (a multiple of 4 bytes) and 5 bytes of data follow the header */
static inline struct frame frame_tcp(const char *src, const char *dst, unsigned int port,
	uint8_t flags, const void *options, size_t options_len)
{
	uint8_t tcp[20 + 40 + 5] = {0x9c, 0x40, (uint8_t)(port >> 8), (uint8_t)port, 1, 2, 3, 4};
	bool is_v6 = strchr(src, ':') != NULL;

	tcp[12] = (uint8_t)((20 + options_len) / 4 << 4);
	tcp[13] = flags;
	tcp[14] = 0xff;
	if (options_len)
		memcpy(tcp + 20, options, options_len);
	memcpy(tcp + 20 + options_len, "hello", 5);
	struct frame frame = frame_ip(src, dst, IPPROTO_TCP, tcp, 25 + options_len);
	frame_put16(&frame, (is_v6 ? FRAME6_L4 : FRAME_L4) + 16, frame_l4_sum(&frame));
	return frame;
}

static inline struct frame frame_udp(const char *src, const char *dst, unsigned int port)
{
	uint8_t udp[13] = {0x9c, 0x40, (uint8_t)(port >> 8), (uint8_t)port, 0, 13};
	bool is_v6 = strchr(src, ':') != NULL;

	memcpy(udp + 8, "query", 5);
	struct frame frame = frame_ip(src, dst, IPPROTO_UDP, udp, sizeof(udp));
	frame_put16(&frame, (is_v6 ? FRAME6_L4 : FRAME_L4) + 6, frame_l4_sum(&frame));
	return frame;
}

static inline struct frame frame_icmp(const char *src, const char *dst, uint8_t type)
{
	uint8_t icmp[16] = {type, 0, 0, 0, 0x12, 0x34, 0, 1};

	return frame_ip(src, dst, strchr(src, ':') ? IPPROTO_ICMPV6 : IPPROTO_ICMP, icmp, 16);
}

/* Neighbour discovery: @len bytes of header, then one option of 8 bytes (link-layer address) */
static inline struct frame frame_nd(const char *src, const char *dst, uint8_t type, size_t len)
{
	uint8_t nd[24 + 8] = {type};

	nd[len] = 1;
	nd[len + 1] = 1;
	return frame_ip(src, dst, IPPROTO_ICMPV6, nd, len + 8);
}

/*
 * What libslirp may rely on in a frame that passed. Written apart from the guard, with nothing
 * shared, and checks again and again instead of once. Returns NULL, or what is broken.
 */
static inline const char *frame_broken_tcp(const uint8_t *tcp, size_t len)
{
	if (len < 20)
		return "tcp header cut";
	size_t end = (size_t)(tcp[12] / 16) * 4;
	if (end < 20 || end > len)
		return "tcp data offset";
	if (tcp[13] & 0x20)
		return "tcp urgent";
	for (size_t at = 20; at < end;) {
		if (tcp[at] == 0)
			break;
		if (tcp[at] == 1) {
			at += 1;
		} else {
			if (at + 1 >= end || tcp[at + 1] < 2 || at + tcp[at + 1] > end)
				return "tcp option";
			at += tcp[at + 1];
		}
	}
	return NULL;
}

static inline const char *frame_broken_l4(uint8_t proto, const uint8_t *l4, size_t len)
{
	switch (proto) {
	case 6:
		return frame_broken_tcp(l4, len);
	case 17:
		return len >= 8 && frame_get16(l4 + 4) == len ? NULL : "udp length";
	case 1:
		return len >= 8 && l4[0] == 8 ? NULL : "icmp";
	case 58:
		break;
	default:
		return "protocol";
	}
	size_t at = l4[0] == 135 || l4[0] == 136 ? 24 : 8;
	if (len < at)
		return "icmpv6 header cut";
	if (l4[0] == 128)
		return NULL;
	if (l4[0] != 133 && l4[0] != 135 && l4[0] != 136)
		return "icmpv6 type";
	while (at < len) {
		if (at + 2 > len || l4[at + 1] == 0 || at + l4[at + 1] * 8u > len)
			return "nd option";
		at += l4[at + 1] * 8u;
	}
	return NULL;
}

static inline const char *frame_broken_v4(
	const struct net_plan *config, const uint8_t *ip, size_t len)
{
	struct in_addr src, dst;

	if (len < 20 || ip[0] != 0x45)
		return "ipv4 header";
	if (frame_get16(ip + 2) < 20 || frame_get16(ip + 2) > len)
		return "ipv4 length";
	if (ip[6] != 0 && ip[6] != 0x40)
		return "ipv4 fragment bits";
	if (ip[7] != 0)
		return "ipv4 fragment offset";
	memcpy(&src, ip + 12, 4);
	memcpy(&dst, ip + 16, 4);
	if (src.s_addr != config->guest.s_addr && src.s_addr != htonl(INADDR_LOOPBACK))
		return "ipv4 source";
	if (src.s_addr == htonl(INADDR_LOOPBACK) && ip[9] != 6)
		return "not tcp, from loopback";
	if (ip[16] == 0 || ip[16] == 127 || ip[16] >= 224)
		return "ipv4 destination";
	if ((dst.s_addr & config->netmask.s_addr) == config->network.s_addr &&
		dst.s_addr != config->host.s_addr && dst.s_addr != config->dns.s_addr)
		return "ipv4 neighbour";
	if (ip[9] == 58)
		return "icmpv6 in ipv4";
	bool is_syn = ip[9] == 6 && (ip[33] & 0x12) == 0x02;
	if (is_syn && dst.s_addr == config->host.s_addr && dst.s_addr != config->dns.s_addr &&
		!config->allows_host_loopback)
		return "connects to host";
	if (dst.s_addr == config->dns.s_addr && dst.s_addr != config->host.s_addr &&
		(!config->has_dns || ip[9] != 1))
		return "reaches dns";
	return frame_broken_l4(ip[9], ip + 20, frame_get16(ip + 2) - 20);
}

static inline const char *frame_broken_v6(
	const struct net_plan *config, const uint8_t *ip, size_t len)
{
	static const uint8_t zero[12], mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (len < 40 || ip[0] / 16 != 6)
		return "ipv6 header";
	if (frame_get16(ip + 4) != len - 40)
		return "ipv6 length";
	if (memcmp(ip + 24, zero, 12) == 0 || memcmp(ip + 24, mapped, 12) == 0)
		return "ipv6 destination";
	bool is_near = ip[24] == 0xff || (ip[24] == 0xfe && ip[25] >= 0x80);
	if (ip[6] != 58 && (memcmp(ip + 8, &config->guest6, 16) != 0 || is_near))
		return "ipv6 address";
	if (ip[6] == 1)
		return "icmp in ipv6";
	return frame_broken_l4(ip[6], ip + 40, len - 40);
}

static inline const char *frame_broken(
	const struct net_plan *config, const uint8_t *bytes, size_t len)
{
	if (len < 14 || len - 14 > config->mtu)
		return "frame length";
	switch (frame_get16(bytes + 12)) {
	case 0x0806:
		return len >= 14 + 28 ? NULL : "arp cut";
	case 0x0800:
		return frame_broken_v4(config, bytes + 14, len - 14);
	case 0x86dd:
		return config->has_ipv6 ? frame_broken_v6(config, bytes + 14, len - 14) : "ipv6";
	default:
		return "ethertype";
	}
}

#endif
