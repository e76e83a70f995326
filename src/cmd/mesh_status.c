/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh_status - all that a mesh says of its hosts, in as many answers as that takes */
#include "cmd/mesh_status.h"

int mesh_status_ask(int (*ask)(void *owner, json_t *question, json_t **answer, struct err *err),
	void *owner, json_t **out, struct err *err)
{
	json_t *part, *hosts = NULL;
	size_t count, total;

	*out = NULL;
	do {
		const json_int_t from = (json_int_t)json_array_size(hosts);
		int result = ask(
			owner, json_pack("{s:s, s:I}", "op", "status", "from", from), &part, err);

		if (result < 0) {
			json_decref(*out);
			*out = NULL;
			return result;
		}
		json_t *more = json_object_get(part, "hosts");
		count = json_array_size(more);
		total = (size_t)json_integer_value(json_object_get(part, "total"));
		if (*out) {
			json_array_extend(hosts, more);
			json_decref(part);
		} else {
			*out = part;
			hosts = more;
		}
	} while (count > 0 && json_array_size(hosts) < total);
	return 0;
}
