/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks - a SOCKS proxy: 4, 4a and 5 */
#pragma once

#include "proxy/front.h"

/*
 * How it works
 *
 * A guest is SOCKS_GREETS until its greeting has come (SOCKS 5; a request of SOCKS 4 comes first
 * thing), SOCKS_LOGS_IN if it must say who it is, SOCKS_ASKS until its request is whole, and
 * SOCKS_WAITS while that is dialled; then a relay has it. One that wants to
 * send datagrams is SOCKS_STAYS, and its end is theirs (proxy/socks_udp). What it has sent early is
 * kept, or left in its socket. A client that must say who it is cannot do so with SOCKS 4, and is
 * refused.
 *
 * Where it may offer both, a client without a password is not asked for one. A refusal is a reply,
 * and the end. Who speaks HTTP here is told in HTTP.
 */
extern const struct front_protocol socks_protocol;
