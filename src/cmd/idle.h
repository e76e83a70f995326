/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/idle - options that another one leaves nothing to do */
#pragma once

#include "sandbox/config.h"
#include "util/err.h"

/*
 * Is there one in @typed, the command line alone, that does nothing beside what is in @config, with
 * the defaults? In those such a one is left out without a word. Returns 0, or -EINVAL with @err
 * naming both options.
 */
int idle_check(
	const struct sandbox_config *config, const struct sandbox_config *typed, struct err *err);
