/* SPDX-License-Identifier: Apache-2.0 */
/* control/identity - who is at the other end of a control socket, before anything is asked */
#pragma once

#include <stdbool.h>

#include "util/err.h"

/*
 * A socket in a place of ours is not yet a sandbox: a program inside of one has our uid, and may
 * get a socket there where the place is not hidden from it. So what counts is the process that
 * listens, as the kernel names it:
 *
 * - it is ours (SO_PEERCRED, which is who called listen(2)), and the same process still
 *   (SO_PEERPIDFD, Linux 6.5), so that its number was not taken by another one;
 * - it can be seen: it is not in another PID namespace;
 * - it is in our own user namespace, or at least in none that is below ours;
 * - it is in our own network namespace, which nobody inside of a sandbox can be in;
 * - it calls itself nswrap.
 *
 * /proc/PID/ns shows nothing of a process that hides as our own do (PR_SET_DUMPABLE), so the
 * network namespace is compared by /proc/PID/net, whose files have an inode number for each one.
 * Where /proc hides the process altogether (hidepid), it is out of the reach of those below our
 * user namespace, so it is believed.
 *
 * @sock is connected to it. Returns 0, or -EPERM with @err, which names the process and says what
 * it is: "PID 42 (python3) is inside a sandbox".
 */
int identity_check(int sock, struct err *err);

/*
 * Has who made the listening socket that @sock is connected to ended? Others may hold that for a
 * moment: what it started has its descriptors between fork and exec. False where it cannot be told.
 */
bool identity_has_ended(int sock);

/*
 * The same check, and SIGKILL for what passes it; then its end is waited for, for at most
 * @timeout_ms, its descriptors are closed by then. Returns 0, also if it has ended meanwhile and
 * its socket with it, or -errno with @err: -EPERM if it is not to be killed.
 */
int identity_kill(int sock, unsigned timeout_ms, struct err *err);

/*
 * The same check, of a supervisor. What passes it is asked to end in the usual way, also if it is
 * stopped, and has @grace_ms for that; then all that is below it gets SIGKILL, and it itself.
 */
int identity_end(int sock, unsigned grace_ms, unsigned timeout_ms, struct err *err);
