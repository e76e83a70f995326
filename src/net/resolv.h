/* SPDX-License-Identifier: Apache-2.0 */
/* net/resolv - read the host's resolv.conf and write the guest's */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/addr.h"

#define RESOLV_CONF           "/etc/resolv.conf"
#define RESOLV_SERVERS_MAX    3     /* glibc: MAXNS */
#define RESOLV_TEXT_MAX_BYTES 65536 /* what is behind is not read */

/* What a resolv.conf says; see resolv.conf(5). Strings are words with single spaces between. */
struct resolv_conf {
	bool has_v4, has_v6;                     /* of the servers below, is one of that kind */
	struct addr servers[RESOLV_SERVERS_MAX]; /* port 53; sin6_scope_id set */
	size_t nservers;                         /* 0: nothing known */
	char search[1024];                       /* the last search or domain line */
	char options[512];                       /* of all options lines, in order */
};

/*
 * Read @text (any bytes), which is cut to words on the way; text[len] is written to. Never fails: a
 * line that is not understood is skipped, as glibc does; like there, # and ; begin a comment. Words
 * with anything but printable ASCII, and words for which there is no room, are left out. A %scope
 * is a number or the name of an interface of this network namespace; a server with an unknown scope
 * is left out. A text that names no server at all means 127.0.0.1.
 */
void resolv_parse(char *text, size_t len, struct resolv_conf *out);

/*
 * Write the guest's file to @out, NUL-terminated: "nameserver @server", then the host's search and
 * options. Returns 0, -EMSGSIZE or -ENOMEM; @out is then the empty string (if it has room for one).
 */
int resolv_format(
	const struct resolv_conf *host, const struct in_addr *server, char *out, size_t cap_bytes);
