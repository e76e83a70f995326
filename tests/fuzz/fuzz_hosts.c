/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_hosts - any text as a host's hosts file and nsswitch.conf: what is ours stays first, and
 * alone */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sandbox/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#define OURS "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.0.1 box\n"

static void check_hosts(const char *text)
{
	const struct hosts_name name = {"box", addr_loopback4(0)};
	char *made = hosts_format(text, &name, 1), *rest;

	must(made && strncmp(made, OURS, strlen(OURS)) == 0);
	for (char *line = strtok_r(made + strlen(OURS), "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		char *word, *words;

		must(!strchr(line, '#'));
		must(strtok_r(line, " ", &words));
		must((word = strtok_r(NULL, " ", &words)));
		for (; word; word = strtok_r(NULL, " ", &words))
			must(strcasecmp(word, "box") != 0 && strcasecmp(word, "localhost") != 0);
	}
	free(made);
}

static void check_switch(const char *text)
{
	char *made = hosts_format_switch(text, false), *alone = hosts_format_switch(text, true);
	const char *line = strncmp(made, "hosts:", 6) == 0 ? made : strstr(made, "\nhosts:");

	must(made && alone && line);
	line += *line == '\n';
	must(strncmp(line, "hosts: files", strlen("hosts: files")) == 0);
	must(strstr(alone, "hosts: files dns\n"));
	free(made);
	free(alone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *names[4];

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_hosts(text);
	check_switch(text);
	size_t count = hosts_own_names(text, "box.corp", names, 4);
	must(count >= 2 && count <= 4 && strcmp(names[0], "box.corp") == 0 &&
		strcmp(names[1], "box") == 0);
	while (count > 0)
		free(names[--count]);
	free(text);
	return 0;
}
