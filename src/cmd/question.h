/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/question - ask a mesh that runs: status, reload, stop */
#ifndef NSWRAP_CMD_QUESTION_H
#define NSWRAP_CMD_QUESTION_H

#include <stdbool.h>

#include "util/err.h"

struct question {
	const char *word;
	bool has_json; /* can be answered in JSON */
	/* Prints the answer. Returns the exit status. */
	int (*ask)(int sock, bool is_json, struct err *err);
};

/* NULL if @word is none. */
const struct question *question_find(const char *word);

/* Ask the mesh @name (NULL: the only one). Returns the exit status. */
int question_ask(const struct question *question, const char *name, bool is_json);

#endif
