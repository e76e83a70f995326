/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/handover - a link that is to be another agent's: that of a sandbox of its own */
#include "mesh/agent/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

int handover_begin(struct handover *handover, struct mesh_config *config, struct err *err)
{
	struct err reason = {0};

	if (!handover->check)
		return err_set(err, EPERM, "sandbox: this agent runs no commands (--no-sandbox)");
	if (!config->identity || tenant_check_identity(config->identity, &reason) < 0)
		return err_set(err, EINVAL, "sandbox: it has no identity");
	if (handover->check(&config->sandbox, &reason) < 0)
		return err_set(err, reason.code, "sandbox: %s", reason.text);
	snprintf(handover->greeting.identity, sizeof(handover->greeting.identity), "%s",
		config->identity);
	handover->greeting.runs_sandbox = true;
	handover->config = *config;
	*config = (struct mesh_config){0};
	handover->is_begun = true;
	return 0;
}

static int append(struct greeting *greeting, const unsigned char *bytes, size_t len)
{
	if (greeting->len + len > GREETING_BYTES_MAX)
		return -EMSGSIZE;
	unsigned char *grown = realloc(greeting->bytes, greeting->len + len + 1);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + greeting->len, bytes, len);
	greeting->bytes = grown;
	greeting->len += len;
	return 0;
}

int handover_keep(struct handover *handover, const struct frame *frame)
{
	return append(&handover->greeting, frame->start, FRAME_HEADER_BYTES + frame->len);
}

int handover_end(struct handover *handover, const struct wire *wire)
{
	struct greeting *greeting = &handover->greeting;
	const unsigned char *rest;
	size_t len = wire_rest(wire, &rest);

	greeting->come = wire->come - greeting->len;
	greeting->sent = wire->window.sent;
	int result = append(greeting, rest, len);
	handover->in_fd = fcntl(wire->in.fd, F_DUPFD_CLOEXEC, 3);
	handover->out_fd = fcntl(wire->out.fd, F_DUPFD_CLOEXEC, 3);
	if (result == 0 && (handover->in_fd < 0 || handover->out_fd < 0))
		result = -errno;
	return result;
}

void handover_free(struct handover *handover)
{
	config_free(&handover->config);
	greeting_free(&handover->greeting);
	fd_close(&handover->in_fd);
	fd_close(&handover->out_fd);
}
