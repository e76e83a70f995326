/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/reload - what a manifest that has changed means for a host that runs */
#include "mesh/manager/reload.h"

#include <string.h>

#include "mesh/configure.h"

/* Is number @host told something else now than number @old was, given what its agent can do? */
static bool is_told_else(const struct manifest *before, size_t old, const struct manifest *after,
	size_t host, unsigned features)
{
	struct mesh_config was = {0}, is = {0};
	bool differs = true;

	if (manifest_configure(before, old, &was) == 0 && manifest_configure(after, host, &is) == 0)
		differs = !configure_tells_same(&was, features, &is, features);
	config_free(&was);
	config_free(&is);
	return differs;
}

int reload_find(const struct manifest *before, const struct manifest *after, size_t host)
{
	for (size_t i = 0; i < before->nhosts; i++)
		if (strcmp(before->hosts[i].name, after->hosts[host].name) == 0)
			return (int)i;
	return RELOAD_NOBODY;
}

enum reload_change reload_compare(const struct reload_host *known, const struct manifest *before,
	size_t old, const struct manifest *after, size_t host)
{
	const struct manifest_host *was = &before->hosts[old], *is = &after->hosts[host];
	bool is_equal = manifest_host_equal(was, is);

	if (was->vip.s_addr != is->vip.s_addr || !manifest_texts_equal(was->cmd, is->cmd))
		return RELOAD_RESTART;
	if (!is_told_else(before, old, after, host, known->features))
		return known->is_down && !is_equal ? RELOAD_RESTART : RELOAD_NOTHING;
	return is_equal || known->can_reconfigure ? RELOAD_TELL : RELOAD_RESTART;
}
