/* SPDX-License-Identifier: Apache-2.0 */
/* proc/rights - give up capabilities, privileges and descriptors */
#include "proc/rights.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int drop_bounding_set(void)
{
	for (cap_value_t cap = 0;; cap++) {
		if (cap_drop_bound(cap) == 0)
			continue;
		if (errno == EINVAL) /* past the kernel's last one */
			return 0;
		/* EPERM: no CAP_SETPCAP, so it could not be used for anything either */
		return errno == EPERM ? 0 : -errno;
	}
}

/* Effective and permitted are @kept from now on, in the words of cap_from_text(3). */
static int set_capabilities(const char *kept)
{
	cap_t caps = cap_from_text(kept);
	int result = caps && cap_set_proc(caps) == 0 ? 0 : -errno;

	cap_free(caps);
	return result;
}

static int drop(bool keeps_bounding, const char *kept)
{
	int result = keeps_bounding ? 0 : drop_bounding_set();

	if (result < 0)
		return result;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	result = set_capabilities(kept);
	if (result < 0)
		return result;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int rights_drop_all(void)
{
	return drop(false, "=");
}

int rights_drop_command(bool keeps_bounding)
{
	return drop(keeps_bounding, "=");
}

int rights_keep_net_admin(void)
{
	return drop(false, "cap_net_admin=ep");
}

int rights_hide(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

static int close_between(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	/* before Linux 5.9 */
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (last >= limit.rlim_cur)
		last = (unsigned)limit.rlim_cur - 1;
	for (unsigned fd = first; fd <= last; fd++)
		close((int)fd);
	return 0;
}

int rights_keep_fds(const int *keep, size_t nkeep)
{
	unsigned first = 3;

	for (;;) {
		unsigned next = UINT_MAX;

		for (size_t i = 0; i < nkeep; i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= first && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next == UINT_MAX)
			return close_between(first, UINT_MAX);
		int result = close_between(first, next - 1);
		if (result < 0)
			return result;
		first = next + 1;
	}
}

size_t rights_raise_fd_limit(size_t max)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	limit.rlim_cur = limit.rlim_max < max ? limit.rlim_max : max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > INT_MAX ? INT_MAX : (size_t)limit.rlim_cur;
}
