/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/jupyterhub - --jupyterhub: what a server of JupyterHub needs of its network, read from what
 * its hub says */
#pragma once

#include "cmd/run_options.h"

/*
 * How it works
 *
 * A hub tells a server by variables where it is to listen (JUPYTERHUB_SERVICE_URL) and where the
 * hub is (JUPYTERHUB_API_URL, JUPYTERHUB_ACTIVITY_URL). The first becomes a forward; each of the
 * others that is on this host's loopback, a port that leads outwards at the address that the
 * variable has. So the server needs to know nothing of the sandbox. Who may connect, where
 * --only-user does not say it: the caller, and whoever listens at the hub's port, who starts the
 * proxy as well. A hub on another machine has no user here: then the network is let in, which is
 * for internal_ssl to guard.
 */

/* Complete @options, before they are put together. 0, or -EINVAL with @err filled. */
int jupyterhub_apply(struct run_options *options, struct err *err);
