/* SPDX-License-Identifier: Apache-2.0 */
/* conn/served - which of a name's addresses has somebody who takes datagrams */
#include "conn/served.h"

#include "net/diag.h"
#include "util/fd.h"

size_t served_find(const struct addr *addrs, size_t count)
{
	_cleanup_fd_ int nl = count > 1 ? diag_open() : -1;

	for (size_t i = 0; nl >= 0 && i < count; i++)
		if (diag_is_own_address(&addrs[i]) &&
			diag_is_listening(nl, PROTO_UDP, &addrs[i]) == 1)
			return i;
	return count;
}
