/* SPDX-License-Identifier: Apache-2.0 */
/* proc/inherited - children that were there before this program */
#include "proc/inherited.h"

#include "proc/tree.h"

void inherited_find(struct inherited *inherited)
{
	ssize_t count = tree_children(inherited->pids, INHERITED_MAX);

	inherited->count = count > 0 ? (size_t)count : 0;
}

bool inherited_has(const struct inherited *inherited, pid_t pid)
{
	for (size_t i = 0; i < inherited->count; i++)
		if (inherited->pids[i] == pid)
			return true;
	return false;
}

void inherited_forget(struct inherited *inherited, pid_t pid)
{
	for (size_t i = 0; i < inherited->count; i++)
		if (inherited->pids[i] == pid) {
			inherited->pids[i] = inherited->pids[--inherited->count];
			return;
		}
}
