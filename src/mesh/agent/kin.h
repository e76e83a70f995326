/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/kin - other hosts of the mesh that are this machine as well, and what they listen at
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/tenant.h"
#include "util/addr.h"

/*
 * How it works
 *
 * Two plain hosts of a mesh may be one machine, and both listen for all of it at the same
 * addresses. Whichever had a port first serves it as the other one would. Who the others are is
 * known from their identities (control/tenant), and what they have from /proc; who it is, is asked
 * again after KIN_KNOWN_MS.
 */
#define KIN_MAX      16
#define KIN_KNOWN_MS 500

/* Starts as all zero. */
struct kin {
	char identity[TENANT_IDENTITY_MAX + 1]; /* our own; "": there is none, and no kin */
	pid_t pids[KIN_MAX];
	size_t count;
	uint64_t asked_ns; /* 0: never */
};

/* @identity may be NULL. */
void kin_set(struct kin *kin, const char *identity);

/* Is it one of them that keeps us from binding @addr? */
bool kin_serves(struct kin *kin, uint64_t now_ns, enum proto proto, const struct addr *addr);
