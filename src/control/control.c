/* SPDX-License-Identifier: Apache-2.0 */
/* control/control - what a running sandbox can be asked, over its socket in the runtime directory
 */
#include "control/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

#define TIMEOUT_MS_MAX 1000000000LL

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

enum member { MEMBER_SPECS = 1, MEMBER_TIMEOUT = 2 };

struct op_row {
	const char *name;
	int required, allowed; /* enum member bits */
};

static const struct op_row ops[CONTROL_OPS] = {
	[CONTROL_STATUS] = {"status", 0, 0},
	[CONTROL_PORT_ADD] = {"port-add", MEMBER_SPECS, MEMBER_SPECS},
	[CONTROL_PORT_REMOVE] = {"port-remove", MEMBER_SPECS, MEMBER_SPECS},
	[CONTROL_STOP] = {"stop", 0, MEMBER_TIMEOUT},
	[CONTROL_ENTER] = {"enter", 0, 0},
};

static int decode_specs(const json_t *value, struct control_request *out, struct err *err)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count == 0 || count > FORWARD_MAX)
		return err_set(
			err, EINVAL, "\"specs\" must be a list of 1 to %d rules", FORWARD_MAX);
	out->specs = calloc(count + 1, sizeof(*out->specs));
	if (!out->specs)
		return err_sys(err, ENOMEM, "cannot read the rules");
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(value, i));

		if (!text)
			return err_set(err, EINVAL, "\"specs\" must hold texts only");
		out->specs[i] = strdup(text);
		if (!out->specs[i])
			return err_sys(err, ENOMEM, "cannot read the rules");
	}
	return 0;
}

static int decode_timeout(const json_t *value, struct control_request *out, struct err *err)
{
	json_int_t timeout_ms = json_integer_value(value);

	if (!json_is_integer(value) || timeout_ms < 0 || timeout_ms > TIMEOUT_MS_MAX)
		return err_set(err, EINVAL, "\"timeout_ms\" must be a number of milliseconds");
	out->has_timeout = true;
	out->timeout_ms = (uint64_t)timeout_ms;
	return 0;
}

static int decode_members(json_t *root, struct control_request *out, struct err *err)
{
	const char *key;
	json_t *value;
	int seen = 0, result = 0;

	json_object_foreach(root, key, value)
	{
		if (strcmp(key, "op") == 0)
			continue;
		if (strcmp(key, "specs") == 0 && (ops[out->op].allowed & MEMBER_SPECS)) {
			seen |= MEMBER_SPECS;
			result = decode_specs(value, out, err);
		} else if (strcmp(key, "timeout_ms") == 0 &&
			   (ops[out->op].allowed & MEMBER_TIMEOUT)) {
			result = decode_timeout(value, out, err);
		} else {
			result = err_set(err, EINVAL, "\"%.40s\" is no member of %s", key,
				ops[out->op].name);
		}
		if (result < 0)
			return result;
	}
	if ((ops[out->op].required & seen) != ops[out->op].required)
		return err_set(err, EINVAL, "%s needs \"specs\"", ops[out->op].name);
	return 0;
}

static int decode_root(json_t *root, struct control_request *out, struct err *err)
{
	const char *name = json_string_value(json_object_get(root, "op"));

	if (!name)
		return err_set(err, EINVAL, "a request needs a text \"op\"");
	for (enum control_op op = 0; op < CONTROL_OPS; op++) {
		if (strcmp(name, ops[op].name) != 0)
			continue;
		out->op = op;
		return decode_members(root, out, err);
	}
	return err_set(err, EINVAL, "unknown op \"%.40s\"", name);
}

int control_request_decode(
	const char *text, size_t len, struct control_request *out, struct err *err)
{
	json_error_t reason;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &reason);

	*out = (struct control_request){0};
	if (!root)
		return err_set(err, EINVAL, "no JSON: %s", reason.text);
	int result = decode_root(root, out, err);
	json_decref(root);
	if (result < 0)
		control_request_free(out);
	return result;
}

void control_request_free(struct control_request *request)
{
	for (char **spec = request->specs; spec && *spec; spec++)
		free(*spec);
	free(request->specs);
	request->specs = NULL;
}

json_t *control_text(const char *text)
{
	json_t *value = json_string(text);
	size_t len = strlen(text), cap_bytes = len * 4 + 1;

	if (value)
		return value;
	char *escaped = malloc(cap_bytes);
	if (!escaped)
		return NULL;
	value = json_string(log_escape(text, len, escaped, cap_bytes));
	free(escaped);
	return value;
}

json_t *control_forward_json(
	const struct forward_spec *spec, enum forward_driver_choice driver, bool has_listened)
{
	char text[FORWARD_TEXT_BYTES], host[ADDR_TEXT_BYTES];
	json_t *forward = json_pack("{s:o, s:i, s:s, s:s, s:b}", "spec",
		control_text(spec_format(spec, text, sizeof(text))), "guest_port", spec->guest_port,
		"proto", addr_proto_name(spec->proto), "driver", driver_name(driver), "listening",
		has_listened);

	addr_format_ip(&spec->host, host, sizeof(host));
	if (spec->host.family == AF_UNIX) {
		json_object_set_new(forward, "path", control_text(host));
		return forward;
	}
	json_object_set_new(forward, "host", json_string(host));
	json_object_set_new(forward, "host_port", json_integer(addr_port(&spec->host)));
	return forward;
}

int control_send(int sock, json_t *message, const int *fds, size_t nfds)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	size_t len = strlen(text);
	ssize_t sent = len > CONTROL_MESSAGE_MAX ? -EMSGSIZE : fd_send(sock, text, len, fds, nfds);
	free(text);
	return sent < 0 ? (int)sent : 0;
}

/* Which network namespace @sock belongs to, an accepted one to its client's; 0 before Linux 5.14.
 */
static uint64_t netns_cookie(int sock)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

bool control_is_ours(int sock, int listen_fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0) &&
	       netns_cookie(sock) == netns_cookie(listen_fd);
}

static int read_answer(int sock, int timeout_ms, json_t **answer, int *fds, size_t max_fds,
	size_t *nfds, struct err *err)
{
	struct pollfd pollfd = {.fd = sock, .events = POLLIN};
	char *text = malloc(CONTROL_MESSAGE_MAX);

	if (!text)
		return err_sys(err, ENOMEM, "cannot read the answer");
	ssize_t got = -ETIMEDOUT;
	if (poll(&pollfd, 1, timeout_ms) == 1)
		got = fd_recv(sock, text, CONTROL_MESSAGE_MAX, fds, max_fds, nfds);
	/* the other side closed before it took our question; what it had said is still there */
	if (got == -ECONNRESET)
		got = fd_recv(sock, text, CONTROL_MESSAGE_MAX, fds, max_fds, nfds);
	*answer = got > 0 ? json_loadb(text, (size_t)got, 0, NULL) : NULL;
	free(text);
	if (got == 0 || got == -ECONNRESET)
		return err_set(err, EPIPE, "the sandbox has ended");
	if (got < 0)
		return err_sys(err, (int)-got, "the sandbox does not answer");
	if (!*answer)
		return err_set(err, EPROTO, "the sandbox answers no JSON");
	return 0;
}

int control_receive(int sock, int timeout_ms, json_t **answer, int *fds, size_t max_fds,
	size_t *nfds, struct err *err)
{
	size_t count = 0;

	*answer = NULL;
	int result = read_answer(sock, timeout_ms, answer, fds, max_fds, &count, err);

	if (nfds)
		*nfds = count;
	if (result == 0 && json_is_true(json_object_get(*answer, "ok")))
		return 0;
	if (result == 0) {
		const char *reason = json_string_value(json_object_get(*answer, "error"));

		result = err_set(err, EREMOTEIO, "%s", reason ? reason : "the sandbox refuses");
	}
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
	json_decref(*answer);
	*answer = NULL;
	return result;
}

int control_call(int sock, json_t *request, json_t **answer, int *fds, size_t max_fds, size_t *nfds,
	struct err *err)
{
	int result = control_send(sock, request, NULL, 0);

	/* EPIPE: it may have said why before it closed */
	if (result < 0 && result != -EPIPE)
		return err_sys(err, -result, "cannot ask the sandbox");
	return control_receive(sock, CONTROL_TIMEOUT_MS, answer, fds, max_fds, nfds, err);
}
