/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/asked - names that another host's name server is asked for, when ours is */
#pragma once

#include "mesh/agent/nameservice.h"
#include "mesh/agent/ways.h"

/*
 * How it works
 *
 * A name that a route's pattern has is passed on to the name server of the route's host, through
 * the mesh, and its answer is ours; where its addresses are is learnt before that
 * (mesh/agent/ways). It has no IPv6 addresses, which no route leads to: a program would try them
 * first. Where that host does not answer it is SERVFAIL: nobody else is asked for a name of its
 * network.
 */
#define ASKED_MAX 512 /* under way */

struct asked;

/* @ways stays the caller's. Returns NULL with errno set. */
struct asked *asked_new(struct ways *ways);

/* Forgets what was asked; before the name server and @ways are freed. NULL is allowed. */
void asked_free(struct asked *asked);

/* For a nameservice whose owner is a struct asked. */
extern const struct nameservice_ops asked_ops;
