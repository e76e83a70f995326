/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/lennuts - addresses that are known to have clients of lennut's */
#include "tunnel/lennuts.h"

#include <sys/socket.h>

bool lennuts_has(const struct lennuts *lennuts, const struct addr *peer)
{
	for (size_t i = 0; i < LENNUTS_MAX; i++)
		if (lennuts->known[i].family != AF_UNSPEC &&
			addr_is_same_ip(&lennuts->known[i], peer))
			return true;
	return false;
}

void lennuts_note(struct lennuts *lennuts, const struct addr *peer, bool is)
{
	for (size_t i = 0; !is && i < LENNUTS_MAX; i++)
		if (addr_is_same_ip(&lennuts->known[i], peer))
			lennuts->known[i] = (struct addr){.family = AF_UNSPEC};
	if (is && !lennuts_has(lennuts, peer)) {
		lennuts->known[lennuts->next] = *peer;
		lennuts->next = (lennuts->next + 1) % LENNUTS_MAX;
	}
}
