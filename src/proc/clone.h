/* SPDX-License-Identifier: Apache-2.0 */
/* proc/clone - fork(2) with flags, which glibc's takes none of */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* May a child run in our memory? */
#ifdef __SANITIZE_ADDRESS__ /* it would take the child's frames for ours */
#define CLONE_CAN_SHARE false
#else
#define CLONE_CAN_SHARE true
#endif

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
