/* SPDX-License-Identifier: Apache-2.0 */
/* proc/confine - keep a program from what no namespace keeps it from */
#include "proc/confine.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/fd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Names that a C library or kernel headers of today may lack. */
#define FAMILY_ISDN     34
#define FAMILY_QIPCRTR  42
#define SCOPE_SIGNAL    (1u << 1) /* LANDLOCK_SCOPE_SIGNAL */
#define ABI_WITH_SCOPES 6
#define SERIAL_SIGN     (1u << 31) /* what keyrings(7) gives special numbers is negative */

/*
 * Those whose code does not ask, or not everywhere, which network namespace the socket is of.
 * AF_CAN, AF_TIPC, AF_PACKET and the rest are kept in by the namespace itself.
 */
static const int families[] = {
	AF_VSOCK, AF_BLUETOOTH, AF_NFC, AF_RDS, AF_IUCV, FAMILY_ISDN, FAMILY_QIPCRTR};

/* The kernel reads 32 bits of the request, whatever stands in the others. */
static const uint32_t terminal_requests[] = {TIOCSTI, TIOCLINUX};

/* A 64-bit kernel takes the calls of these, too. */
static const uint32_t other_architectures[] = {
#ifdef __x86_64__
	SCMP_ARCH_X86,
	SCMP_ARCH_X32,
#elif defined(__aarch64__)
	SCMP_ARCH_ARM,
#endif
};

static int refuse_families(scmp_filter_ctx filter)
{
	static const int calls[] = {SCMP_SYS(socket), SCMP_SYS(socketpair)};
	int result = 0;

	for (size_t i = 0; result == 0 && i < 2 * COUNT(families); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i % 2], 1,
			SCMP_A0_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)families[i / 2]));
	return result;
}

/*
 * The user's keyring of the namespace outside is still there, by its number, and may be linked by
 * all processes of the user. Who has linked it possesses what is in it.
 */
static int refuse_strange_keys(scmp_filter_ctx filter)
{
	static const uint32_t operations[] = {KEYCTL_LINK, KEYCTL_MOVE};
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT(operations); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(keyctl), 2,
			SCMP_A0_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, operations[i]),
			SCMP_A1_64(SCMP_CMP_MASKED_EQ, SERIAL_SIGN, 0));
	return result;
}

static int add_rules(scmp_filter_ctx filter, uint32_t architecture, const struct confine *confine)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT(terminal_requests); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
			SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, terminal_requests[i]));
	if (result == 0)
		result = refuse_strange_keys(filter);
	/* process 0 is the caller; without new limits it is a question */
	if (result == 0 && confine->keeps_signals_inside)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 2,
			SCMP_A0_64(SCMP_CMP_NE, 0, 0), SCMP_A2_64(SCMP_CMP_NE, 0, 0));
	if (result == 0 && confine->has_no_network)
		result = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0);
	/* for x86 libseccomp refuses all of socketcall's socket(2) with them */
	if (result == 0 && (confine->has_no_network || architecture != SCMP_ARCH_X86))
		result = refuse_families(filter);
	return result;
}

/* Add the rules for another architecture to @filter. */
static int add_architecture(
	scmp_filter_ctx filter, uint32_t architecture, const struct confine *confine)
{
	scmp_filter_ctx part = seccomp_init(SCMP_ACT_ALLOW);
	int result = part ? seccomp_arch_add(part, architecture) : -ENOMEM;

	if (result == 0)
		result = seccomp_arch_remove(part, SCMP_ARCH_NATIVE);
	if (result == 0)
		result = add_rules(part, architecture, confine);
	if (result == 0)
		result = seccomp_merge(filter, part); /* which takes it over */
	if (result < 0 && part)
		seccomp_release(part);
	return result;
}

static int filter_calls(const struct confine *confine)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int result = filter ? add_rules(filter, SCMP_ARCH_NATIVE, confine) : -ENOMEM;

	for (size_t i = 0; result == 0 && i < COUNT(other_architectures); i++)
		result = add_architecture(filter, other_architectures[i], confine);
	/* calls of an architecture that is not listed would go unseen */
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	/* before Linux 5.16 a filter without this slows every process down that has it */
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	if (result == 0)
		result = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return result;
}

static int landlock_abi(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool confine_can_keep_signals(void)
{
	return landlock_abi() >= ABI_WITH_SCOPES;
}

static void keep_signals_inside(void)
{
	/* struct landlock_ruleset_attr of ABI 6; it handles no files and no ports */
	const struct {
		uint64_t handled_access_fs, handled_access_net, scoped;
	} rules = {.scoped = SCOPE_SIGNAL};

	_cleanup_fd_ int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd >= 0)
		syscall(SYS_landlock_restrict_self, fd, 0);
}

int confine_self(const struct confine *confine)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (confine->keeps_signals_inside)
		keep_signals_inside();
	return filter_calls(confine);
}
