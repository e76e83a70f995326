/* SPDX-License-Identifier: Apache-2.0 */
/* dns/response - what servers answer: is it for this question, what does it say */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/query.h"
#include "util/addr.h"

/* Is @answer, any bytes, one to the query @message, question_end of which is known? Id and question
 * are compared; letters are the same in either case, as some servers change them. */
bool response_fits(const uint8_t *answer, size_t len, const uint8_t *message, size_t question_end);

/* Of a message with a whole header. */
enum dns_rcode response_rcode(const uint8_t *answer);
bool response_is_cut(const uint8_t *answer);

/*
 * The A and AAAA records of @answer, which fits a query, in their order and with port 0: at most
 * @max, the rest is left out. Hostile bytes end it, and cost no time. Returns how many.
 */
size_t response_addresses(const uint8_t *answer, size_t len, struct addr *out, size_t max);
