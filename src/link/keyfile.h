/* SPDX-License-Identifier: Apache-2.0 */
/* link/keyfile - a secret that is in a file of its own */
#pragma once

#include <stddef.h>

#include "util/err.h"

#define KEYFILE_MIN 16 /* bytes: less is found by trying */
#define KEYFILE_MAX 1024

/* All zero: none. */
struct keyfile {
	unsigned char bytes[KEYFILE_MAX];
	size_t len;
};

/*
 * Open a file that nobody but this user, or root, can read or has written: regular, mode 0?00.
 * Returns a descriptor, or -errno with @err saying what is wrong with @shown.
 */
int keyfile_open(const char *path, const char *shown, struct err *err);

/*
 * The bytes of the file are the key; one newline at its end does not count. Returns 0, or -errno
 * with @err filled.
 */
int keyfile_read(const char *path, struct keyfile *out, struct err *err);

void keyfile_wipe(struct keyfile *key);
