/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/vip - which addresses no host can have in a mesh, wherever it is */
#pragma once

#include <netinet/in.h>

/* What @ip is, to follow the address in a message; NULL: a host may have it. */
const char *vip_fault(struct in_addr ip);
