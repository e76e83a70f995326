/* SPDX-License-Identifier: Apache-2.0 */
/* proc/diagnose - what a host lacks for nswrap, and the command that mends it */
#include "proc/diagnose.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"

/* A sysctl file whose value forbids user namespaces. */
struct sysctl_bar {
	const char *path;
	char bad; /* first character of the forbidding value */
	const char *what;
	const char *cure;
};

static const struct sysctl_bar sysctl_bars[] = {
	{"/proc/sys/kernel/unprivileged_userns_clone", '0',
		"this system lets only root make user namespaces",
		"an administrator runs: sysctl -w kernel.unprivileged_userns_clone=1"},
	{"/proc/sys/user/max_user_namespaces", '0',
		"this system allows no user namespaces (user.max_user_namespaces is 0)",
		"an administrator runs: sysctl -w user.max_user_namespaces=15000"},
	{"/proc/sys/user/max_net_namespaces", '0',
		"this system allows no network namespaces (user.max_net_namespaces is 0)",
		"an administrator runs: sysctl -w user.max_net_namespaces=15000"},
	{"/proc/sys/user/max_mnt_namespaces", '0',
		"this system allows no mount namespaces (user.max_mnt_namespaces is 0)",
		"an administrator runs: sysctl -w user.max_mnt_namespaces=15000"},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1',
		"AppArmor takes the rights of user namespaces away from this program",
		"an administrator runs: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
};

const char *diagnose_state_name(enum diagnosis_state state)
{
	static const char *const names[] = {
		[DIAGNOSIS_FINE] = "fine",
		[DIAGNOSIS_NOTE] = "note",
		[DIAGNOSIS_WRONG] = "wrong",
	};

	return names[state];
}

static bool applies(const struct sysctl_bar *bar)
{
	char value[32];

	return fd_read_file(bar->path, value, sizeof(value)) > 0 && value[0] == bar->bad;
}

static bool is_in_container(void)
{
	return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 ||
	       access("/var/run/secrets/kubernetes.io", F_OK) == 0;
}

static int fill(struct diagnosis *out, const char *what, const char *cure)
{
	out->state = DIAGNOSIS_WRONG;
	snprintf(out->what, sizeof(out->what), "%s", what);
	snprintf(out->cure, sizeof(out->cure), "%s", cure);
	return 0;
}

int diagnose_userns(int code, struct diagnosis *out)
{
	size_t count = sizeof(sysctl_bars) / sizeof(sysctl_bars[0]);

	for (size_t i = 0; i < count; i++)
		if ((geteuid() != 0 || i > 0) && applies(&sysctl_bars[i]))
			return fill(out, sysctl_bars[i].what, sysctl_bars[i].cure);
	if (code == ENOSPC || code == EUSERS)
		return fill(out, "the limit of user or network namespaces is reached",
			"end some sandboxes, or an administrator raises user.max_user_namespaces "
			"and user.max_net_namespaces");
	if (code == EPERM && is_in_container())
		return fill(out, "this container's seccomp profile refuses user namespaces",
			"start it with: --security-opt seccomp=unconfined (docker, podman)");
	if (code == EPERM)
		return fill(out,
			"this system refuses user namespaces (a seccomp filter, or a chroot)",
			"run nswrap outside of the chroot or service that forbids them");
	if (code == EINVAL)
		return fill(out, "this kernel has no user namespaces",
			"use a kernel built with CONFIG_USER_NS and CONFIG_NET_NS");
	return -1;
}
