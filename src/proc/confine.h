/* SPDX-License-Identifier: Apache-2.0 */
/* proc/confine - keep a program from what no namespace keeps it from */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

/*
 * The calling process, and all that it starts, for ever:
 *
 * - do not type into a terminal (TIOCSTI, TIOCLINUX of ioctl_tty(2): EPERM);
 * - have no sockets of families that leave the host by another way than its network, whatever the
 *   network namespace: AF_VSOCK to the hypervisor, AF_QIPCRTR to modems, and the like
 *   (EAFNOSUPPORT, as where the kernel lacks them);
 * - have a session keyring of their own (keyrings(7)), not the caller's; where the user's quota of
 *   keys is used up the caller's stays. Calls that name a key or keyring by its number are refused
 *   (EACCES) if it is there already and all processes of the user may use it: the user's own
 *   keyring, with its keys, would come in. To what joins a sandbox its own are there already, too;
 *   it has the special numbers. Calls that take such numbers from memory are refused altogether
 *   (keyctl_dh_compute(3), keyctl_pkey_encrypt(3) and the like, ALG_SET_KEY_BY_KEY_SERIAL). Where
 *   those keys cannot be told (too many, /proc/keys covered) there are no keys at all (ENOSYS, as
 *   where the kernel lacks them).
 */
struct confine {
	/*
	 * Signals reach only what was started from here on: Linux 6.12, else nothing is done. And
	 * limits are set for who sets them alone (EPERM): prlimit(2) of another process with its
	 * user is a signal, too, as where its limit of processor time is none.
	 */
	bool keeps_signals_inside;
	/*
	 * What could get round the list of families is refused, too: io_uring (EPERM), and
	 * socket(2) through socketcall(2), whose arguments no filter sees: 32-bit programs on x86
	 * have no sockets at all then.
	 */
	bool has_no_network;
	/* of confine_make_filter(); NULL: confine_self() makes it */
	struct sock_filter *filter;
	unsigned short filter_len;
};

/*
 * Outside, before the user namespace of a sandbox is made: the user's keyring is made, if it is not
 * there. One that came later would be refused to nobody inside.
 */
void confine_prepare(void);

/*
 * What takes longest of confine_self(), at any time before that and by any thread of a process in
 * the same user namespace: keys that come later are refused to nobody. Where this fails nothing is
 * done. @confine->filter is the caller's to free.
 */
void confine_make_filter(struct confine *confine);

/*
 * After no_new_privs has been set. Returns 0, or -errno if the kernel refuses seccomp filters, as
 * only one that could not have a net process either does.
 */
int confine_self(const struct confine *confine);

/* Can this kernel keep signals inside? Landlock ABI 6, Linux 6.12, switched on at boot. */
bool confine_can_keep_signals(void);
