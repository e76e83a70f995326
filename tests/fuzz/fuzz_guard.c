/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/guard - any bytes as a frame: whatever passes must be whole, and pass again */
#include "../unit/frames.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the configuration: one bit for each switch, the rest for the MTU. */
static struct net_plan choose_config(uint8_t bits)
{
	static const unsigned mtus[] = {1500, 65520, 576, 65535};
	struct net_plan config = frame_config();

	config.has_ipv6 = !(bits & 1);
	config.allows_host_loopback = bits & 2;
	config.has_dns = !(bits & 4);
	config.mtu = mtus[bits >> 3 & 3];
	if (bits & 0x20)
		config.prefix6_len = 128;
	if (bits & 0x40)
		config.netmask = frame_v4("255.255.255.255");
	return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct net_plan config = choose_config(data[0]);
	size_t len = size - 1;
	uint8_t *frame = malloc(len ? len : 1);

	if (!frame)
		return 0;
	memcpy(frame, data + 1, len);
	enum guard_verdict verdict = guard_check(&config, frame, len);
	if (verdict >= GUARD_VERDICTS || !guard_reason(verdict)[0])
		abort();
	if (verdict != GUARD_PASS && memcmp(frame, data + 1, len) != 0)
		abort();
	if (verdict == GUARD_PASS && frame_broken(&config, frame, len))
		abort();
	if (verdict == GUARD_PASS && guard_check(&config, frame, len) != GUARD_PASS)
		abort();
	free(frame);
	return 0;
}
