/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/members - members of a JSON object that a stranger sent, read with their types checked */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

/*
 * Each reader returns 0, or -EINVAL with the error naming the member and what is expected there.
 * JSON null is the same as a member that is not there.
 */
struct members {
	const json_t *object;
	char of[40]; /* what the object is: "" for the whole, "http", "forwards[2]" */
	struct err *err;
};

/* Values that may be absent: NULL, false, 0, an object without members. Borrowed from the JSON. */
int members_text(const struct members *from, const char *name, const char **out);
int members_bool(const struct members *from, const char *name, bool *out);
int members_number(const struct members *from, const char *name, uint16_t *out); /* or 0 */
int members_list(const struct members *from, const char *name, const json_t **out);
int members_object(const struct members *from, const char *name, struct members *out);

/* Values that must be there. */
int members_need_text(const struct members *from, const char *name, const char **out);
int members_need_int(const struct members *from, const char *name, int64_t *out);
int members_need_port(const struct members *from, const char *name, uint16_t *out); /* 1..65535 */
int members_need_host(const struct members *from, const char *name, struct in_addr *out);

/* An IPv4 address that one host can have, in four decimal parts. */
bool members_is_host(const char *text, struct in_addr *out);

/* The object at @place of the list @name. */
int members_item(const struct members *from, const char *name, size_t place, struct members *out);

/* Say of a member that it is not what is @expected, and show its value. Returns -EINVAL. */
int members_refuse(
	const struct members *from, const char *name, const json_t *value, const char *expected);
