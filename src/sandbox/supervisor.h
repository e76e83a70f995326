/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor - start a sandbox, keep it running, take everything down with it */
#pragma once

#include "sandbox/config.h"
#include "util/err.h"

/*
 * How it works
 *
 *   nswrap                 supervisor: host namespaces, the caller's rights, moves no data
 *    |-- nswrap: init      sandbox/init: namespaces, reaps, the door
 *    |    `-- COMMAND
 *    |-- nswrap: net       sandbox/netproc: libslirp, relays, listeners
 *    `-- companion         if config has one; it has our stdin and stdout, COMMAND has not
 *
 * Order: bind every TCP and UDP port of the host -> choose the name -> init in new namespaces (sets
 * up, hands the TAP out) -> make the socket files, which init knows of and removes should we vanish
 * -> INIT_GO: COMMAND is executed -> say what leads where -> net process -> loop; the companion
 * starts when COMMAND runs.
 *
 * The end comes as INIT_ENDED. If init dies without it, what it leaves becomes ours (we are a
 * subreaper) and is killed. If the net process dies, another one gets the same TAP, listeners and
 * door. If we die, init and the net process notice: everything goes.
 *
 * Each child has its module, which knows nothing of the others: initctl, keeper (the net process)
 * and companion; forwards has the listeners, answers the socket. They call back, and what one of
 * them says to another goes through here.
 */

/*
 * Run the sandbox to its end. Returns 0 with the exit status for the shell in *@status (125, 126,
 * 127 with @err filled, too, if COMMAND could not be started), or -errno with @err filled when
 * nswrap itself failed. Signals must not be blocked or handled by the caller,
 * and are blocked afterwards.
 */
int supervisor_run(const struct sandbox_config *config, int *status, struct err *err);
