/* SPDX-License-Identifier: Apache-2.0 */
/* proc/diagnose - what a host lacks for nswrap, and the command that mends it */
#ifndef NSWRAP_PROC_DIAGNOSE_H
#define NSWRAP_PROC_DIAGNOSE_H

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

/*
 * Why does this host refuse user or network namespaces? @code is the errno of the attempt. Returns
 * 0 with @out filled, or -1 if no known reason applies.
 */
int diagnose_userns(int code, struct diagnosis *out);

/* "fine", "note" or "wrong" */
const char *diagnose_state_name(enum diagnosis_state state);

#endif
