/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/defaults - options of run that need not be typed: from a file, and from NSWRAP_OPTIONS */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmd/run_options.h"
#include "util/err.h"

/*
 * How it works
 *
 * Each line of $XDG_CONFIG_HOME/nswrap/config (~/.config/nswrap/config) holds an option as on the
 * command line, NSWRAP_OPTIONS any number. Both are cut into words as a shell does it, with quotes
 * and backslashes and comments behind '#', but nothing is expanded. They are read as if they stood
 * in front of the options of the command line: file, then variable. What others could have written
 * is an error and not passed over: a default may be there to cut the network.
 */

/* Options from one place. */
struct defaults_source {
	char *name;   /* "/home/me/.config/nswrap/config:3" or "NSWRAP_OPTIONS"; owned */
	char *text;   /* "--network none": as it is written there; owned */
	char **words; /* ends with NULL, the first one is no option; owned */
};

/* Starts as all zero. */
struct defaults {
	struct defaults_source *items;
	size_t count;
};

/*
 * Read both, as far as they are there; nothing of the file if the variable has --no-config. Returns
 * 0, or -errno with @err naming file and line. To be freed in any case.
 */
int defaults_read(struct defaults *defaults, struct err *err);
void defaults_free(struct defaults *defaults);

/* Set @options, which must live no longer than @defaults. 0, or -EINVAL with @err as above. */
int defaults_apply(const struct defaults *defaults, struct run_options *options, struct err *err);
