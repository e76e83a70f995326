/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/sshconf - any line as one of an ssh_config */
#include "sandbox/sshconf.h"

#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);

	if (!line)
		return 0;
	memcpy(line, data, size);
	line[size] = '\0';
	char **patterns = sshconf_include(line);
	/* only such a line has patterns, at least one, and none is longer than it */
	if (patterns && (!strcasestr(line, "include") || !patterns[0]))
		abort();
	for (char **pattern = patterns; pattern && *pattern; pattern++)
		if (strlen(*pattern) > size)
			abort();
	g_strfreev(patterns);
	free(line);
	return 0;
}
