/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lennuts - addresses that are known to have clients of lennut's */
#include "tunnel/lennuts.h"

#include <sys/socket.h>

#include "util/clock.h"

static const struct lennuts_one *find(const struct lennuts *lennuts, const struct addr *peer)
{
	for (size_t i = 0; i < LENNUTS_MAX; i++)
		if (lennuts->ones[i].addr.family != AF_UNSPEC &&
			addr_is_same_ip(&lennuts->ones[i].addr, peer))
			return &lennuts->ones[i];
	return NULL;
}

bool lennuts_has(const struct lennuts *lennuts, const struct addr *peer)
{
	const struct lennuts_one *one = find(lennuts, peer);

	return one && one->seen_ns == 0;
}

void lennuts_suspect(struct lennuts *lennuts, const struct addr *peer, uint64_t now_ns)
{
	struct lennuts_one *one = (struct lennuts_one *)find(lennuts, peer);

	if (!one) {
		one = &lennuts->ones[lennuts->next];
		lennuts->next = (lennuts->next + 1) % LENNUTS_MAX;
		*one = (struct lennuts_one){*peer, now_ns};
	} else if (one->seen_ns != 0) {
		bool is_again = now_ns - one->seen_ns <= LENNUTS_AGAIN_MS * NS_PER_MS;
		one->seen_ns = is_again ? 0 : now_ns;
	}
}

void lennuts_forget(struct lennuts *lennuts, const struct addr *peer)
{
	struct lennuts_one *one = (struct lennuts_one *)find(lennuts, peer);

	if (one)
		*one = (struct lennuts_one){.addr.family = AF_UNSPEC};
}
