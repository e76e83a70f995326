/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/outbox - the frames that wait for a wire: messages, then packets by turns */
#include "mesh/outbox.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/frame.h"
#include "net/packet.h"

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
	leave(outbox, frame);
	return 0;
}

int outbox_add_message(struct outbox *outbox, const void *frame, size_t len)
{
	struct fq_packet *copy = fq_packet_new(frame, len);

	if (!copy)
		return -ENOMEM;
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
	uint32_t flow = packet_flow(copy->start + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES);
	fq_put(&outbox->packets, copy, source, flow, now_ns);
}

void outbox_fill(struct outbox *outbox, size_t max_bytes, uint64_t now_ns)
{
	while (outbox->leaving_bytes < max_bytes) {
		struct fq_packet *frame;

		if (!list_is_empty(&outbox->messages)) {
			frame = frame_at(outbox->messages.next);
			list_del(&frame->link);
			outbox->message_bytes -= frame->len;
		} else {
			frame = fq_take(&outbox->packets, now_ns, NULL, 0);
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

size_t outbox_written(struct outbox *outbox, size_t bytes)
{
	size_t ended = 0;

	outbox->leaving_bytes -= bytes;
	while (bytes > 0) {
		struct fq_packet *frame = frame_at(outbox->leaving.next);

		if (bytes < frame->len) {
			frame->start += bytes;
			frame->len -= bytes;
			break;
		}
		bytes -= frame->len;
		list_del(&frame->link);
		free(frame);
		ended++;
	}
	return ended;
}
