/* SPDX-License-Identifier: Apache-2.0 */
/* lib/fault - errors of the library: a code and words */
#pragma once

#include "nswrap/nswrap.h"

/* Fill @error, if it is not NULL. Returns -@code. */
int nsw_fault(struct nswrap_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and what @code means. */
int nsw_fault_sys(struct nswrap_error *error, int code, const char *what);

/* A call begins: no error yet. */
void nsw_fault_none(struct nswrap_error *error);
