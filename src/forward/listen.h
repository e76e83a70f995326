/* SPDX-License-Identifier: Apache-2.0 */
/* forward/listen - what is bound on the host for a forward, before anything starts */
#ifndef NSWRAP_FORWARD_LISTEN_H
#define NSWRAP_FORWARD_LISTEN_H

#include <stdbool.h>

#include "forward/spec.h"
#include "util/err.h"
#include "util/unixsock.h"

struct forward_listener {
	int fd;     /* -1: nothing to hold (UDP for libslirp) */
	int dir_fd; /* of the socket file, O_PATH, owned; -1 unless it is a unix socket */
	struct unixsock_id id; /* of the socket file */
};

/*
 * Bind @spec, for the splice driver: a listening TCP or unix socket or a bound UDP socket,
 * nonblocking, close-on-exec.
 *
 * @reserve_only is for libslirp, which makes the real socket itself: a TCP socket that is bound but
 * does not listen, so the port stays ours (the kernel lets a second socket with SO_REUSEADDR bind
 * and listen as long as the first does not listen). A second UDP socket would steal datagrams:
 * there the port is tried and let go, fd is -1. No use for unix sockets: -EINVAL.
 *
 * host_port 0 becomes the port that was picked; guest_port 0 the same one. Returns 0, or -errno
 * with @err naming address and port, the cause and, if it can be seen, who has the port; @spec is
 * untouched then and @out is closed.
 */
int forward_listen(struct forward_spec *spec, bool reserve_only, struct forward_listener *out,
	struct err *err);

/* Close, and remove the socket file if it still is ours. */
void forward_listener_close(struct forward_listener *listener);

#endif
