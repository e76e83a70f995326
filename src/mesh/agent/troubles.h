/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/troubles - what does not work of this host's ports: lines for people, and a count */
#pragma once

#include "mesh/report.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The first failure of a port's target is a line, and then one a minute at most for each port, with
 * how many there were; TROUBLES_LINES a minute for all of them together. What is not told is
 * counted all the same. Who asked for it is told of changes, TROUBLES_TELL_MS after the first.
 */
#define TROUBLES_LINES   20
#define TROUBLES_LINE_S  60
#define TROUBLES_TELL_MS 1000

struct troubles;

/* Call @on_change, from the loop, when a report would say something else; NULL: never. Returns NULL
 * with errno set. */
struct troubles *troubles_new(struct loop *loop, void (*on_change)(void *owner), void *owner);

/* NULL is allowed. */
void troubles_free(struct troubles *troubles);

/* A warning, unless there were too many lines, and a change. */
void troubles_say(struct troubles *troubles, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same, for a port that could not be had before. */
void troubles_works(struct troubles *troubles, enum proto proto, const struct addr *at);

/*
 * The target of @port was refused or could not be reached: @where in words ("127.0.0.1:80"), and
 * the -errno of conn/dial.
 */
void troubles_fail(
	struct troubles *troubles, enum proto proto, uint16_t port, const char *where, int result);

/* Forget what is known of ports that @is_kept says no to. */
void troubles_sift(struct troubles *troubles,
	bool (*is_kept)(void *owner, enum proto proto, uint16_t port), void *owner);

/* Add the targets that failed to @report; the ports are those of @self. */
void troubles_tell(
	const struct troubles *troubles, struct in_addr self, struct mesh_report *report);
