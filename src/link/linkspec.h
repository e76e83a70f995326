/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkspec - read a LINK, the words that say how two ends of nswrap come together */
#pragma once

#include <stdbool.h>

#include "conn/listen.h"
#include "util/addr.h"
#include "util/err.h"

/*
 *	exec:COMMAND           its stdin and stdout; words as a shell takes them, but no shell
 *	tcp:HOST:PORT          connect there
 *	unix:PATH
 *	listen-tcp:ADDR        ADDR:PORT, [V6]:PORT, localhost:PORT, :PORT (all IPv4 addresses)
 *	listen-unix:PATH       mode 0600
 *	fd:N or fd:N,M         inherited; with two, N is read and M is written
 *	-                      stdin and stdout
 */
#define LINKSPEC_EXPECTED                                                                      \
	"expected exec:COMMAND, tcp:HOST:PORT, unix:PATH, listen-tcp:ADDR, listen-unix:PATH, " \
	"fd:N, fd:N,M or -"

enum linkspec_kind {
	LINKSPEC_EXEC,
	LINKSPEC_TCP,
	LINKSPEC_UNIX,
	LINKSPEC_LISTEN_TCP,
	LINKSPEC_LISTEN_UNIX,
	LINKSPEC_FDS,
	LINKSPEC_STDIO,
};

struct linkspec {
	enum linkspec_kind kind;
	const char *text; /* as it was given, the caller's */
	char **argv;      /* EXEC */
	struct listen at; /* TCP */
	struct addr addr; /* UNIX, and what listens */
	int fds[2];       /* FDS, STDIO: to read, to write; perhaps the same number */
};

/*
 * Pure: nothing is opened, looked up or started. @text must stay. Returns 0, or -errno with @err
 * filled; linkspec_fini is needed after 0 only.
 */
int linkspec_parse(const char *text, struct linkspec *out, struct err *err);
void linkspec_fini(struct linkspec *spec); /* fine for all zero */

bool linkspec_listens(const struct linkspec *spec);
/* What was inherited cannot be opened a second time. */
bool linkspec_is_once(const struct linkspec *spec);

/*
 * Of what was inherited: is it open, and can bytes come and go there? To be asked before anything
 * else is opened, which may get such a number. Returns 0, as for any other kind, or -EINVAL with
 * @err filled.
 */
int linkspec_check_fds(const struct linkspec *spec, struct err *err);

/*
 * Others can reach it, or be at its other end, unless they prove to have the key: a TCP address
 * that is not loopback. Returns 0, or -EINVAL with @err filled where there is no key.
 */
int linkspec_check_key(const struct linkspec *spec, bool has_key, struct err *err);
