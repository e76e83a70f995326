/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirplib - libslirp, loaded by who uses it */
#pragma once

#include <glib.h>
#include <libslirp.h>

#include "util/err.h"

/*
 * How it works
 *
 * One process of a sandbox uses libslirp, which brings GLib along. Linked with it the program would
 * load both for each command. So its functions are called by this table, which is filled when the
 * library is loaded; each has its name and promise of <libslirp.h>.
 */
struct slirplib {
	__typeof__(slirp_new) *slirp_new;
	__typeof__(slirp_cleanup) *slirp_cleanup;
	__typeof__(slirp_version_string) *slirp_version_string;
	__typeof__(slirp_input) *slirp_input;
	__typeof__(slirp_pollfds_fill) *slirp_pollfds_fill;
	__typeof__(slirp_pollfds_poll) *slirp_pollfds_poll;
	__typeof__(slirp_add_hostxfwd) *slirp_add_hostxfwd;
	__typeof__(slirp_remove_hostxfwd) *slirp_remove_hostxfwd;
};

extern struct slirplib slirplib;

/*
 * Load it, unless it is: before the process leaves the files of the host, or the right to make
 * memory executable. Its GLib is another one than ours where ours is linked statically: what it
 * says is @on_message's (NULL: stderr's). Returns 0, or -errno with @err: -ENOSYS where it can
 * never be.
 */
int slirplib_load(GLogFunc on_message, struct err *err);

/*
 * Can it be loaded, as far as a look at its file tells? One that is not where it was when this
 * program was built is loaded. Returns as slirplib_load().
 */
int slirplib_check(struct err *err);

/* Loads it, and is NULL if that fails. */
const char *slirplib_version(void);
