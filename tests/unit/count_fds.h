/* SPDX-License-Identifier: Apache-2.0 */
/* count_fds - how many descriptors this process has open, and the one that it is counted by */
#pragma once

#include <dirent.h>

static inline int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}
