/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/idle - options that another one leaves nothing to do */
#pragma once

#include "sandbox/config.h"

/* A set of those options that are given in @config, for idle_tell. */
unsigned idle_given(const struct sandbox_config *config);

/*
 * Warn of each option of @typed, which is idle_given() of the command line alone, that does nothing
 * in @config, which has the defaults as well, and say which one it is that leaves it nothing to do.
 * Defaults that have nothing to do are left out without a word.
 */
void idle_tell(const struct sandbox_config *config, unsigned typed);
