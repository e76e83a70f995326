/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/start - what of a sandbox's options this machine settles, just before it is started */
#pragma once

#include "cmd/run_options.h"

/*
 * Choose networks inside that neither this host uses itself nor a link leads to, with a line where
 * they were asked for; copy the descriptors to be told on, where they are the standard streams; and
 * make config.env, a list to be freed. Returns 0, or -errno with @err.
 */
int start_settle(struct run_options *options, struct err *err);
