/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/filter - the system calls that the net process may make */
#include "sandbox/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* clang-format off */
static const int plain_calls[] = {
	/* the event loop */
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(gettimeofday),
	SCMP_SYS(time), SCMP_SYS(restart_syscall),
	/* has stderr room for a line? */
	SCMP_SYS(poll), SCMP_SYS(ppoll),
	/* bytes */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(splice),
	SCMP_SYS(pipe2), SCMP_SYS(close), SCMP_SYS(lseek),
	/* --pcap: a record at its place, which the disk may have no room for */
	SCMP_SYS(pwritev), SCMP_SYS(ftruncate),
	/* a listener of ours in the place of one of libslirp's */
	SCMP_SYS(dup3),
	/* sockets */
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind), SCMP_SYS(connect),
	SCMP_SYS(listen), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
	/* /etc/resolv.conf, which libslirp reads again when it has changed */
	SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(fstat),
	/* memory, and the ways out */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
	SCMP_SYS(getrandom), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill),
#ifdef __SANITIZE_ADDRESS__
	/* the run-time of AddressSanitizer, to report what it found */
	SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigaction), SCMP_SYS(readlink), SCMP_SYS(getuid),
	SCMP_SYS(sched_yield), SCMP_SYS(access), SCMP_SYS(prctl),
#endif
};
/* clang-format on */

/* What to do when (argument & mask) == value, instead of ending the process. */
struct argument_rule {
	uint32_t action;
	int call;
	unsigned argument;
	scmp_datum_t mask, value;
};

#define WHOLE ((scmp_datum_t)-1)

static const struct argument_rule argument_rules[] = {
	{SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, WHOLE, AF_INET},
	{SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, WHOLE, AF_INET6},
	/* glibc's if_nametoindex, for the scope of a name server, tries this family first */
	{SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 0, WHOLE, AF_UNIX},
	{SCMP_ACT_ALLOW, SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
	{SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, PROT_EXEC, 0},
	{SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 2, PROT_EXEC, 0}, /* malloc grows its arenas with it */
	{SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, WHOLE, FIONREAD},
	{SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, WHOLE, SIOCATMARK},
	{SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, WHOLE, SIOCGIFINDEX}, /* if_nametoindex */
	/* isatty(), before GLib says why it gives up */
	{SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, WHOLE, TCGETS},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_GETFL},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_SETFL},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_GETFD},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_SETFD},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_GETPIPE_SZ},
	{SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, WHOLE, F_SETPIPE_SZ},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int filter_net_process(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (!filter)
		return -ENOMEM;
	/* a sorted tree of calls, not a list: the hot ones are many steps from its head */
	int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; result == 0 && i < COUNT(plain_calls); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
	for (size_t i = 0; result == 0 && i < COUNT(argument_rules); i++) {
		const struct argument_rule *rule = &argument_rules[i];

		result = seccomp_rule_add(filter, rule->action, rule->call, 1,
			SCMP_CMP64(rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value));
	}
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result;
}
