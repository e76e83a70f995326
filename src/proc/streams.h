/* SPDX-License-Identifier: Apache-2.0 */
/* proc/streams - what a command that is started has for stdin, stdout and stderr */
#pragma once

#include "util/err.h"

/* In each pair the first is for reading, the second for writing. -1: closed. */
enum { STREAMS_STDIN, STREAMS_STDOUT, STREAMS_STDERR, STREAMS_COUNT };

struct streams {
	int pairs[STREAMS_COUNT][2];
};

/*
 * For one called nswrap stdin and stdout are sockets, else pipes (docs/design.md). Returns 0, or
 * -errno with @err filled and nothing open.
 */
int streams_open(struct streams *streams, const char *program, struct err *err);

/* What is still open. */
void streams_close(struct streams *streams);
