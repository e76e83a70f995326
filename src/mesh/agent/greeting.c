/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/greeting - who is this to be? Asked of the manager before anything is there */
#include "mesh/agent/greeting.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/configure.h"
#include "mesh/message.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/log.h"
#include "wire/frame.h"

#define ANSWER_MS 10000 /* for room for an answer */

struct hearing {
	int in_fd, out_fd;
	const struct mesh_agent_info *info;
	const struct greeting_patience *patience;
	struct greeting *out;
	size_t whole; /* bytes of whole frames */
	uint64_t deadline_ns;
	struct err *err;
};

/* --- frames ------------------------------------------------------------------------------- */

static int broke(struct err *err, int code, size_t at, const char *why)
{
	return err_set(err, code, "the link to the manager broke: at byte %zu: %s", at, why);
}

/* Returns how many bytes have come, 0 at the end, or -errno; -ETIMEDOUT after @ms. */
static ssize_t read_some(int fd, void *data, size_t len, uint64_t ms)
{
	struct pollfd in = {.fd = fd, .events = POLLIN};
	int ready = poll(&in, 1, (int)ms);

	if (ready == 0)
		return -ETIMEDOUT;
	ssize_t got = ready < 0 ? -1 : read(fd, data, len);
	return got < 0 ? -errno : got;
}

/* Wait for more, of a frame of which @have bytes are there. As read_some. */
static ssize_t read_more(struct hearing *hearing, unsigned char *at, size_t have)
{
	size_t whole = frame_size(at, have);
	size_t wanted = (whole > 0 ? whole : FRAME_HEADER_BYTES) - have;
	ssize_t got;

	do {
		uint64_t ms = have > 0 ? hearing->patience->rest_ms
				       : clock_ms_until(hearing->deadline_ns, clock_now_ns());

		got = read_some(hearing->in_fd, at + have, wanted, ms);
	} while (got == -EINTR || got == -EAGAIN);
	return got;
}

/* Room for a frame as long as its header says. */
static int make_room(struct greeting *out, size_t whole, size_t have)
{
	size_t need = frame_size(out->bytes + whole, have);

	if (need < FRAME_HEADER_BYTES)
		need = FRAME_HEADER_BYTES;
	if (have >= FRAME_HEADER_BYTES && out->len >= whole + need)
		return 0;
	unsigned char *grown = realloc(out->bytes, whole + need);
	if (!grown)
		return -ENOMEM;
	out->bytes = grown;
	out->len = whole + need;
	return 0;
}

/* The next frame. Returns 1, 0 at the end, -ETIMEDOUT if none has begun, or -errno with @err. */
static int next_frame(struct hearing *hearing, struct frame *frame)
{
	struct greeting *out = hearing->out;
	struct err reason;
	size_t have = 0;

	for (;;) {
		ssize_t size =
			have == 0 ? 0
				  : frame_decode(out->bytes + hearing->whole, have, frame, &reason);
		if (size < 0)
			return broke(hearing->err, reason.code, hearing->whole, reason.text);
		if (size > 0) {
			hearing->whole += (size_t)size;
			return 1;
		}
		if (make_room(out, hearing->whole, have) < 0)
			return err_sys(hearing->err, ENOMEM, "cannot read the link");
		ssize_t got = read_more(hearing, out->bytes + hearing->whole, have);
		if (got == -ETIMEDOUT && have == 0)
			return -ETIMEDOUT;
		if (got == -ETIMEDOUT)
			return broke(hearing->err, EPROTO, hearing->whole,
				"the rest of a frame does not come");
		if (got < 0)
			return err_sys(hearing->err, (int)-got, "cannot read the link");
		if (got == 0 && have > 0)
			return broke(hearing->err, EPROTO, hearing->whole + have,
				"it ended within a frame");
		if (got == 0)
			return 0;
		have += (size_t)got;
	}
}

/* --- messages ----------------------------------------------------------------------------- */

/* Returns the bytes of the answer, or -errno. */
static int answer(struct hearing *hearing, int64_t id)
{
	struct message result = {.type = MESSAGE_RESULT, .id = id, .op = "configure"};

	result.data = info_encode(hearing->info);
	return result.data ? message_tell(hearing->out_fd, &result, ANSWER_MS) : -ENOMEM;
}

/* Is all known that will be? 1, or 0: there will be another one; or -errno. */
static int on_configure(struct hearing *hearing, const struct message *request)
{
	struct greeting *out = hearing->out;
	struct mesh_config config;
	struct err err;

	/* what is wrong with it the agent says */
	if (configure_decode(request->data, &config, &err) < 0)
		return 1;
	bool is_last = config.identity || out->answered_id != 0 || !request->says_more;
	if (config.identity && tenant_check_identity(config.identity, &err) == 0)
		snprintf(out->identity, sizeof(out->identity), "%s", config.identity);
	config_free(&config);
	if (is_last)
		return 1;
	int result = answer(hearing, request->id);
	if (result < 0)
		return result;
	out->answered_id = request->id;
	out->answered_len = (size_t)result;
	hearing->deadline_ns = clock_now_ns() + hearing->patience->second_ms * NS_PER_MS;
	return 0;
}

static int on_frame(struct hearing *hearing, const struct frame *frame)
{
	struct message message;
	struct err err;
	int result = 0;

	if (frame->type != FRAME_MESSAGE ||
		message_decode(frame->payload, frame->len, &message, &err) < 0)
		return 0;
	if (message.type == MESSAGE_REQUEST && strcmp(message.op, "configure") == 0)
		result = on_configure(hearing, &message);
	message_fini(&message);
	return result;
}

int greeting_hear(int in_fd, int out_fd, const struct mesh_agent_info *info,
	const struct greeting_patience *patience, struct greeting *out, struct err *err)
{
	struct hearing hearing = {in_fd, out_fd, info, patience, out, .err = err};
	struct frame frame;
	int result = 0;

	hearing.deadline_ns = clock_now_ns() + patience->first_ms * NS_PER_MS;
	while (result == 0 && hearing.whole < GREETING_BYTES_MAX) {
		result = next_frame(&hearing, &frame);
		if (result == 0)
			return 0;
		if (result == 1)
			result = on_frame(&hearing, &frame);
		if (result == -EPIPE)
			return 0; /* it has gone meanwhile */
	}
	out->len = hearing.whole;
	if (result >= 0 || result == -ETIMEDOUT)
		return 1;
	return err->code != 0 ? result : err_sys(err, -result, "cannot answer the manager");
}

void greeting_free(struct greeting *greeting)
{
	free(greeting->bytes);
	greeting->bytes = NULL;
	greeting->len = 0;
}

/* --- to another process ------------------------------------------------------------------- */

struct head {
	int result;
	struct err err;
	int64_t answered_id;
	size_t answered_len;
	char identity[TENANT_IDENTITY_MAX + 1];
	size_t len;
};

int greeting_send(int fd, const struct greeting *greeting, int result, const struct err *err)
{
	struct head head = {
		result, *err, greeting->answered_id, greeting->answered_len, "", greeting->len};

	memcpy(head.identity, greeting->identity, sizeof(head.identity));
	int sent = fd_write_all(fd, &head, sizeof(head));
	return sent < 0 || result <= 0 ? sent : fd_write_all(fd, greeting->bytes, greeting->len);
}

int greeting_receive(int fd, struct greeting *out, struct err *err)
{
	struct head head;

	if (fd_read_all(fd, &head, sizeof(head)) != sizeof(head))
		return err_set(err, EPROTO, "who reads the link has ended");
	head.identity[TENANT_IDENTITY_MAX] = head.err.text[sizeof(head.err.text) - 1] = '\0';
	if (head.result < 0) {
		char shown[sizeof(err->text)];

		log_escape(head.err.text, strlen(head.err.text), shown, sizeof(shown));
		return err_set(err, EPROTO, "%s", shown);
	}
	if (head.result == 0)
		return 0;
	if (head.answered_len > FRAME_HEADER_BYTES + FRAME_MESSAGE_MAX ||
		head.len > GREETING_BYTES_MAX + FRAME_HEADER_BYTES + FRAME_MESSAGE_MAX ||
		!(out->bytes = malloc(head.len + 1)) ||
		fd_read_all(fd, out->bytes, head.len) != (ssize_t)head.len)
		return err_set(err, EPROTO, "what was read of the link is lost");
	out->len = head.len;
	out->answered_id = head.answered_id;
	out->answered_len = head.answered_len;
	if (head.identity[0] != '\0' && tenant_check_identity(head.identity, err) < 0)
		return -EPROTO;
	memcpy(out->identity, head.identity, sizeof(out->identity));
	return 1;
}
