/* SPDX-License-Identifier: Apache-2.0 */
/* net/hairpin - lead what a guest sends to one address outside back to sockets inside */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How it works
 *
 * The guest sends to `outer`, an address that is not its own, port `outer_port`; the frame comes
 * out of the device. With the two addresses swapped and the port of a socket at the guest's own
 * address in the place of outer_port it goes in again, and that socket has a client at `outer`. The
 * socket's answer comes out as well, to `outer`, and is recognized by the port that it is from. So
 * there is a server at outer:outer_port that no program inside can be in the way of, whatever it
 * binds.
 *
 * No state. The sums stay right: addresses are swapped, and of TCP and UDP nobody looks at them
 * (tap_write).
 */
struct hairpin {
	struct in_addr outer;
	uint16_t outer_port;         /* host order */
	uint16_t tcp_port, udp_port; /* of the sockets; host order; 0: none */
};

/* Turn @frame round, an Ethernet frame as read from the device, any bytes. Returns true if it is to
 * be written to the device again; it is as it was otherwise. */
bool hairpin_turn(const struct hairpin *hairpin, uint8_t *frame, size_t len);
