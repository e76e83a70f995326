/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/hosts - the hosts of a mesh that runs, as a table that people read */
#include "cmd/hosts.h"

#include <stdio.h>
#include <string.h>

#include "cmd/output.h"
#include "util/log.h"

enum column {
	COLUMN_HOST,
	COLUMN_VIP,
	COLUMN_STATE,
	COLUMN_FOR,
	COLUMN_RTT,
	COLUMN_IN,
	COLUMN_OUT,
	COLUMN_DROPS,
	COLUMN_RESTARTS,
	COLUMNS
};

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* 999, 1.2k, 34M */
static void format_count(json_int_t value, char *out, size_t cap_bytes)
{
	static const char units[] = " kMGTPE";
	double shown = (double)value;
	size_t unit = 0;

	for (; shown >= 999.5 && units[unit + 1]; unit++)
		shown /= 1000;
	snprintf(out, cap_bytes, "%.*f%.*s", unit > 0 && shown < 9.95 ? 1 : 0, shown,
		unit > 0 ? 1 : 0, units + unit);
}

/* BYTES/PACKETS */
static void format_traffic(const json_t *host, const char *way, char *out)
{
	const json_t *traffic = json_object_get(host, way);
	char bytes[16], packets[16];

	format_count(json_integer_value(json_object_get(traffic, "bytes")), bytes, sizeof(bytes));
	format_count(
		json_integer_value(json_object_get(traffic, "packets")), packets, sizeof(packets));
	snprintf(out, OUTPUT_CELL_BYTES, "%s/%s", bytes, packets);
}

static json_int_t sum_drops(const json_t *host)
{
	json_t *drops = json_object_get(host, "drops"), *value;
	json_int_t sum = 0;
	const char *cause;

	json_object_foreach(drops, cause, value) sum += json_integer_value(value);
	return sum;
}

static void format_host(const json_t *host, output_cell *cells)
{
	const json_t *rtt = json_object_get(host, "rtt_ms");
	const char *name = text_of(host, "name");

	log_escape(name, strlen(name), cells[COLUMN_HOST], OUTPUT_CELL_BYTES);
	snprintf(cells[COLUMN_VIP], OUTPUT_CELL_BYTES, "%s", text_of(host, "vip"));
	snprintf(cells[COLUMN_STATE], OUTPUT_CELL_BYTES, "%s", text_of(host, "state"));
	output_age(json_integer_value(json_object_get(host, "age")), cells[COLUMN_FOR]);
	if (json_is_number(rtt))
		snprintf(cells[COLUMN_RTT], OUTPUT_CELL_BYTES, "%.2fms", json_number_value(rtt));
	else
		strcpy(cells[COLUMN_RTT], "-");
	format_traffic(host, "in", cells[COLUMN_IN]);
	format_traffic(host, "out", cells[COLUMN_OUT]);
	format_count(sum_drops(host), cells[COLUMN_DROPS], OUTPUT_CELL_BYTES);
	snprintf(cells[COLUMN_RESTARTS], OUTPUT_CELL_BYTES, "%lld",
		(long long)json_integer_value(json_object_get(host, "restarts")));
}

void hosts_print(const json_t *status)
{
	output_cell heads[COLUMNS] = {
		"HOST", "VIP", "STATE", "FOR", "RTT", "IN", "OUT", "DROPS", "RESTARTS"};
	const json_t *hosts = json_object_get(status, "hosts");
	struct output_table table = {.count = COLUMNS};
	output_cell cells[COLUMNS];
	char reason[512];
	size_t i;
	json_t *host;

	output_fit(&table, heads);
	json_array_foreach(hosts, i, host)
	{
		format_host(host, cells);
		output_fit(&table, cells);
	}
	output_row(&table, heads, "LAST LOST");
	json_array_foreach(hosts, i, host)
	{
		const char *text = text_of(host, "reason");

		format_host(host, cells); /* again: all of them at once would take more room */
		output_row(&table, cells, log_escape(text, strlen(text), reason, sizeof(reason)));
	}
}
