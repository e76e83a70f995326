/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/request - what a running sandbox can be asked */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "forward/spec.h"
#include "util/err.h"

/*
 * Over the sandbox's socket (control/server), as control/control has it:
 *
 * | op            | members                 | answer                                              |
 * |---------------|-------------------------|-----------------------------------------------------|
 * | "status"      |                         | name, pid, command, started, age, forwards, reverses
 * | | "port-add"    | specs: [TEXT, ...]      | forwards: those that were added, all or none | |
 * "port-remove" | specs: [TEXT, ...]      |                                                     |
 * | "reverse-add" | specs: [TEXT, ...]      | reverses: those that were added, all or none        |
 * | "reverse-remove" | specs: [TEXT, ...]   |                                                     |
 * | "stop"        | timeout_ms: INT or none |                                                     |
 * | "enter"       | names: BOOL or none     | root, pid_ns, env; descriptors of the namespaces    |
 *
 * "port-add" answers with "warnings", too: what the log says of those forwards, a list of texts.
 * "pid" of "status" is null until COMMAND runs. "status" cuts a command of more than
 * REQUEST_COMMAND_MAX bytes. Where texts are not UTF-8 they come escaped (control_text). The specs
 * of "port-remove" may be just what stands in front of the guest port, if that names one forward.
 * The descriptors of "enter" are the user, network, mount and PID namespace, in that order, and
 * with "names" the end of a teller (sandbox/tellers); the connection stays open as long as the
 * client is inside, and its end is the end of the sandbox.
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
	REQUEST_REVERSE_ADD,
	REQUEST_REVERSE_REMOVE,
	REQUEST_STOP,
	REQUEST_ENTER,
	REQUEST_OPS
};

struct request {
	enum request_op op;
	const char
		*specs[FORWARD_MAX + 1]; /* port-..., reverse-...: at least one, NULL at the end */
	bool has_timeout;
	uint64_t timeout_ms;
	bool tells_names;
};

/*
 * Read one request; the texts of @out are those of @root. Unknown members, members of another op
 * and wrong types are refused. Returns 0, or -EINVAL with @err filled.
 */
int request_decode(json_t *root, struct request *out, struct err *err);
