/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/parcel - nswrap-agent as text for a shell that has printf: how a host gets it */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "util/err.h"

/*
 * How it works
 *
 * The file is nswrap-agent-MACHINE, MACHINE as uname -m has it, beside this program or in
 * ../lib/nswrap; or one that the user names. At a host its name has MACHINE and the first digits of
 * its SHA-256: another manager's is another file. It lies in ${XDG_CACHE_HOME:-~/.cache}/nswrap or
 * the first of some other directories that is the user's own, can be written and lets programs be
 * executed. All of the script is POSIX's sh and printf, chmod, mkdir, mv, rm; its data are octal
 * escapes of printf, so that nothing depends on where an input ends. What the shell says are the
 * ends of lines, from a nonce on.
 */
#define PARCEL_CHUNK_BYTES 4096
#define PARCEL_NONCE_BYTES 32
#define PARCEL_HASH_BYTES  65

struct parcel {
	char machine[32];
	unsigned char *bytes;
	size_t len;
	char hash[PARCEL_HASH_BYTES]; /* SHA-256, hexadecimal */
};

/*
 * Read it for @machine: the first of @files (NULL-terminated; NULL: none) that is a program for it,
 * else the one beside this program. Returns 0 or -errno with @err filled; free it with parcel_free.
 */
int parcel_open(struct parcel *parcel, const char *machine, char *const *files, struct err *err);
void parcel_free(struct parcel *parcel);

/*
 * Texts for the shell; the caller's to free, NULL without memory.
 *
 * hello: says "NONCE machine MACHINE". find: says "NONCE start" and is the agent from then on, or
 * "NONCE absent". begin: says "NONCE ready" or "NONCE failed WHY". chunk: bytes from @offset, at
 * most PARCEL_CHUNK_BYTES; says "NONCE got BYTES". end: as find, or "NONCE failed WHY".
 */
char *parcel_hello(const char *nonce);
char *parcel_find(const struct parcel *parcel, const char *nonce);
char *parcel_begin(const struct parcel *parcel);
char *parcel_chunk(const struct parcel *parcel, size_t offset);
char *parcel_end(void);

/* The whole script, for somebody who does it by hand. Returns 0 or -ENOMEM. */
int parcel_print(const struct parcel *parcel, FILE *out);
