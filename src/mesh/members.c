/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/members - members of a JSON object that a stranger sent, read with their types checked */
#include "mesh/members.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

#define NAME_SHOWN 40 /* bytes of a name, which the stranger may have chosen */

static const json_t *get(const struct members *from, const char *name)
{
	const json_t *value = json_object_get(from->object, name);

	return json_is_null(value) ? NULL : value;
}

int members_refuse(
	const struct members *from, const char *name, const json_t *value, const char *expected)
{
	/* "forwards[2].connect_ip", "http.listen" or "me", with what the stranger chose escaped */
	char shown_name[NAME_SHOWN], shown[PARSE_QUOTE_BYTES];
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	parse_shown(text ? text : "nothing", shown, sizeof(shown));
	free(text);
	return err_set(from->err, EINVAL, "%s%s%s: expected %s, found %s", from->of,
		from->of[0] ? "." : "", parse_shown(name, shown_name, sizeof(shown_name)), expected,
		shown);
}

int members_text(const struct members *from, const char *name, const char **out)
{
	const json_t *value = get(from, name);

	*out = json_string_value(value);
	return value && !*out ? members_refuse(from, name, value, "a text") : 0;
}

int members_bool(const struct members *from, const char *name, bool *out)
{
	const json_t *value = get(from, name);

	*out = json_is_true(value);
	if (value && !json_is_boolean(value))
		return members_refuse(from, name, value, "true or false");
	return 0;
}

int members_list(const struct members *from, const char *name, const json_t **out)
{
	*out = get(from, name);
	return *out && !json_is_array(*out) ? members_refuse(from, name, *out, "a list") : 0;
}

int members_object(const struct members *from, const char *name, struct members *out)
{
	const json_t *value = get(from, name);

	*out = (struct members){.object = value, .err = from->err};
	snprintf(out->of, sizeof(out->of), "%s", name);
	if (value && !json_is_object(value))
		return members_refuse(from, name, value, "an object");
	return 0;
}

int members_need_text(const struct members *from, const char *name, const char **out)
{
	*out = json_string_value(get(from, name));
	return *out ? 0 : members_refuse(from, name, get(from, name), "a text");
}

int members_need_int(const struct members *from, const char *name, int64_t *out)
{
	const json_t *value = get(from, name);

	if (!json_is_integer(value))
		return members_refuse(from, name, value, "a whole number");
	*out = json_integer_value(value);
	return 0;
}

int members_need_port(const struct members *from, const char *name, uint16_t *out)
{
	const json_t *value = get(from, name);
	json_int_t port = json_integer_value(value);

	if (!json_is_integer(value) || port < 1 || port > UINT16_MAX)
		return members_refuse(from, name, value, "a port from 1 to 65535");
	*out = (uint16_t)port;
	return 0;
}

int members_number(const struct members *from, const char *name, uint16_t *out)
{
	const json_t *value = get(from, name);
	json_int_t number = json_integer_value(value);

	if (value && (!json_is_integer(value) || number < 0 || number > UINT16_MAX))
		return members_refuse(from, name, value, "a whole number from 0 to 65535");
	*out = (uint16_t)number;
	return 0;
}

bool members_is_host(const char *text, struct in_addr *out)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, text, &addr) != 1)
		return false;
	if (addr.s_addr == INADDR_ANY || ntohl(addr.s_addr) >= INADDR_UNSPEC_GROUP)
		return false;
	*out = addr;
	return true;
}

int members_need_host(const struct members *from, const char *name, struct in_addr *out)
{
	const json_t *value = get(from, name);

	if (!json_is_string(value) || !members_is_host(json_string_value(value), out))
		return members_refuse(from, name, value, "an IPv4 address of a host");
	return 0;
}

int members_item(const struct members *from, const char *name, size_t place, struct members *out)
{
	const json_t *value = json_array_get(get(from, name), place);

	*out = (struct members){.object = value, .err = from->err};
	snprintf(out->of, sizeof(out->of), "%s[%zu]", name, place);
	return json_is_object(value) ? 0 : members_refuse(from, out->of, value, "an object");
}
