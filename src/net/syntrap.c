/* SPDX-License-Identifier: Apache-2.0 */
/* net/syntrap - a listener on loopback whose clients wait for a word of ours in the SYN */
#include "net/syntrap.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <string.h>
#include <sys/socket.h>

#include "net/netdev.h"
#include "net/packet.h"
#include "util/fd.h"

#define LO           1 /* the first device of every namespace */
#define BACKLOG      4096
#define CODE_MAX     40
#define ALL          0x40000
#define SYN_OF_BOTH  (PACKET_SYN | PACKET_ACK)
#define PSEUDO_BYTES 40 /* of IPv6, the larger one */
#define TCP_MAX      60

/* A program of classic BPF that keeps what passes all its questions. */
struct code {
	struct sock_filter lines[CODE_MAX];
	unsigned short len;
};

static void add(struct code *code, struct sock_filter line)
{
	code->lines[code->len++] = line;
}

static void load(struct code *code, uint16_t how, uint32_t at)
{
	add(code, (struct sock_filter)BPF_STMT(BPF_LD | how, at));
}

/* Unless what was loaded is @value, or if it @is_not: @verdict. */
static void ask(struct code *code, uint32_t value, bool is_not, uint32_t verdict)
{
	add(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, !is_not, is_not));
	add(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

static int attach(int fd, struct code *code, uint32_t verdict)
{
	add(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
	const struct sock_fprog program = {code->len, code->lines};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
											   : 0;
}

/* All but SYNs of lo that are not ours. The packet begins with the TCP header here. */
static int filter_listener(int fd)
{
	struct code code = {.len = 0};

	load(&code, BPF_B | BPF_ABS, 13);
	add(&code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_OF_BOTH));
	ask(&code, PACKET_SYN, false, ALL);
	load(&code, BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_MARK));
	ask(&code, SYNTRAP_MARK, true, ALL);
	load(&code, BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX));
	ask(&code, LO, false, ALL);
	return attach(fd, &code, 0);
}

static void ask_address(struct code *code, const struct addr *at)
{
	uint32_t words[4];
	const bool is_four = at->family == AF_INET;
	const uint32_t from = ETH_HLEN + (is_four ? 16 : 24);

	if (addr_is_wildcard(at))
		return;
	memcpy(words, is_four ? (const void *)&at->v4.sin_addr : &at->v6.sin6_addr,
		is_four ? 4 : sizeof(words));
	for (uint32_t i = 0; i < (is_four ? 1 : 4); i++) {
		load(code, BPF_W | BPF_ABS, from + i * 4);
		ask(code, ntohl(words[i]), false, 0);
	}
}

/* SYNs to @at that are not ours. The packet begins with its Ethernet header. */
static int filter_trap(int fd, const struct addr *at)
{
	const bool is_four = at->family == AF_INET;
	const uint16_t how = is_four ? BPF_IND : BPF_ABS;
	const uint32_t tcp = is_four ? ETH_HLEN : ETH_HLEN + PACKET_IPV6_BYTES;
	struct code code = {.len = 0};

	load(&code, BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_MARK));
	ask(&code, SYNTRAP_MARK, true, 0);
	load(&code, BPF_B | BPF_ABS, ETH_HLEN + (is_four ? 9 : 6));
	ask(&code, IPPROTO_TCP, false, 0);
	ask_address(&code, at);
	if (is_four)
		add(&code, (struct sock_filter)BPF_STMT(
				   BPF_LDX | BPF_B | BPF_MSH, ETH_HLEN)); /* its header's size */
	load(&code, BPF_H | how, tcp + 2);
	ask(&code, addr_port(at), false, 0);
	load(&code, BPF_B | how, tcp + 13);
	add(&code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_OF_BOTH));
	ask(&code, PACKET_SYN, false, 0);
	return attach(fd, &code, ALL);
}

static int open_trap(const struct addr *at)
{
	const uint32_t mark = SYNTRAP_MARK;
	const struct sockaddr_ll where = {.sll_family = AF_PACKET,
		.sll_ifindex = LO,
		.sll_protocol = htons(at->family == AF_INET ? ETHERTYPE_IP : ETHERTYPE_IPV6)};
	/* of no protocol, so that nothing comes before the filter is there */
	_cleanup_fd_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	int result = filter_trap(fd, at);
	if (result == 0 && bind(fd, (const struct sockaddr *)&where, sizeof(where)) < 0)
		result = -errno;
	return result < 0 ? result : fd_take(&fd);
}

/* lo takes what comes from itself without a route. */
static int open_lo(void)
{
	_cleanup_fd_ int nl = netdev_open();
	int result = nl < 0 ? nl : netdev_set_accept_local(nl, LO);

	if (result == 0)
		result = netdev_set_route_localnet(nl, LO);
	if (result == 0)
		netdev_write_conf(AF_INET, "lo", "rp_filter", 0);
	return result;
}

static int listen_at(const struct addr *at, bool is_trapped)
{
	int on = 1;
	_cleanup_fd_ int fd = socket(at->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		(at->family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
		bind(fd, &at->any, addr_len(at)) < 0)
		return -errno;
	int result = is_trapped ? filter_listener(fd) : 0;
	if (result == 0 && listen(fd, BACKLOG) < 0)
		result = -errno;
	return result < 0 ? result : fd_take(&fd);
}

int syntrap_open(const struct addr *at, struct syntrap *out)
{
	*out = (struct syntrap){-1, -1};
	if (at->family == AF_INET6 || open_lo() == 0)
		out->trap = open_trap(at);
	if (out->trap < 0)
		out->trap = -1;
	out->listener = listen_at(at, out->trap >= 0);
	if (out->listener >= 0)
		return 0;
	int result = out->listener;
	out->listener = -1;
	fd_close(&out->trap);
	return result;
}

ssize_t syntrap_read(int trap, uint8_t *frame, size_t cap_bytes)
{
	ssize_t len = recv(trap, frame, cap_bytes, MSG_DONTWAIT);

	return len < 0 ? -errno : len;
}

/* The kernel leaves that to devices, and lo does not need it. */
static void complete_checksum(uint8_t *frame, size_t len, size_t tcp_at)
{
	const bool is_four = frame[ETH_HLEN] >> 4 == 4;
	const size_t tcp_len = len - tcp_at;
	uint8_t sum[PSEUDO_BYTES + TCP_MAX] = {0};

	/* RFC 9293 3.1 and RFC 8200 8.1; in the order that makes one of both: sums have none */
	memcpy(sum, frame + ETH_HLEN + (is_four ? 12 : 8), is_four ? 8 : 32);
	packet_put16(sum + 34, (uint16_t)tcp_len);
	sum[39] = IPPROTO_TCP;
	packet_put16(frame + tcp_at + 16, 0);
	memcpy(sum + PSEUDO_BYTES, frame + tcp_at, tcp_len);
	packet_put16(frame + tcp_at + 16, packet_checksum(sum, PSEUDO_BYTES + tcp_len));
}

int syntrap_let_in(int trap, uint8_t *frame, size_t len, size_t tcp_at)
{
	if (tcp_at + PACKET_TCP_BYTES > len || len - tcp_at > TCP_MAX)
		return -EINVAL;
	complete_checksum(frame, len, tcp_at);
	return syntrap_send(trap, frame, len);
}

int syntrap_send(int trap, const uint8_t *frame, size_t len)
{
	return send(trap, frame, len, MSG_DONTWAIT) < 0 ? -errno : 0;
}
