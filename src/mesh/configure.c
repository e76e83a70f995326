/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/configure - the arguments of `configure` in JSON, as a NoRouter manager writes them */
#include "mesh/configure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/members.h"

#define HOST_NAME_MAX_BYTES 253
#define LETTERS             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS              "0123456789"

/* --- decoding ----------------------------------------------------------------------------- */

static int no_memory(const struct members *from)
{
	return err_sys(from->err, ENOMEM, "cannot read the configuration");
}

static int keep(const struct members *from, const char *text, char **out)
{
	*out = strdup(text);
	return *out ? 0 : no_memory(from);
}

/* Digits and dots are an address or a mistake: a resolver would make one out of "127.1" as well. */
static bool is_connectable(const char *text)
{
	size_t len = strlen(text);
	struct in_addr addr;
	struct addr addr6;

	if (strspn(text, DIGITS ".") == len)
		return inet_pton(AF_INET, text, &addr) == 1;
	if (strchr(text, ':'))
		return addr_parse(text, &addr6, NULL) == 0;
	return len <= HOST_NAME_MAX_BYTES && strspn(text, LETTERS DIGITS ".-_") == len;
}

static int decode_text(const struct members *from, const struct config_field *field, char **out)
{
	bool is_target = field->kind == CONFIG_TARGET;
	const char *text;
	int result = is_target ? members_need_text(from, field->name, &text)
			       : members_text(from, field->name, &text);

	if (result < 0 || !text || (!is_target && !text[0]))
		return result;
	if (is_target && !text[0]) /* where NoRouter dials then */
		text = "127.0.0.1";
	if (is_target && !is_connectable(text))
		return members_refuse(from, field->name, json_object_get(from->object, field->name),
			"an IPv4 or IPv6 address or a host name");
	return keep(from, text, out);
}

static int decode_texts(const struct members *from, const char *name, char ***out)
{
	const json_t *list;
	int result = members_list(from, name, &list);
	size_t count = json_array_size(list);

	if (result < 0 || count == 0)
		return result;
	*out = calloc(count + 1, sizeof(**out));
	if (!*out)
		return no_memory(from);
	for (size_t i = 0; result == 0 && i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		result = text ? keep(from, text, &(*out)[i])
			      : members_refuse(from, name, list, "a list of texts");
	}
	return result;
}

static int decode_proto(const struct members *from, const char *name, enum proto *out)
{
	const char *text;
	int result = members_text(from, name, &text);
	bool is_udp = text && strcmp(text, "udp") == 0;

	*out = is_udp ? PROTO_UDP : PROTO_TCP;
	if (result < 0 || !text || !text[0] || is_udp || strcmp(text, "tcp") == 0)
		return result;
	return members_refuse(
		from, name, json_object_get(from->object, name), "\"tcp\" or \"udp\"");
}

static int decode_members(const struct members *from, const struct config_field *fields, void *out);

static int decode_list(const struct members *from, const struct config_field *field, void *out)
{
	const json_t *list;
	struct members item;
	int result = members_list(from, field->name, &list);
	size_t count = json_array_size(list);

	if (result < 0 || count == 0)
		return result;
	if (!config_make_room(field, out, count))
		return no_memory(from);
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = members_item(from, field->name, i, &item);
		if (result == 0)
			result = decode_members(&item, field->items, config_item(field, out, i));
	}
	return result;
}

/* A name ends up in files of lines and on terminals. */
static bool is_name(const char *text)
{
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return text[0] != '\0' && strlen(text) <= HOST_NAME_MAX_BYTES;
}

static int decode_names(const struct members *from, const struct config_field *field, void *out)
{
	struct members map;
	const char *name;
	json_t *value;
	size_t i = 0;
	int result = members_object(from, field->name, &map);

	if (result < 0 || json_object_size(map.object) == 0)
		return result;
	if (!config_make_room(field, out, json_object_size(map.object)))
		return no_memory(from);
	json_object_foreach((json_t *)map.object, name, value)
	{
		struct mesh_name *entry = config_item(field, out, i++);

		if (!is_name(name))
			return members_refuse(&map, name, value,
				"a name of 1 to 253 bytes without control characters");
		result = members_need_host(&map, name, &entry->ip);
		if (result == 0)
			result = keep(&map, name, &entry->name);
		if (result < 0)
			break;
	}
	return result;
}

static int decode_member(const struct members *from, const struct config_field *field, void *out)
{
	void *to = (char *)out + field->offset;

	switch (field->kind) {
	case CONFIG_BOOL:
		return members_bool(from, field->name, to);
	case CONFIG_TEXT:
	case CONFIG_TARGET:
		return decode_text(from, field, to);
	case CONFIG_TEXTS:
		return decode_texts(from, field->name, to);
	case CONFIG_IP:
		return members_need_host(from, field->name, to);
	case CONFIG_PORT:
		return members_need_port(from, field->name, to);
	case CONFIG_NUMBER:
		return members_number(from, field->name, to);
	case CONFIG_PROTO:
		return decode_proto(from, field->name, to);
	case CONFIG_LIST:
		return decode_list(from, field, out);
	case CONFIG_NAMES:
		return decode_names(from, field, out);
	}
	return -EINVAL;
}

static int decode_members(const struct members *from, const struct config_field *fields, void *out)
{
	int result = 0;

	for (const struct config_field *field = fields; result == 0 && field->name; field++) {
		struct members object = *from;

		if (field->section)
			result = members_object(from, field->section, &object);
		if (result == 0)
			result = decode_member(&object, field, out);
	}
	return result;
}

int configure_decode(const json_t *args, struct mesh_config *out, struct err *err)
{
	struct members root = {.object = args, .err = err};

	*out = (struct mesh_config){0};
	if (!json_is_object(args))
		return members_refuse(&root, "args", args, "an object");
	int result = decode_members(&root, config_fields, out);
	if (result < 0)
		config_free(out);
	return result;
}

/* --- encoding ----------------------------------------------------------------------------- */

/*
 * Helpers return NULL when memory ran out. jansson's setters take that for a value that cannot be,
 * and fail as well: only the ends of a chain are looked at.
 */

static json_t *encode_ip(struct in_addr ip)
{
	char text[INET_ADDRSTRLEN];

	return json_string(inet_ntop(AF_INET, &ip, text, sizeof(text)));
}

/* @value, or NULL after freeing it. */
static json_t *unless(int failed, json_t *value)
{
	if (!failed)
		return value;
	json_decref(value);
	return NULL;
}

static json_t *encode_texts(char *const *texts)
{
	json_t *list = texts && texts[0] ? json_array() : json_null();
	int failed = 0;

	for (char *const *text = texts; text && *text; text++)
		failed |= json_array_append_new(list, json_string(*text));
	return unless(failed, list);
}

static bool may_be_told(const struct config_field *field, const void *of, unsigned features)
{
	return (config_told_with(field, of) & ~features) == 0;
}

static int encode_members(
	json_t *into, const struct config_field *fields, const void *of, unsigned features);

static json_t *encode_list(const struct config_field *field, const void *of, unsigned features)
{
	json_t *list = json_array();
	int failed = 0;

	for (size_t i = 0; i < config_count(field, of); i++) {
		const void *item = config_item(field, of, i);
		const struct config_field *part = field->items;

		while (part->name && may_be_told(part, item, features))
			part++;
		if (part->name)
			continue;
		json_t *object = json_object();
		failed |= encode_members(object, field->items, item, features);
		failed |= json_array_append_new(list, object);
	}
	return unless(failed, list);
}

static json_t *encode_names(const struct config_field *field, const void *of)
{
	json_t *map = json_object();
	int failed = 0;

	for (size_t i = 0; i < config_count(field, of); i++) {
		const struct mesh_name *entry = config_item(field, of, i);

		failed |= json_object_set_new(map, entry->name, encode_ip(entry->ip));
	}
	return unless(failed, map);
}

static json_t *encode_member(const struct config_field *field, const void *of, unsigned features)
{
	const void *value = (const char *)of + field->offset;

	switch (field->kind) {
	case CONFIG_BOOL:
		return json_boolean(*(const bool *)value);
	case CONFIG_TEXT:
	case CONFIG_TARGET:
		return json_string(*(char *const *)value);
	case CONFIG_TEXTS:
		return encode_texts(*(char **const *)value);
	case CONFIG_IP:
		return encode_ip(*(const struct in_addr *)value);
	case CONFIG_PORT:
	case CONFIG_NUMBER:
		return json_integer(*(const uint16_t *)value);
	case CONFIG_PROTO:
		return json_string(addr_proto_name(*(const enum proto *)value));
	case CONFIG_LIST:
		return encode_list(field, of, features);
	case CONFIG_NAMES:
		return encode_names(field, of);
	}
	return NULL;
}

/* Like NoRouter's: off, a text that is not given and a list without items are not there at all. */
static int put_member(
	json_t *object, const struct config_field *field, const void *of, unsigned features)
{
	bool is_optional = field->items || field->kind == CONFIG_BOOL ||
			   field->kind == CONFIG_TEXT || field->kind == CONFIG_NUMBER ||
			   (field->kind == CONFIG_TEXTS && field->told_with != 0);

	if (!may_be_told(field, of, features) || (is_optional && !config_is_given(field, of)))
		return 0;
	json_t *value = encode_member(field, of, features);
	if (field->items && value && json_array_size(value) + json_object_size(value) == 0) {
		json_decref(value);
		return 0;
	}
	return json_object_set_new(object, field->name, value);
}

/* A section of NoRouter's is always there: {} where nothing is said. */
static int encode_members(
	json_t *into, const struct config_field *fields, const void *of, unsigned features)
{
	int failed = 0;

	for (const struct config_field *field = fields; field->name; field++) {
		json_t *object = into;

		if (field->section && field->told_with != 0 &&
			(!config_is_given(field, of) || !may_be_told(field, of, features)))
			continue;
		if (field->section && !(object = json_object_get(into, field->section))) {
			failed |= json_object_set_new(into, field->section, json_object());
			object = json_object_get(into, field->section);
		}
		failed |= put_member(object, field, of, features);
	}
	return failed;
}

json_t *configure_encode(const struct mesh_config *config, unsigned features)
{
	json_t *args = json_object();

	return unless(encode_members(args, config_fields, config, features), args);
}

bool configure_tells_same(const struct mesh_config *a, unsigned a_features,
	const struct mesh_config *b, unsigned b_features)
{
	json_t *of_a = configure_encode(a, a_features);
	json_t *of_b = configure_encode(b, b_features);
	bool is_same = json_equal(of_a, of_b);

	json_decref(of_a);
	json_decref(of_b);
	return is_same;
}
