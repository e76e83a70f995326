/* SPDX-License-Identifier: Apache-2.0 */
/* own_addresses - the device lo of a test's network namespace, with addresses that are no
 * loopback's */
#ifndef NSWRAP_TEST_OWN_ADDRESSES_H
#define NSWRAP_TEST_OWN_ADDRESSES_H

#include <arpa/inet.h>
#include <unistd.h>

#include "net/netdev.h"

/* A group's setup (cmocka): lo is up and has 192.0.2.7 and fd00::7 as well. */
static inline int set_lo_up(void **state)
{
	struct in6_addr own6;
	struct in_addr own4;
	int nl = netdev_open(), lo = netdev_index(nl, "lo");

	(void)state;
	inet_pton(AF_INET6, "fd00::7", &own6);
	inet_pton(AF_INET, "192.0.2.7", &own4);
	int result = netdev_set_up(nl, lo, 0);
	if (result == 0)
		result = netdev_add_addr(nl, lo, AF_INET, &own4, 32);
	if (result == 0)
		result = netdev_add_addr(nl, lo, AF_INET6, &own6, 128);
	close(nl);
	return result;
}

#endif
