/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/filter - the system calls that the net process may make */
#pragma once

/*
 * Allow what libslirp, the relays and libc's allocator need, kill the process for anything else.
 * Sockets are IPv4 and IPv6 only; files can be opened for reading only; memory never becomes
 * executable. Needs no_new_privs. Returns 0 or -errno.
 */
int filter_net_process(void);
