/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_transfer - one request and its answer, between two sockets */
#include "proxy/http_transfer.h"

#include <errno.h>
#include <stdlib.h>

#define TURNS_MAX 16 /* of a way, before others have their turn */

void http_transfer_reset(struct http_transfer *transfer)
{
	http_way_drop(&transfer->up);
	http_way_drop(&transfer->down);
	*transfer = (struct http_transfer){
		.client = transfer->client,
		.server = transfer->server,
		.up = transfer->up,
		.down = transfer->down,
		.moved = transfer->moved,
	};
}

int http_transfer_reply(struct http_transfer *transfer, char *text, size_t len, bool keeps_client)
{
	transfer->is_answered = true;
	transfer->answer = (struct http_answer){.keeps_client = keeps_client};
	/* what is left of the request is for nobody */
	transfer->up_is_broken = !http_body_is_done(&transfer->request);
	http_way_drop(&transfer->up);
	http_way_drop(&transfer->down);
	return http_way_set_text(&transfer->down, text, len);
}

/* HTTP_KEPT stands for "go on with this way" within a way. */
#define GOES_ON HTTP_KEPT

static bool is_up_done(const struct http_transfer *transfer)
{
	return http_body_is_done(&transfer->request) && !http_way_has_ready(&transfer->up);
}

/* --- to the server -----------------------------------------------------------------------------
 */

/* What came along with a head goes along with it. Returns -1 if it cannot be understood. */
static int fill(struct http_way *way, struct http_body *body, struct http_fault *fault)
{
	if (way->ready_len > 0 || way->text_sent > 0 || http_body_is_done(body))
		return 0;
	return http_way_feed(way, body, fault) < 0 ? -1 : 0;
}

static enum http_outcome send_up(struct http_transfer *transfer)
{
	if (!transfer->server.is_writable)
		return HTTP_WAITS;
	if (fill(&transfer->up, &transfer->request, &transfer->fault) < 0)
		return transfer->is_answered ? HTTP_BROKEN : HTTP_BAD_REQUEST;
	int rc = http_way_send(&transfer->up, &transfer->server);

	if (rc == -EAGAIN)
		return HTTP_WAITS;
	if (rc < 0) { /* it may have answered all the same */
		transfer->up_is_broken = true;
		transfer->server.is_readable = true;
		return HTTP_WAITS;
	}
	transfer->moved++;
	return GOES_ON;
}

static enum http_outcome step_up(struct http_transfer *transfer)
{
	if (transfer->up_is_broken)
		return HTTP_WAITS;
	if (http_way_has_ready(&transfer->up))
		return send_up(transfer);
	if (http_body_is_done(&transfer->request))
		return HTTP_WAITS;
	ssize_t len = http_way_feed(&transfer->up, &transfer->request, &transfer->fault);
	if (len < 0)
		return transfer->is_answered ? HTTP_BROKEN : HTTP_BAD_REQUEST;
	if (len > 0)
		return GOES_ON;
	if (!transfer->client.is_readable)
		return HTTP_WAITS;
	len = http_way_receive(&transfer->up, &transfer->client);
	if (len == -EAGAIN)
		return HTTP_WAITS;
	if (len <= 0) /* half a request is none */
		return HTTP_BROKEN;
	transfer->moved++;
	return GOES_ON;
}

/* --- to the client -----------------------------------------------------------------------------
 */

static enum http_outcome bad_answer(struct http_transfer *transfer, const char *why)
{
	http_fault_set(&transfer->fault, 502, why);
	return HTTP_BAD_ANSWER;
}

/* The head @head, of @len raw bytes, becomes the text that goes on. */
static enum http_outcome pass_on(
	struct http_transfer *transfer, const struct http_head *head, size_t len)
{
	struct http_answer *answer = &transfer->answer;
	size_t text_len = 0;

	if (answer->kind == HTTP_ANSWER_FINAL) {
		transfer->is_answered = true;
		if (!is_up_done(transfer))
			answer->keeps_client = answer->keeps_server = false;
	} else {
		if (++transfer->interim_count > HTTP_INTERIMS_MAX)
			return bad_answer(transfer, "it has too many answers before the answer");
		if (answer->kind == HTTP_ANSWER_UPGRADE && !is_up_done(transfer))
			return bad_answer(
				transfer, "it changes the protocol before the request is over");
		transfer->expects &= head->status != 100;
	}
	if (answer->kind != HTTP_ANSWER_HIDDEN) {
		char *text = http_forward_answer_head(head, answer, time(NULL), &text_len);

		if (http_way_set_text(&transfer->down, text, text_len) < 0)
			return HTTP_BROKEN;
	}
	http_way_skip(&transfer->down, len);
	transfer->moved++;
	return answer->kind == HTTP_ANSWER_UPGRADE ? HTTP_UPGRADED : GOES_ON;
}

/* HTTP_WAITS: it is not whole yet. */
static enum http_outcome read_head(struct http_transfer *transfer)
{
	struct http_way *down = &transfer->down;
	struct http_head head;

	if (down->raw_len == 0)
		return HTTP_WAITS;
	ssize_t len =
		http_head_find(http_way_raw(down), down->raw_len, &down->seen, &transfer->fault);
	if (len == 0)
		return HTTP_WAITS;
	if (len < 0 ||
		http_head_read_answer(http_way_raw(down), (size_t)len, &head, &transfer->fault) <
			0 ||
		http_forward_answer(
			&head, &transfer->exchange, &transfer->answer, &transfer->fault) < 0)
		return bad_answer(transfer, transfer->fault.why);
	return pass_on(transfer, &head, (size_t)len);
}

static enum http_outcome server_ended(struct http_transfer *transfer, bool is_clean)
{
	transfer->server_is_gone = true;
	if (!transfer->is_answered) {
		if (transfer->down.raw_len == 0 && transfer->interim_count == 0)
			return HTTP_UNANSWERED;
		return bad_answer(transfer, "it ends within its head");
	}
	if (!is_clean || !http_body_may_end(&transfer->answer.body))
		return HTTP_BROKEN;
	transfer->answer.keeps_server = false;
	http_body_init_length(&transfer->answer.body, 0);
	return GOES_ON;
}

static enum http_outcome receive_down(struct http_transfer *transfer)
{
	if (!transfer->server.is_readable || transfer->server_is_gone)
		return HTTP_WAITS;
	ssize_t len = http_way_receive(&transfer->down, &transfer->server);

	if (len == -EAGAIN)
		return HTTP_WAITS;
	if (len == -ENOBUFS || len == -ENOMEM)
		return HTTP_BROKEN;
	if (len <= 0)
		return server_ended(transfer, len == 0);
	transfer->moved++;
	return GOES_ON;
}

/* The answer has gone; is the request over as well? */
static enum http_outcome finish(struct http_transfer *transfer)
{
	transfer->keeps_server = transfer->answer.keeps_server && !transfer->server_is_gone &&
				 transfer->down.raw_len == 0;
	if (is_up_done(transfer))
		return transfer->answer.keeps_client ? HTTP_KEPT : HTTP_CLOSED;
	/* a server that has answered may still want the rest of the request */
	if (transfer->up_is_broken || transfer->server_is_gone || transfer->expects ||
		transfer->down.raw_len > 0)
		return HTTP_CLOSED;
	return receive_down(transfer) == HTTP_WAITS ? HTTP_WAITS : HTTP_CLOSED;
}

static enum http_outcome send_down(struct http_transfer *transfer)
{
	if (!transfer->client.is_writable)
		return HTTP_WAITS;
	if (transfer->is_answered &&
		fill(&transfer->down, &transfer->answer.body, &transfer->fault) < 0)
		return HTTP_BROKEN;
	int rc = http_way_send(&transfer->down, &transfer->client);

	if (rc == -EAGAIN)
		return HTTP_WAITS;
	transfer->moved++;
	return rc < 0 ? HTTP_BROKEN : GOES_ON;
}

static enum http_outcome step_down(struct http_transfer *transfer, bool *is_over)
{
	if (http_way_has_ready(&transfer->down))
		return send_down(transfer);
	if (!transfer->is_answered) {
		enum http_outcome outcome = read_head(transfer);
		return outcome == HTTP_WAITS ? receive_down(transfer) : outcome;
	}
	if (http_body_is_done(&transfer->answer.body)) {
		*is_over = true;
		return finish(transfer);
	}
	ssize_t len = http_way_feed(&transfer->down, &transfer->answer.body, &transfer->fault);
	if (len < 0)
		return HTTP_BROKEN;
	return len > 0 ? GOES_ON : receive_down(transfer);
}

enum http_outcome http_transfer_pump(struct http_transfer *transfer)
{
	enum http_outcome outcome = GOES_ON;
	bool is_over = false;
	int turns;

	for (turns = 0; turns < TURNS_MAX && outcome == GOES_ON; turns++)
		outcome = step_up(transfer);
	if (outcome != GOES_ON && outcome != HTTP_WAITS)
		return outcome;
	bool has_more = outcome == GOES_ON;
	outcome = GOES_ON;
	for (turns = 0; turns < TURNS_MAX && outcome == GOES_ON && !is_over; turns++)
		outcome = step_down(transfer, &is_over);
	if (is_over && outcome != HTTP_WAITS)
		return outcome;
	if (outcome == GOES_ON)
		return HTTP_HAS_MORE;
	return outcome == HTTP_WAITS && has_more ? HTTP_HAS_MORE : outcome;
}
