/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/errand - what a client of a tunnel has its server connect to */
#pragma once

#include "conn/context.h"
#include "tunnel/endpoint.h"
#include "tunnel/passage.h"
#include "util/list.h"

/*
 * How it works
 *
 * A lane that is for it waits while the target is connected to, and is told how that went
 * (HAIL_OPENED, HAIL_REFUSED). One that breaks meanwhile is given up.
 */
struct errands {
	const struct conn_context *context;
	struct passage *passage;
	/* 0: what was asked for is connected; or -errno. NULL: nobody wants to know */
	void (*on_done)(void *owner, int result);
	void *owner;

	/* its own */
	struct list all;
};

void errands_init(struct errands *errands);

/* Those under way end. */
void errands_fini(struct errands *errands);

/* @fd, a lane's, is taken over, and what comes of it @source's (util/shares); @to need not stay. */
void errands_add(struct errands *errands, int fd, const struct endpoint *to, enum proto proto,
	unsigned source);
