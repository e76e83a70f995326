/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/exit - any bytes as what comes over a link to an exit: its messages, and IPv6 packets */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exit/hello.h"
#include "exit/sixfour.h"
#include "net/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood is understood again in our words. */
static void hear(const uint8_t *data, size_t size)
{
	char text[HELLO_TEXT_BYTES];
	struct hello first, second;
	struct err err;

	if (hello_decode(data, size, &first, &err) < 0) {
		if (err.text[0] == '\0')
			abort();
		return;
	}
	if (first.kind == HELLO_OTHER || strpbrk(first.version, "\\\""))
		return;
	size_t len = hello_encode(&first, text);
	if (len >= sizeof(text) || hello_decode(text, len, &second, &err) < 0 ||
		first.kind != second.kind || first.features != second.features ||
		first.number != second.number || strcmp(first.version, second.version) != 0)
		abort();
}

/* What has a counterpart is a whole IPv4 packet, and its answer goes back. */
static void carry(const uint8_t *data, size_t size)
{
	struct sixfour *sixfour = sixfour_new();
	unsigned char *bytes = malloc(size + 2 * SIXFOUR_GROWTH + 1);
	struct packet_view view;

	memcpy(bytes, data, size);
	size_t len = sixfour_in(sixfour, bytes, size);
	unsigned char *packet = bytes + SIXFOUR_GROWTH;
	if (len > 0) {
		struct in_addr src, dst;

		if (len + SIXFOUR_GROWTH != size || !packet_addresses(packet, len, &src, &dst) ||
			!sixfour_is_alias(src) || !sixfour_is_alias(dst))
			abort();
		packet_parse(packet, len, &view);
		size_t out = sixfour_out(sixfour, packet, len, len);
		if (out > size)
			abort();
	}
	/* and what a stack says, whatever that is */
	memcpy(packet, data, size);
	sixfour_out(sixfour, packet, size, size + SIXFOUR_GROWTH);
	/* an error about what was sent: its outer ends are known */
	if (len > 0 && size > 2 * PACKET_IPV4_BYTES + PACKET_ICMP_BYTES) {
		memcpy(packet + 12, (unsigned char[]){0xf0, 0, 1, 1, 0xf0, 0, 1, 2}, 8);
		packet[0] = 0x45;
		packet[9] = 1;
		packet_put16(packet + 2, (uint16_t)size);
		sixfour_out(sixfour, packet, size, size + SIXFOUR_GROWTH);
	}
	free(bytes);
	sixfour_free(sixfour);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] == '{')
		hear(data, size);
	else
		carry(data, size);
	return 0;
}
