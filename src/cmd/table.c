/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/table - cells of the tables that people read */
#include "cmd/table.h"

#include <stdio.h>

int table_columns_of(const char *text)
{
	int columns = 0;

	for (; *text; text++)
		columns += table_starts_character(*text);
	return columns;
}

void table_format_age(long long seconds, char *out, size_t cap_bytes)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 100)
		snprintf(out, cap_bytes, "%llds", seconds);
	else if (seconds < 100 * 60)
		snprintf(out, cap_bytes, "%lldm", seconds / 60);
	else if (seconds < 48 * 3600)
		snprintf(out, cap_bytes, "%lldh", seconds / 3600);
	else
		snprintf(out, cap_bytes, "%lldd", seconds / 86400);
}
