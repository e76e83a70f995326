/* SPDX-License-Identifier: Apache-2.0 */
/* exit/hello - the messages of a link between an entrance and an exit */
#include "exit/hello.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"

static const char *const features[] = {"acknowledge", "ipv6", "dns"};

#define NFEATURES (sizeof(features) / sizeof(features[0]))

static unsigned feature_of(const char *word)
{
	for (size_t i = 0; word && i < NFEATURES; i++)
		if (strcmp(word, features[i]) == 0)
			return 1U << i;
	return 0;
}

/* Returns false for a member of a wrong type. */
static bool read_who(const json_t *root, const char *who, struct hello *out)
{
	const json_t *list = json_object_get(root, "features");
	const json_t *version = json_object_get(root, "version");
	const json_t *word;
	size_t i;

	if ((list && !json_is_array(list)) || (version && !json_is_string(version)))
		return false;
	if (strcmp(who, "entrance") == 0)
		out->kind = HELLO_ENTRANCE;
	else if (strcmp(who, "exit") == 0)
		out->kind = HELLO_EXIT;
	json_array_foreach(list, i, word)
	{
		out->features |= feature_of(json_string_value(word));
	}
	if (version)
		log_escape(json_string_value(version), json_string_length(version), out->version,
			sizeof(out->version));
	return true;
}

static bool read_message(const json_t *root, struct hello *out)
{
	const json_t *who = json_object_get(root, "nswrap");
	const json_t *ping = json_object_get(root, "ping"), *pong = json_object_get(root, "pong");

	if (who)
		return json_is_string(who) && read_who(root, json_string_value(who), out);
	if (ping || pong) {
		out->kind = ping ? HELLO_PING : HELLO_PONG;
		out->number = json_integer_value(ping ? ping : pong);
		return json_is_integer(ping ? ping : pong);
	}
	return json_is_object(root);
}

int hello_decode(const void *text, size_t len, struct hello *out, struct err *err)
{
	char shown[64];
	json_t *root = json_loadb(text, len, 0, NULL);

	*out = (struct hello){.kind = HELLO_OTHER};
	bool is_right = root && read_message(root, out);
	json_decref(root);
	if (is_right)
		return 0;
	log_escape(text, len < 15 ? len : 15, shown, sizeof(shown));
	return err_set(err, EPROTO, "expected who the other end is, or a ping; found \"%s\"%s",
		shown, len > 15 ? "..." : "");
}

size_t hello_encode(const struct hello *hello, char out[HELLO_TEXT_BYTES])
{
	char list[64] = "";
	size_t len = 0;

	if (hello->kind == HELLO_PING || hello->kind == HELLO_PONG)
		return (size_t)snprintf(out, HELLO_TEXT_BYTES, "{\"%s\": %lld}",
			hello->kind == HELLO_PING ? "ping" : "pong", hello->number);
	for (size_t i = 0; i < NFEATURES; i++)
		if (hello->features & 1U << i)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"",
				len > 0 ? ", " : "", features[i]);
	return (size_t)snprintf(out, HELLO_TEXT_BYTES,
		"{\"nswrap\": \"%s\", \"version\": \"%s\", \"features\": [%s]}",
		hello->kind == HELLO_EXIT ? "exit" : "entrance", hello->version, list);
}
