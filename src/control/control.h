/* SPDX-License-Identifier: Apache-2.0 */
/* control/control - what a running sandbox can be asked, over its socket in the runtime directory
 */
#ifndef NSWRAP_CONTROL_CONTROL_H
#define NSWRAP_CONTROL_CONTROL_H

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
 * "status" cuts a command of more than CONTROL_COMMAND_MAX bytes. Where texts are not UTF-8 they
 * come escaped (control_text). The specs of "port-remove" may be just what stands in front of the
 * guest port, if that names one forward. The descriptors of "enter" are the user, network, mount
 * and PID namespace, in that order; the connection stays open as long as the client is inside, and
 * its end is the end of the sandbox.
 *
 * A forward is {"spec", "host", "host_port" or "path", "guest_port", "proto", "driver",
 * "listening"}.
 */
#define CONTROL_MESSAGE_MAX 262144
#define CONTROL_COMMAND_MAX 16384

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

/* @text, or if it is not UTF-8, which JSON must be, @text with such bytes written as \xNN. */
json_t *control_text(const char *text);

/*
 * Send @message (taken over; NULL is -ENOMEM) with @nfds descriptors. Returns 0 or -errno:
 * -EMSGSIZE when it is longer than CONTROL_MESSAGE_MAX.
 */
int control_send(int sock, json_t *message, const int *fds, size_t nfds);

/*
 * May the client on @sock, accepted from @listen_fd, ask? The directory keeps strangers out; the
 * uid is for root's mistakes with its mode. The namespace keeps out who is in a sandbox and got
 * around what hides the directory: by umount(2) with --root, or from one that hides another
 * directory.
 */
bool control_is_ours(int sock, int listen_fd);

/*
 * The client's side: wait for the answer to what was sent, at most @timeout_ms. Returns 0 with the
 * answer in *@answer (the caller's) and descriptors in @fds, or -errno with @err filled: -EREMOTEIO
 * with what the sandbox said when it refused, -ETIMEDOUT, -EPIPE when it has ended.
 */
int control_receive(int sock, int timeout_ms, json_t **answer, int *fds, size_t max_fds,
	size_t *nfds, struct err *err);

/* Send @request (taken over) and receive its answer, waiting at most CONTROL_TIMEOUT_MS. */
#define CONTROL_TIMEOUT_MS 10000
int control_call(int sock, json_t *request, json_t **answer, int *fds, size_t max_fds, size_t *nfds,
	struct err *err);

#endif
