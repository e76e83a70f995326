/* SPDX-License-Identifier: Apache-2.0 */
/* conn/datagrams - a bound UDP socket, its clients joined to a target outside or inside */
#ifndef NSWRAP_CONN_DATAGRAMS_H
#define NSWRAP_CONN_DATAGRAMS_H

#include "conn/dial.h"

/*
 * A name is looked up when a client is new; what it sends meanwhile waits, for some seconds at
 * most. So does what comes while the pool of inside sockets is empty.
 */
struct datagrams;

/*
 * Relay from now on. @fd (bound, nonblocking) belongs to it, also on failure. @target must stay and
 * may change: new clients go where it leads then. Returns NULL with errno set.
 */
struct datagrams *datagrams_new(const struct conn_context *context, struct dialer *dialer, int fd,
	const struct dial_target *target);

/* Ends its flows, too. NULL is allowed. */
void datagrams_free(struct datagrams *datagrams);

#endif
