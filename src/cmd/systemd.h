/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/systemd - what a service manager that started nswrap has left it: variables and descriptors
 */
#pragma once

#include <stdbool.h>

#include "cmd/run_options.h"

/*
 * sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, with the names of LISTEN_FDNAMES, if
 * LISTEN_PID is this process. NAME below is one of these names, for each socket that has it, or the
 * number of any descriptor that is open.
 */

/* Is this rule one of a socket that is there already, "fd:NAME..."? */
bool systemd_is_given(const char *rule);

/*
 * Read "fd:NAME[:GUEST]" and append a rule for each socket of that name. @guest: the port where the
 * text has none; NULL: that of the socket. Returns 0, or -EINVAL with @err filled: there is no
 * such, or it is none that clients come to.
 */
int systemd_add_rules(
	struct forward_list *list, const char *rule, const char *guest, struct err *err);

/* The setter of --listen-fd, whose target is a struct run_options: COMMAND gets those of that name.
 */
int systemd_set_listen_fd(void *target, const char *name, struct err *err);

/* Does what was asked for go together? 0, or -EINVAL with @err filled. */
int systemd_check(const struct sandbox_config *config, struct err *err);

/*
 * Read NOTIFY_SOCKET and the watchdog's variables into the service of @options, and say which
 * sockets nobody takes. In the process that the manager has started: it is meant by its pid.
 */
void systemd_read(struct run_options *options);
