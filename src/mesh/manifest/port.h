/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/port - read a host's ports such as "8080:127.0.0.1:80/tcp" */
#pragma once

#include "mesh/config.h"
#include "util/err.h"

/* The name server that each agent has at its VIP. */
#define PORT_NAME_SERVER 10053

/*
 * Read "LISTEN:HOST:PORT[/tcp|/udp]"; HOST is an IPv4 address or a name, or empty: 127.0.0.1.
 * Returns 0 with a text of its own in *@out, -ENOMEM, or -EINVAL with @err filled; @out is then
 * untouched. Pure.
 */
int port_parse(const char *text, struct mesh_offer *out, struct err *err);
