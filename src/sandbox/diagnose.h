/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/diagnose - what a host lacks for nswrap, and the command that mends it */
#ifndef NSWRAP_SANDBOX_DIAGNOSE_H
#define NSWRAP_SANDBOX_DIAGNOSE_H

struct diagnosis {
	char what[256]; /* what is wrong, one line */
	char cure[256]; /* what to do about it: a command where there is one */
};

/*
 * Why does this host refuse user or network namespaces? @code is the errno of the attempt. Returns
 * 0 with @out filled, or -1 if no known reason applies.
 */
int diagnose_userns(int code, struct diagnosis *out);

#endif
