/* SPDX-License-Identifier: Apache-2.0 */
/* proc/confine - keep a program from what no namespace keeps it from */
#include "proc/confine.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

#define ALG_KEY_BY_SERIAL 9 /* ALG_SET_KEY_BY_KEY_SERIAL */

/* What processes of its user may do with a key, keyrings(7) */
#define MAY_READ   0x02u
#define MAY_WRITE  0x04u
#define MAY_SEARCH 0x08u /* and with that use and invalidate it */
#define MAY_LINK   0x10u
#define MAY_SET    0x20u /* its permissions, too */

#define STRANGE_MAX 16   /* libseccomp takes 2 ms for so many, 0.2 for the two of most users */
#define LINES_MAX   1000 /* of /proc/keys */
#define LINE_BYTES  4352 /* with a description of 4095 */

/* Those that COMMAND could use although it has not been given them. */
struct strange_keys {
	bool is_known; /* else they could be any */
	size_t count;
	uint32_t serials[STRANGE_MAX + 1];
};

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

static bool is_within_reach(uint32_t permissions, const char *type)
{
	uint32_t of_user = permissions >> 16, matters = MAY_WRITE | MAY_SEARCH | MAY_LINK | MAY_SET;

	if (strcmp(type, "keyring") != 0)
		matters |= MAY_READ;
	/* the kernel's public keys, of which there are many: nothing is read from them */
	return strcmp(type, "asymmetri") != 0 && of_user & matters;
}

/* A line of /proc/keys may be a piece of a description, which any text can be. */
static bool is_key(uint32_t serial)
{
	return serial != 0 && serial <= INT32_MAX &&
	       syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, NULL, 0) > 0;
}

/*
 * The user's keyring of the namespace outside is still there, by its number, and all processes of
 * the user may link it. Who has linked it possesses what is in it.
 */
static void find_strange_keys(struct strange_keys *keys)
{
	FILE *file = fopen("/proc/keys", "re");
	char line[LINE_BYTES], type[10];
	uint32_t serial, permissions;
	size_t nlines = 0;

	keys->count = 0;
	while (file && nlines < LINES_MAX && keys->count <= STRANGE_MAX &&
		fgets(line, sizeof(line), file)) {
		nlines++;
		/* ID Flags Usage Timeout Permissions UID GID Type Description, proc_keys(5) */
		if (sscanf(line, "%8" SCNx32 " %*s %*s %*s %8" SCNx32 " %*s %*s %9s", &serial,
			    &permissions, type) == 3 &&
			is_within_reach(permissions, type) && is_key(serial))
			keys->serials[keys->count++] = serial;
	}
	if (file)
		fclose(file);
	/* where it is covered it is empty; else our session's keyring is there, or the user's */
	keys->is_known = nlines > 0 && nlines < LINES_MAX && keys->count <= STRANGE_MAX;
}

/* They could be any; so it is as with a kernel that has none. */
static int refuse_all_keys(scmp_filter_ctx filter)
{
	static const int calls[] = {SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key)};
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT(calls); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), calls[i], 0);
	return result;
}

/* These have the numbers of keys in memory, which no filter sees: one computes what a key says. */
static int refuse_hidden_numbers(scmp_filter_ctx filter)
{
	static const uint32_t operations[] = {KEYCTL_DH_COMPUTE, KEYCTL_PKEY_ENCRYPT,
		KEYCTL_PKEY_DECRYPT, KEYCTL_PKEY_SIGN, KEYCTL_PKEY_VERIFY};
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT(operations); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(keyctl), 1,
			SCMP_A0_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, operations[i]));
	return result;
}

/* As those of keyctl: a cipher's key is one of the keyrings'. */
static int refuse_cipher_keys(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(setsockopt), 2,
		SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, SOL_ALG),
		SCMP_A2_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, ALG_KEY_BY_SERIAL));
}

/*
 * Whatever is to be done. An address or a length that happens to be such a number is one in a
 * thousand million.
 */
static int refuse_strange_keys(scmp_filter_ctx filter, const struct strange_keys *keys)
{
	static const struct {
		int call;
		unsigned argument;
	} places[] = {
		{SCMP_SYS(keyctl), 1},
		{SCMP_SYS(keyctl), 2},
		{SCMP_SYS(keyctl), 3},
		{SCMP_SYS(keyctl), 4},
		{SCMP_SYS(add_key), 4},
		{SCMP_SYS(request_key), 3},
	};
	int result;

	if (!keys->is_known)
		return refuse_all_keys(filter);
	result = refuse_hidden_numbers(filter);
	for (size_t i = 0; result == 0 && i < keys->count * COUNT(places); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES),
			places[i % COUNT(places)].call, 1,
			SCMP_CMP64(places[i % COUNT(places)].argument, SCMP_CMP_MASKED_EQ,
				UINT32_MAX, keys->serials[i / COUNT(places)]));
	return result;
}

static int add_rules(scmp_filter_ctx filter, uint32_t architecture, const struct confine *confine,
	const struct strange_keys *keys)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT(terminal_requests); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
			SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, terminal_requests[i]));
	if (result == 0)
		result = refuse_strange_keys(filter, keys);
	/* process 0 is the caller; without new limits it is a question */
	if (result == 0 && confine->keeps_signals_inside)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 2,
			SCMP_A0_64(SCMP_CMP_NE, 0, 0), SCMP_A2_64(SCMP_CMP_NE, 0, 0));
	if (result == 0 && confine->has_no_network)
		result = seccomp_rule_add(
			filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0);
	/* for x86 libseccomp refuses all of socketcall's socket(2) and setsockopt(2) with them */
	if (confine->has_no_network || architecture != SCMP_ARCH_X86) {
		if (result == 0)
			result = refuse_families(filter);
		if (result == 0)
			result = refuse_cipher_keys(filter);
	}
	return result;
}

/* Add the rules for another architecture to @filter. */
static int add_architecture(scmp_filter_ctx filter, uint32_t architecture,
	const struct confine *confine, const struct strange_keys *keys)
{
	scmp_filter_ctx part = seccomp_init(SCMP_ACT_ALLOW);
	int result = part ? seccomp_arch_add(part, architecture) : -ENOMEM;

	if (result == 0)
		result = seccomp_arch_remove(part, SCMP_ARCH_NATIVE);
	if (result == 0)
		result = add_rules(part, architecture, confine, keys);
	if (result == 0)
		result = seccomp_merge(filter, part); /* which takes it over */
	if (result < 0 && part)
		seccomp_release(part);
	return result;
}

static int add_all_rules(scmp_filter_ctx filter, const struct confine *confine)
{
	struct strange_keys keys;

	find_strange_keys(&keys);
	int result = add_rules(filter, SCMP_ARCH_NATIVE, confine, &keys);
	for (size_t i = 0; result == 0 && i < COUNT(other_architectures); i++)
		result = add_architecture(filter, other_architectures[i], confine, &keys);
	/* calls of an architecture that is not listed would go unseen */
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	return result;
}

/*
 * What libseccomp makes of the rules. seccomp_load() would make it after the fork. It comes as one
 * message: a file would be cut at a limit for files (RLIMIT_FSIZE), which is COMMAND's to have.
 */
static int export_filter(scmp_filter_ctx filter, struct confine *confine)
{
	const size_t bytes_max = BPF_MAXINSNS * sizeof(struct sock_filter);
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	_cleanup_fd_ int in = ends[0], out = ends[1];
	int result = seccomp_export_bpf(filter, in);
	if (result < 0)
		return result;
	struct sock_filter *program = malloc(bytes_max);
	ssize_t bytes = program ? recv(out, program, bytes_max, MSG_DONTWAIT) : -1;
	if (bytes <= 0) {
		free(program);
		return -ENOMEM;
	}
	confine->filter = program;
	confine->filter_len = (unsigned short)((size_t)bytes / sizeof(*program));
	return 0;
}

static int make_filter(struct confine *confine)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int result = filter ? add_all_rules(filter, confine) : -ENOMEM;

	if (result == 0)
		result = export_filter(filter, confine);
	if (filter)
		seccomp_release(filter);
	return result;
}

void confine_make_filter(struct confine *confine)
{
	make_filter(confine);
}

static int load_filter(const struct confine *confine)
{
	const struct sock_fprog program = {confine->filter_len, confine->filter};

	/* before Linux 5.16 a filter without this flag slows every process down that has it */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		       &program) < 0
		       ? -errno
		       : 0;
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

void confine_prepare(void)
{
	syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1);
}

int confine_self(const struct confine *confine)
{
	struct confine own = *confine;
	int result = 0;

	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (confine->keeps_signals_inside)
		keep_signals_inside();
	if (!confine->filter)
		result = make_filter(&own);
	if (result == 0)
		result = load_filter(&own);
	if (!confine->filter)
		free(own.filter);
	return result;
}
