/* SPDX-License-Identifier: Apache-2.0 */
/* proc/ns - make namespaces, map the caller's ids into them, and say why a host refuses them */
#include "proc/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proc/clone.h"
#include "util/fd.h"

/* A sysctl file whose value forbids user namespaces. */
struct sysctl_bar {
	const char *path;
	char bad; /* first character of the forbidding value */
	struct ns_refusal refusal;
};

static const struct sysctl_bar sysctl_bars[] = {
	{"/proc/sys/kernel/unprivileged_userns_clone", '0',
		{"this system lets only root make user namespaces",
			"an administrator runs: sysctl -w kernel.unprivileged_userns_clone=1"}},
	{"/proc/sys/user/max_user_namespaces", '0',
		{"this system allows no user namespaces (user.max_user_namespaces is 0)",
			"an administrator runs: sysctl -w user.max_user_namespaces=15000"}},
	{"/proc/sys/user/max_net_namespaces", '0',
		{"this system allows no network namespaces (user.max_net_namespaces is 0)",
			"an administrator runs: sysctl -w user.max_net_namespaces=15000"}},
	{"/proc/sys/user/max_mnt_namespaces", '0',
		{"this system allows no mount namespaces (user.max_mnt_namespaces is 0)",
			"an administrator runs: sysctl -w user.max_mnt_namespaces=15000"}},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1',
		{"AppArmor takes the rights of user namespaces away from this program",
			"an administrator runs: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"}},
};

/* Where no sysctl file forbids them: what the errno says. */
static const struct {
	int code;
	bool in_container;
	struct ns_refusal refusal;
} by_code[] = {
	{EPERM, true,
		{"this container's seccomp profile refuses user namespaces",
			"start it with: --security-opt seccomp=unconfined (docker, podman)"}},
	{EPERM, false,
		{"this system refuses user namespaces (a seccomp filter, or a chroot)",
			"run nswrap outside of the chroot or service that forbids them"}},
	{EINVAL, false,
		{"this kernel has no user namespaces",
			"use a kernel built with CONFIG_USER_NS and CONFIG_NET_NS"}},
	{ENOSPC, false,
		{"the limit of user or network namespaces is reached",
			"end some sandboxes, or an administrator raises user.max_user_namespaces "
			"and user.max_net_namespaces"}},
};

static bool applies(const struct sysctl_bar *bar)
{
	char value[32];

	return fd_read_file(bar->path, value, sizeof(value)) > 0 && value[0] == bar->bad;
}

/* The caller has no number here: what needs one, as a namespace its owner, is refused. */
static const struct ns_refusal unmapped = {"no user is mapped in this user namespace",
	"make it with a mapping, such as: unshare --map-current-user"};

static bool is_unmapped(void)
{
	char map[128];

	return fd_read_file("/proc/self/uid_map", map, sizeof(map)) == 0;
}

static bool is_in_container(void)
{
	return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 ||
	       access("/var/run/secrets/kubernetes.io", F_OK) == 0;
}

const struct ns_refusal *ns_diagnose(int code)
{
	for (size_t i = 0; i < sizeof(sysctl_bars) / sizeof(sysctl_bars[0]); i++)
		if ((geteuid() != 0 || i > 0) && applies(&sysctl_bars[i]))
			return &sysctl_bars[i].refusal;
	if (code == EPERM && is_unmapped())
		return &unmapped;
	if (code == EUSERS) /* before Linux 4.9 */
		code = ENOSPC;
	for (size_t i = 0; i < sizeof(by_code) / sizeof(by_code[0]); i++)
		if (by_code[i].code == code && (!by_code[i].in_container || is_in_container()))
			return &by_code[i].refusal;
	return NULL;
}

int ns_explain(int code, struct err *err)
{
	const struct ns_refusal *refusal = ns_diagnose(code);

	return refusal ? err_set(err, code, "%s; %s", refusal->what, refusal->cure)
		       : err_sys(err, code, "cannot make a user and network namespace");
}

pid_t ns_fork(int flags, struct err *err)
{
	pid_t pid = clone_fork((unsigned long)flags | SIGCHLD, NULL);

	return pid < 0 ? ns_explain(errno, err) : pid;
}

static int write_proc(const char *path, const char *text)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int ns_map_ids(uid_t outer_uid, gid_t outer_gid, int is_root, struct err *err)
{
	char uid_map[64], gid_map[64];

	snprintf(uid_map, sizeof(uid_map), "%u %u 1\n", is_root ? 0 : outer_uid, outer_uid);
	snprintf(gid_map, sizeof(gid_map), "%u %u 1\n", is_root ? 0 : outer_gid, outer_gid);
	int result = write_proc("/proc/self/setgroups", "deny");
	if (result == 0)
		result = write_proc("/proc/self/uid_map", uid_map);
	if (result == 0)
		result = write_proc("/proc/self/gid_map", gid_map);
	return result < 0 ? ns_explain(-result, err) : 0;
}
