/* SPDX-License-Identifier: Apache-2.0 */
/* exit/entrance - the packets of a network device, through a link to an exit elsewhere */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exit/channel.h"
#include "net/awaited.h"
#include "util/loop.h"

/*
 * How it works
 *
 * What programs send there goes to the link as it is, from the device's own addresses only. While
 * there is no link, or it is full, the device rests: packets wait in its queue (500 of them), where
 * what does not fit is lost, so the network seems to stall. Over a bare link few connections begin
 * at once (exit/handshakes).
 *
 * Nobody believes an exit. Of what comes from the link these are let in: packets for the device's
 * own address from one that the link is the way to; of TCP what begins no connection (no kernel
 * makes one of other segments; nor does a SYN with an ACK leave), datagrams from where one was sent
 * to (net/awaited), and of ICMP answers and errors. So it reaches no server of the sandbox's, and
 * nothing but answers reach its programs.
 *
 * An exit of another link knows nothing of connections that were there before, whose programs may
 * wait for ever for what comes next. So when a link is up each connection is made to say something:
 * a SYN is put in front of it, which it answers with what it expects (RFC 5961 4.2). An exit that
 * knows it is not disturbed by that, any other one resets it.
 */
#define ENTRANCE_BATCH_BYTES (128 * 1024) /* more is not read at once; one packet may go beyond */

/* Addresses of the device: RemoteNetstack's for IPv4, and one of the same kind (RFC 4193). */
#define ENTRANCE_ADDRESS  0x647fffffU /* 100.127.255.255, in host order */
#define ENTRANCE_ADDRESS6 "fd6e:7377:7261:7001::1"

/* A network of either family; IPv4 as ::ffff:0:0/96 has it, its prefix 96 longer. */
struct entrance_net {
	struct in6_addr ip;
	int prefix_len;
};

struct entrance_net entrance_net4(struct in_addr ip, int prefix_len);
struct entrance_net entrance_net6(const struct in6_addr *ip, int prefix_len);
bool entrance_net_is_four(const struct entrance_net *net);
/* None of IPv6 has an IPv4 address in it. */
bool entrance_net_has(const struct entrance_net *net, const struct in6_addr *ip);

struct entrance_ops {
	/* The exit is there; its words are in entrance->channel.peer. */
	void (*on_up)(void *owner);
	/* The link is closed. @why: channel_ops.on_end. */
	void (*on_down)(void *owner, const char *why);
	/* Bytes in front of the first frame, such as a login banner; any bytes. */
	void (*on_noise)(void *owner, const char *bytes, size_t len);
	/* The device is gone: nothing more will come of this. */
	void (*on_gone)(void *owner);
};

struct entrance;

/*
 * @tun: a TUN device (tap_open_tun), and @diag: net/diag of its network namespace, or -1: both stay
 * the caller's. @nets: what the link is the way to
 * (count 0: everything); @own: what it never is, whatever else says so. Both stay. Returns NULL
 * with errno set.
 */
struct entrance_start {
	struct loop *loop;
	int tun, diag;
	const struct entrance_net *nets, *own;
	size_t nnets, nown;
	const struct entrance_ops *ops;
	void *owner;
};
struct entrance *entrance_new(const struct entrance_start *start);
void entrance_free(struct entrance *entrance); /* NULL is allowed */

/* Use this link, as channel_open; there is none. Returns 0 or -errno. */
int entrance_open(struct entrance *entrance, int in_fd, int out_fd);
/* Without a callback. Fine if there is none. */
void entrance_close(struct entrance *entrance);

const struct channel *entrance_channel(const struct entrance *entrance);
