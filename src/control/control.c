/* SPDX-License-Identifier: Apache-2.0 */
/* control/control - requests and answers over the socket of a name */
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"
#include "util/log.h"

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

json_t *control_parse(const char *text, size_t len, struct err *err)
{
	json_error_t reason;
	json_t *message = json_loadb(text, len, JSON_REJECT_DUPLICATES, &reason);

	if (!message)
		err_set(err, EINVAL, "no JSON: %s", reason.text);
	return message;
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

int control_receive(int sock, const char *noun, int timeout_ms, json_t **answer,
	struct control_fds *fds, struct err *err)
{
	struct control_fds none = {0};
	struct pollfd pollfd = {.fd = sock, .events = POLLIN};
	char *text = malloc(CONTROL_MESSAGE_MAX);
	ssize_t got = -ETIMEDOUT;
	int result;

	if (!fds)
		fds = &none;
	fds->count = 0;
	if (text && poll(&pollfd, 1, timeout_ms) == 1)
		got = fd_recv(sock, text, CONTROL_MESSAGE_MAX, fds->items, fds->max, &fds->count);
	*answer = got > 0 ? json_loadb(text, (size_t)got, 0, NULL) : NULL;
	const char *reason = json_string_value(json_object_get(*answer, "error"));
	if (json_is_true(json_object_get(*answer, "ok")))
		result = 0;
	else if (!text)
		result = err_sys(err, ENOMEM, "cannot read the answer");
	else if (got == 0)
		result = err_set(err, EPIPE, "the %s has ended", noun);
	else if (got < 0)
		result = err_sys(err, (int)-got, "the %s does not answer", noun);
	else if (!*answer)
		result = err_set(err, EPROTO, "the %s answers no JSON", noun);
	else if (reason)
		result = err_set(err, EREMOTEIO, "%s", reason);
	else
		result = err_set(err, EREMOTEIO, "the %s refuses", noun);
	free(text);
	if (result == 0)
		return 0;
	while (fds->count > 0)
		fd_close(&fds->items[--fds->count]);
	json_decref(*answer);
	*answer = NULL;
	return result;
}

int control_call(int sock, const char *noun, json_t *request, json_t **answer,
	struct control_fds *fds, struct err *err)
{
	int result = control_send(sock, request, NULL, 0);

	/* it has closed, of a queue that was not read by a reset: it may have said why before */
	if (result < 0 && result != -EPIPE && result != -ECONNRESET)
		return err_sys(err, -result, "cannot ask the %s", noun);
	return control_receive(sock, noun, CONTROL_TIMEOUT_MS, answer, fds, err);
}
