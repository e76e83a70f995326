/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/request - what a running sandbox can be asked */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "forward/outward.h"
#include "forward/spec.h"
#include "util/err.h"

/*
 * Over the sandbox's socket (control/server), as control/control has it:
 *
 * - "status" is answered with name, pid (null until COMMAND runs), command, started, age, forwards,
 *   reverses, network, network6, defaults and log; a command of more than REQUEST_COMMAND_MAX bytes
 *   is cut.
 * - "port-add" with specs, or reverses, or both, lists of texts: all of them or none. The answer
 * has those that were added as forwards and reverses, and warnings: what the log says of those
 *   forwards, a list of texts.
 * - "port-remove" with the same; each may be just what stands in front of the guest port, or of the
 *   target, if that names one. The answer has as removed the "host", "host_port" and "proto" of
 *   ports that are anybody's as soon as the net process has closed them.
 * - "stop" with timeout_ms or as the sandbox was told.
 * - "enter" with names (true or false) or without is answered with root, pid_ns, no_network, env,
 *   and descriptors: those of enum enter_ns (sandbox/enter.h), in that order, and with names the
 * end of a teller (sandbox/tellers). The connection stays open as long as the client is inside, and
 *   its end is the end of the sandbox.
 *
 * Where texts are not UTF-8 they come escaped (control_text).
 *
 * A forward is {"spec", "host", "host_port" or "path", "guest_port", "proto", "driver",
 * "listening"}, "elsewhere" while somebody listens on that port only where it does not lead
 * (sandbox/elsewhere), and "error" while it is not served. A reverse (forward/outward), a port
 * inside that leads outwards, is {"spec", "guest", "guest_port" or "path", "proto", "target"}.
 */
#define REQUEST_COMMAND_MAX 16384

enum request_op {
	REQUEST_STATUS,
	REQUEST_PORT_ADD,
	REQUEST_PORT_REMOVE,
	REQUEST_STOP,
	REQUEST_ENTER,
	REQUEST_OPS
};

struct request {
	enum request_op op;
	/* port-...: at least one of both; NULL is the end */
	const char *specs[FORWARD_MAX + 1], *reverses[OUTWARD_MAX + 1];
	bool has_timeout;
	uint64_t timeout_ms;
	bool tells_names;
};

/*
 * Read one request; the texts of @out are those of @root. Unknown members, members of another op
 * and wrong types are refused. Returns 0, or -EINVAL with @err filled.
 */
int request_decode(json_t *root, struct request *out, struct err *err);
