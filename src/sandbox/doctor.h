/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/doctor - the checks of `nswrap doctor`: each tries what a sandbox will do */
#pragma once

enum diagnosis_state {
	DIAGNOSIS_FINE,
	DIAGNOSIS_NOTE,  /* something is weaker than it could be */
	DIAGNOSIS_WRONG, /* nswrap cannot run as it does by default */
};

struct diagnosis {
	enum diagnosis_state state;
	char what[384]; /* what is found, one line */
	char cure[256]; /* what to do about it: a command where there is one; empty if fine */
};

/* One thing that nswrap needs. */
struct doctor_check {
	const char *name;
	/*
	 * Fills @out, all zero before; leaves nothing behind but the runtime directory. May fork:
	 * flush stdio before.
	 */
	void (*run)(struct diagnosis *out);
};

/* All of them, in the order in which a start needs them; ends with an entry without a name. */
extern const struct doctor_check doctor_checks[];
