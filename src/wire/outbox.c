/* SPDX-License-Identifier: Apache-2.0 */
/* wire/outbox - the frames that wait for a wire: messages, then packets by turns */
#include "wire/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/packet.h"
#include "wire/frame.h"

static struct fq_packet *frame_at(struct list *link)
{
	return container_of(link, struct fq_packet, link);
}

static void free_all(struct list *frames)
{
	list_each_safe (at, following, frames)
		free(frame_at(at));
	list_init(frames);
}

void outbox_init(struct outbox *outbox, size_t max_packet_bytes)
{
	*outbox = (struct outbox){.message_bytes = 0};
	list_init(&outbox->messages);
	list_init(&outbox->leaving);
	fq_init(&outbox->packets, max_packet_bytes);
}

void outbox_clear(struct outbox *outbox)
{
	free_all(&outbox->messages);
	free_all(&outbox->leaving);
	fq_clear(&outbox->packets);
	outbox->message_bytes = outbox->leaving_bytes = 0;
}

bool outbox_is_empty(const struct outbox *outbox)
{
	return list_is_empty(&outbox->leaving) && list_is_empty(&outbox->messages) &&
	       outbox->packets.packets == 0;
}

static void leave(struct outbox *outbox, struct fq_packet *frame)
{
	list_add_last(&outbox->leaving, &frame->link);
	outbox->leaving_bytes += frame->len;
}

int outbox_add_rest(struct outbox *outbox, const void *bytes, size_t len)
{
	struct fq_packet *frame = fq_packet_new(bytes, len);

	if (!frame)
		return -ENOMEM;
	frame->kind = FRAME_PACKET;
	leave(outbox, frame);
	return 0;
}

int outbox_add_message(struct outbox *outbox, const void *frame, size_t len)
{
	struct fq_packet *copy = fq_packet_new(frame, len);

	if (!copy)
		return -ENOMEM;
	copy->kind = packet_get16(copy->start + FRAME_TYPE_AT);
	list_add_last(&outbox->messages, &copy->link);
	outbox->message_bytes += len;
	return 0;
}

void outbox_add_packet(
	struct outbox *outbox, uint32_t source, const void *frame, size_t len, uint64_t now_ns)
{
	struct fq_packet *copy = fq_packet_new(frame, len);

	if (!copy) {
		outbox->packets.dropped++;
		return;
	}
	unsigned char *packet = copy->start + FRAME_HEADER_BYTES;
	uint32_t flow = packet_flow(packet, len - FRAME_HEADER_BYTES);
	copy->kind = FRAME_PACKET;
	if (outbox->max_mss > 0)
		packet_limit_mss(packet, len - FRAME_HEADER_BYTES, outbox->max_mss);
	fq_put(&outbox->packets, copy, source, flow, now_ns);
}

/* As fq_cut: the first @max_bytes of a frame, as a frame of its own. */
static struct fq_packet *cut(struct fq_packet *frame, size_t max_bytes)
{
	struct fq_packet *front = malloc(sizeof(*front) + max_bytes);
	size_t taken = 0;

	if (front)
		taken = packet_cut(frame->start + FRAME_HEADER_BYTES,
			frame->len - FRAME_HEADER_BYTES, front->bytes + FRAME_HEADER_BYTES,
			max_bytes - FRAME_HEADER_BYTES);
	if (taken == 0) {
		free(front);
		return NULL;
	}
	*front = (struct fq_packet){
		.start = front->bytes, .len = max_bytes, .kind = FRAME_PACKET, .is_begun = true};
	frame_encode_header(front->start, FRAME_PACKET, max_bytes - FRAME_HEADER_BYTES);
	frame->start += taken;
	frame->len -= taken;
	frame->is_begun = true;
	frame_encode_header(frame->start, FRAME_PACKET, frame->len - FRAME_HEADER_BYTES);
	return front;
}

void outbox_fill(struct outbox *outbox, size_t max_bytes, size_t packet_bytes, uint64_t now_ns)
{
	while (outbox->leaving_bytes < max_bytes) {
		struct fq_packet *frame = NULL;

		if (!list_is_empty(&outbox->messages)) {
			frame = frame_at(outbox->messages.next);
			list_del(&frame->link);
			outbox->message_bytes -= frame->len;
		} else if (packet_bytes > 0) {
			frame = fq_take(&outbox->packets, now_ns, cut, packet_bytes);
		}
		if (!frame)
			return;
		leave(outbox, frame);
	}
}

int outbox_parts(const struct outbox *outbox, struct iovec *parts, int cap)
{
	int count = 0;

	list_each (at, &outbox->leaving) {
		struct fq_packet *frame = frame_at(at);

		if (count == cap)
			break;
		parts[count++] = (struct iovec){frame->start, frame->len};
	}
	return count;
}

struct outbox_gone outbox_written(struct outbox *outbox, size_t bytes)
{
	struct outbox_gone gone = {0};

	outbox->leaving_bytes -= bytes;
	while (bytes > 0) {
		struct fq_packet *frame = frame_at(outbox->leaving.next);
		size_t part = bytes < frame->len ? bytes : frame->len;

		bytes -= part;
		frame->start += part;
		frame->len -= part;
		gone.bytes += frame->kind != FRAME_ACKNOWLEDGEMENT ? part : 0;
		if (frame->len > 0)
			break;
		gone.frames += frame->kind == FRAME_PACKET || frame->kind == FRAME_MESSAGE;
		list_del(&frame->link);
		free(frame);
	}
	return gone;
}
