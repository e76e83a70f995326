/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/idle - options that another one leaves nothing to do */
#pragma once

#include "sandbox/config.h"
#include "util/err.h"

/*
 * Is there one in @config that would do nothing? @typed is what the command line alone says. One
 * that is in the defaults is left out without a word where what is typed wants it otherwise.
 * Returns 0, or -EINVAL with @err naming both options.
 */
int idle_check(
	const struct sandbox_config *config, const struct sandbox_config *typed, struct err *err);
