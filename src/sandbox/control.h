/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/control - what a running sandbox can be asked, over its socket in the runtime directory
 */
#ifndef NSWRAP_SANDBOX_CONTROL_H
#define NSWRAP_SANDBOX_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forward/driver.h"
#include "util/err.h"

/*
 * SOCK_SEQPACKET; one message is one JSON object. A request is {"op": NAME, ...}, the answer
 * {"ok": true, ...} or {"ok": false, "error": TEXT}. A connection may carry any number of them.
 *
 * | op            | members                 | answer                                              |
 * |---------------|-------------------------|-----------------------------------------------------|
 * | "status"      |                         | name, pid, command, started, age, forwards          |
 * | "port-add"    | specs: [TEXT, ...]      | forwards: those that were added, all or none        |
 * | "port-remove" | specs: [TEXT, ...]      |                                                     |
 * | "stop"        | timeout_ms: INT or none |                                                     |
 * | "enter"       |                         | root, pid_ns, env; descriptors of the namespaces    |
 *
 * A forward is {"spec", "host", "host_port" or "path", "guest_port", "proto", "driver",
 * "listening"}.
 */
#define CONTROL_MESSAGE_MAX 262144

enum control_op {
	CONTROL_STATUS,
	CONTROL_PORT_ADD,
	CONTROL_PORT_REMOVE,
	CONTROL_STOP,
	CONTROL_ENTER,
	CONTROL_OPS
};

struct control_request {
	enum control_op op;
	char **specs; /* port-add, port-remove: NULL-terminated, at least one */
	bool has_timeout;
	uint64_t timeout_ms;
};

/*
 * Read one request. Unknown members, members of another op and wrong types are refused. Returns 0
 * (free it with control_request_free) or -EINVAL with @err filled.
 */
int control_request_decode(
	const char *text, size_t len, struct control_request *out, struct err *err);
void control_request_free(struct control_request *request);

/* JSON of one forward as above. */
json_t *control_forward_json(
	const struct forward_spec *spec, enum forward_driver_choice driver, bool has_listened);

/* Send @message (taken over) with @nfds descriptors. Returns 0 or -errno. */
int control_send(int sock, json_t *message, const int *fds, size_t nfds);

/*
 * The client's side: send @request (taken over), wait for the answer, at most CONTROL_TIMEOUT_MS.
 * Returns 0 with the answer in *@answer (the caller's) and descriptors in @fds, or -errno with @err
 * filled, which is what the sandbox said when it refused.
 */
#define CONTROL_TIMEOUT_MS 10000
int control_call(int sock, json_t *request, json_t **answer, int *fds, size_t max_fds, size_t *nfds,
	struct err *err);

#endif
