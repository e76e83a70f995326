/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/access - who may use a proxy */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/addr.h"

#define ACCESS_TEXT_MAX 255 /* bytes of a user's name or a password (RFC 1929) */

/* Starts as all zero: everybody may. */
struct access {
	char *user, *password; /* both or none; ACCESS_TEXT_MAX bytes each */
	bool only_user;        /* only programs of the user that this process has */
};

/*
 * Is it what a proxy can ask for? User and password of 1 to ACCESS_TEXT_MAX bytes or neither, no
 * control characters, no colon in the user (RFC 7617). False with @err filled, which shows no
 * password.
 */
bool access_check(const struct access *access, struct err *err);

/* A copy. Returns 0 or -ENOMEM: @out is all zero then. */
int access_copy(const struct access *from, struct access *out);

/* All zero afterwards; the password is gone from memory. */
void access_fini(struct access *access);

/* Must a client say who it is? */
static inline bool access_wants_password(const struct access *access)
{
	return access->user;
}

/* Are these (any bytes) the user and the password? How long it takes says nothing of either. False
 * if there are none. */
bool access_is_known(const struct access *access, const void *user, size_t user_len,
	const void *password, size_t password_len);

/*
 * May the client @peer, whose connection is @fd or whose datagram came to it (at the address that
 * it is bound to), be served as far as its user counts? If not says who it is in @whom, such as
 * "user 1000" or "another machine (192.0.2.1)".
 */
#define ACCESS_WHOM_BYTES (ADDR_TEXT_BYTES + 20)
bool access_is_user(const struct access *access, enum proto proto, int fd, const struct addr *peer,
	char *whom, size_t cap_bytes);
