/* SPDX-License-Identifier: Apache-2.0 */
/* proc/clone - fork(2) with flags, which glibc's takes none of */
#pragma once

#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/*
 * clone(2) without a stack of its own, with @flags and the signal of its end, which may be 0;
 * @pidfd is for CLONE_PIDFD, or NULL. Returns as fork(2) does. Async-signal-safe.
 */
static inline pid_t clone_fork(unsigned long flags, int *pidfd)
{
#ifdef __s390x__ /* the first two stand the other way around there */
	return (pid_t)syscall(SYS_clone, NULL, flags, pidfd, NULL, NULL);
#else
	return (pid_t)syscall(SYS_clone, flags, NULL, pidfd, NULL, NULL);
#endif
}
