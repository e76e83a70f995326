/* SPDX-License-Identifier: Apache-2.0 */
/* noslirp - where libslirp cannot be: Debian has no static archive of it */
#include <errno.h>
#include <stddef.h>

#include "net/slirplib.h"

struct slirplib slirplib; /* nobody makes a stack that has not loaded it */

int slirplib_load(GLogFunc on_message, struct err *err)
{
	(void)on_message;
	return err_set(err, ENOSYS, "this nswrap-agent has no libslirp");
}

int slirplib_check(struct err *err)
{
	return slirplib_load(NULL, err);
}

const char *slirplib_version(void)
{
	return NULL;
}
