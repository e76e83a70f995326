/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/hosts - the texts of the sandbox's own /etc/hosts and nsswitch.conf */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/addr.h"

#define HOSTS_CONF    "/etc/hosts"
#define NSSWITCH_CONF "/etc/nsswitch.conf"

/* A name and where it leads. */
struct hosts_name {
	const char *name;
	struct addr addr;
};

/*
 * The names of this machine that @text, of a hosts file, knows: those in a line with @nodename, or
 * with what is in front of its first dot, these two first. Stores copies, each once, at most @max
 * (2 or more), to @out and returns how many. Names of localhost are none.
 */
size_t hosts_own_names(const char *text, const char *nodename, char *out[], size_t max);

/*
 * The hosts file: localhost, then @names, each with its address, then what the host's file @text
 * says of other names. Any bytes. Returns a new text, or NULL without memory.
 */
char *hosts_format(const char *text, const struct hosts_name *names, size_t count);

/*
 * The nsswitch.conf: the host's @text, but names of hosts are looked for in the files first, and in
 * DNS; not by services of the host that know nothing of the sandbox (resolve, myhostname); with
 * @is_alone by no service at all. Any bytes. Returns a new text, or NULL without memory.
 */
char *hosts_format_switch(const char *text, bool is_alone);
