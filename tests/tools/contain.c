/* SPDX-License-Identifier: Apache-2.0 */
/* tools/contain - run a program with what containers are refused by default: contain PROGRAM... */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * The filter is what docker's and podman's defaults come to for a process without capabilities:
 * EPERM for what makes or enters namespaces, mounts, or asks the kernel for what is not a
 * container's; ENOSYS for clone3, whose flags no filter sees, so that the C library uses clone.
 */
static const char *const refused[] = {"acct", "add_key", "bpf", "delete_module", "fanotify_init",
	"finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter",
	"io_uring_register", "io_uring_setup", "kexec_load", "keyctl", "lookup_dcookie", "mount",
	"mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open",
	"pivot_root", "quotactl", "reboot", "request_key", "sethostname", "setdomainname", "setns",
	"settimeofday", "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd",
	"vhangup"};

#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | \
		CLONE_NEWCGROUP)

__attribute__((noreturn)) static void die(const char *what, int result)
{
	errno = result < 0 ? -result : errno;
	perror(what);
	exit(2);
}

static void refuse(scmp_filter_ctx filter, const char *name, int code)
{
	int result = seccomp_rule_add(
		filter, SCMP_ACT_ERRNO((uint32_t)code), seccomp_syscall_resolve_name(name), 0);

	/* another kind of machine may not have it */
	if (result < 0 && result != -EDOM)
		die(name, result);
}

/* One bit of the flags is enough, and a rule compares all of those it masks: so one rule a bit. */
static void refuse_new_namespaces(scmp_filter_ctx filter)
{
	for (unsigned long bit = 1; bit != 0 && bit <= NEW_NAMESPACES; bit <<= 1) {
		if (!(NEW_NAMESPACES & bit))
			continue;
		int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
		if (result < 0)
			die("clone", result);
	}
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (argc < 2 || !filter) {
		fprintf(stderr, "contain PROGRAM [ARG...]\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		refuse(filter, refused[i], EPERM);
	refuse(filter, "clone3", ENOSYS);
	refuse_new_namespaces(filter);
	int result = seccomp_load(filter);
	if (result < 0)
		die("seccomp", result);
	seccomp_release(filter);
	execvp(argv[1], argv + 1);
	die(argv[1], 0);
}
