/* SPDX-License-Identifier: Apache-2.0 */
/* clock_ahead - a test's clock, which goes on when it says so */
#pragma once

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"

#define CLOCK_STOP_S 300

static _Atomic uint64_t clock_ahead_ns; /* add to it */
static _Atomic uint64_t clock_stands_ns;

/* Stands before the one of the C library: what the loop takes for the time */
int clock_gettime(clockid_t id, struct timespec *out)
{
	long result = syscall(SYS_clock_gettime, id, out);
	uint64_t real_ns = (uint64_t)out->tv_sec * NS_PER_S + (uint64_t)out->tv_nsec;
	uint64_t stands_ns = id == CLOCK_MONOTONIC ? clock_stands_ns : 0;
	uint64_t ns = (stands_ns > 0 ? stands_ns : real_ns) + clock_ahead_ns;

	out->tv_sec = (time_t)(ns / NS_PER_S);
	out->tv_nsec = (long)(ns % NS_PER_S);
	return (int)result;
}

/*
 * Until clock_go_on() only what is added is time: "not yet" holds also on a machine that stands
 * still for seconds. Who waits meanwhile for what does not come is ended by SIGALRM.
 */
static inline void clock_stop(void)
{
	clock_stands_ns = clock_now_ns() - clock_ahead_ns;
	alarm(CLOCK_STOP_S);
}

static inline void clock_go_on(void)
{
	clock_stands_ns = 0;
	alarm(0);
}
