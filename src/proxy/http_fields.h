/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_fields - which fields of a head are for one connection only */
#pragma once

#include <stdbool.h>

#include "proxy/http_head.h"

/*
 * Does a field not go on as it is: is it for the connection that it came on (RFC 9110 7.6.1), does
 * the head's Connection name it, or is it written anew (Host, lengths)?
 */
bool http_fields_stays(const struct http_head *head, struct http_text name);

/* May a field of that name stand behind a body (RFC 9110 6.5.1)? */
bool http_fields_may_trail(struct http_text name);
