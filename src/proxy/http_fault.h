/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_fault - why a request, or an answer, is refused */
#pragma once

struct http_fault {
	int status;      /* what answers it */
	const char *why; /* a static text, for "the request is refused: WHY" */
};

/* Fill @fault. Returns -1, so that a caller can write `return http_fault_set(...)`. */
static inline int http_fault_set(struct http_fault *fault, int status, const char *why)
{
	*fault = (struct http_fault){status, why};
	return -1;
}
