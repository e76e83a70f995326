/* SPDX-License-Identifier: Apache-2.0 */
/* link/advice - what a person has to do before a command can be a link */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Trouble that no retry mends. */
struct advice {
	const char *text; /* what to do, without a full stop */
	bool may_pass;    /* so it is for a host that has never been ready only */
};

/* What @line of a command that was to lead to nswrap means; NULL: nothing of that kind. */
const struct advice *advice_of_line(const char *line, size_t len);

/* The same of its exit status, as a shell has it; -1: it has none. */
const struct advice *advice_of_status(int status);
