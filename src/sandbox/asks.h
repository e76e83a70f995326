/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/asks - a frame with a SYN that asks whether its connection may be */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn/syns.h"

/*
 * Look into @frame, Ethernet with IPv4 or IPv6: if it is a TCP packet with SYN and no ACK, of
 * headers without options of IP, fill @out, whose bytes are @frame, and cut off what follows its
 * headers (TCP fast open): its sender repeats it, as nobody has acknowledged it. TCP's checksum is
 * that of before. Returns where the TCP header is, or 0: it is none.
 */
size_t asks_read(uint8_t *frame, size_t len, struct syns_packet *out);
