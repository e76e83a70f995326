/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/placeholder - ports in the arguments of COMMAND: {guest-port}, {host-port:2} */
#include "sandbox/placeholder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

struct placeholder {
	size_t len; /* of the text, brackets included; 0: none here */
	bool is_guest;
	unsigned long index; /* from 1 */
};

/* Is there a placeholder at the start of @text? */
static struct placeholder match(const char *text)
{
	static const char *const words[] = {"host-port", "guest-port"};
	struct placeholder found = {.index = 1};
	char number[8];
	char close = text[0] == '{' ? '}' : '>';

	if (text[0] != '{' && text[0] != '<')
		return found;
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(words[i]);
		const char *rest = text + 1 + len;

		if (strncmp(text + 1, words[i], len) != 0)
			continue;
		found.is_guest = i == 1;
		if (*rest == ':') {
			size_t digits = strspn(++rest, "0123456789");
			if (digits == 0 || digits >= sizeof(number))
				return found;
			memcpy(number, rest, digits);
			number[digits] = '\0';
			if (parse_uint(number, FORWARD_MAX, &found.index) < 0)
				found.index = 0;
			rest += digits;
		}
		if (*rest == close)
			found.len = (size_t)(rest + 1 - text);
		return found;
	}
	return found;
}

static int check_index(
	const struct placeholder *found, const char *text, size_t count, struct err *err)
{
	if (found->index >= 1 && found->index <= count)
		return 0;
	return err_set(err, EINVAL, "%.*s in the command: there %s", (int)found->len, text,
		count == 0   ? "is no forward (-p, -P or -f)"
		: count == 1 ? "is only one forward"
			     : "are not that many forwards");
}

int placeholder_check(char *const *texts, size_t count, struct err *err)
{
	for (; *texts; texts++) {
		for (const char *at = *texts; *at; at++) {
			struct placeholder found = match(at);

			if (found.len > 0 && check_index(&found, at, count, err) < 0)
				return -EINVAL;
		}
	}
	return 0;
}

static char *expand(const char *text, const struct forward_list *forwards, struct err *err)
{
	char *out = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&out, &len);

	if (!stream) {
		err_sys(err, ENOMEM, "cannot expand the command");
		return NULL;
	}
	while (*text) {
		struct placeholder found = match(text);

		if (found.len == 0) {
			fputc(*text++, stream);
			continue;
		}
		if (check_index(&found, text, forwards->count, err) < 0) {
			fclose(stream);
			free(out);
			return NULL;
		}
		const struct forward_spec *spec = &forwards->items[found.index - 1];
		if (spec->host.family == AF_UNIX && !found.is_guest)
			fputs(spec->host.local.sun_path, stream);
		else
			fprintf(stream, "%d",
				found.is_guest ? spec->guest_port : addr_port(&spec->host));
		text += found.len;
	}
	if (fclose(stream) != 0) {
		free(out);
		err_sys(err, ENOMEM, "cannot expand the command");
		return NULL;
	}
	return out;
}

char **placeholder_expand_list(
	char *const *texts, const struct forward_list *forwards, struct err *err)
{
	size_t count = 0;

	while (texts[count])
		count++;
	char **out = calloc(count + 1, sizeof(*out));
	if (!out) {
		err_sys(err, ENOMEM, "cannot expand the command");
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		out[i] = expand(texts[i], forwards, err);
		if (!out[i]) {
			placeholder_free_list(out);
			return NULL;
		}
	}
	return out;
}

void placeholder_free_list(char **texts)
{
	if (!texts)
		return;
	for (char **text = texts; *text; text++)
		free(*text);
	free(texts);
}
