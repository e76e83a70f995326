/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/proxyline - who connected to what, told to a target by the PROXY protocol */
#pragma once

#include <stddef.h>

/* The protocol is HAProxy's, "The PROXY protocol, versions 1 & 2" (2020/03/05). */
#define PROXYLINE_MAX 107 /* of version 1, section 2.1 */

/*
 * What stands in front of a connection of @peer to @dialled ("192.0.2.1:1234", "[2001:db8::1]:80"):
 * a header of @version 1 or 2. Where @peer is anything else the header says that nothing is known;
 * where @dialled is, or is of the other family, it is address and port 0. Returns its bytes; 0 if
 * @version is 0.
 */
size_t proxyline_make(int version, const char *peer, const char *dialled, char out[PROXYLINE_MAX]);
