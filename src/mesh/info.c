/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/info - what an agent says of itself: the data of the result of `configure` */
#include "mesh/info.h"

#include <string.h>

#include "mesh/members.h"
#include "util/log.h"

#define ROW(feature, bit, name) {FEATURE_##feature, name},
static const struct {
	enum mesh_feature feature;
	const char *name;
} features[] = {INFO_FEATURES(ROW)};
#define FEATURES (sizeof(features) / sizeof(features[0]))

const char *info_feature_name(enum mesh_feature feature)
{
	for (size_t i = 0; i < FEATURES; i++)
		if (features[i].feature == feature)
			return features[i].name;
	return "?";
}

int info_decode(const json_t *data, struct mesh_agent_info *out, struct err *err)
{
	struct members root = {.object = data, .err = err};
	const char *version = NULL, *stack = NULL, *why = NULL;
	const json_t *list;

	*out = (struct mesh_agent_info){0};
	if (data && !json_is_object(data))
		return members_refuse(&root, "data", data, "an object");
	int result = members_list(&root, "features", &list);
	if (result == 0)
		result = members_text(&root, "version", &version);
	if (result == 0)
		result = members_text(&root, "stack", &stack);
	if (result == 0)
		result = members_text(&root, "stackWhy", &why);
	if (result < 0)
		return result;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));

		if (!name)
			return members_refuse(&root, "features", list, "a list of texts");
		for (size_t j = 0; j < FEATURES; j++)
			if (strcmp(name, features[j].name) == 0)
				out->features |= features[j].feature;
	}
	if (version)
		log_escape(version, strlen(version), out->version, sizeof(out->version));
	if (stack)
		log_escape(stack, strlen(stack), out->stack, sizeof(out->stack));
	if (why)
		log_escape(why, strlen(why), out->stack_why, sizeof(out->stack_why));
	return 0;
}

json_t *info_encode(const struct mesh_agent_info *info)
{
	json_t *list = json_array();
	int failed = 0;

	for (size_t i = 0; i < FEATURES; i++)
		if (info->features & features[i].feature)
			failed |= json_array_append_new(list, json_string(features[i].name));
	json_t *data = json_pack("{s:o, s:s}", "features", list, "version", info->version);
	if (data && info->stack[0] != '\0')
		failed |= json_object_set_new(data, "stack", json_string(info->stack));
	if (data && info->stack_why[0] != '\0')
		failed |= json_object_set_new(data, "stackWhy", json_string(info->stack_why));
	if (!failed)
		return data;
	json_decref(data);
	return NULL;
}
