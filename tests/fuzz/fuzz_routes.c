/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_routes - a pattern has the names that it should have, and what a host exposes is never
 * itself, unless named; three lines: pattern, name, rule */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/expose.h"
#include "mesh/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#define TEXT_MAX 300

static size_t length(const char *text)
{
	size_t len = strlen(text);

	return len > 1 && text[len - 1] == '.' ? len - 1 : len; /* "." is the root */
}

/* One column of the table after the other: can the beginning of the pattern have that of the name?
 */
static bool has(const char *pattern, const char *name)
{
	const size_t rows = length(pattern), columns = length(name);
	static bool can[TEXT_MAX + 1][TEXT_MAX + 1];

	memset(can, 0, sizeof(can));
	can[0][0] = true;
	for (size_t i = 1; i <= rows; i++)
		for (size_t j = 0; j <= columns; j++)
			can[i][j] = pattern[i - 1] == '*'
					    ? can[i - 1][j] || (j > 0 && can[i][j - 1])
					    : j > 0 && can[i - 1][j - 1] &&
						      tolower((unsigned char)pattern[i - 1]) ==
							      tolower((unsigned char)name[j - 1]);
	return can[rows][columns];
}

static void check_rule(const char *text)
{
	static const char *const own[] = {
		"0.0.0.0", "0.255.1.2", "224.0.0.1", "240.0.0.1", "255.255.255.255"};
	struct expose expose = {.rules = NULL};
	struct in_addr ip;
	struct err err = {0};

	if (expose_add(&expose, text, &err) < 0) {
		must(err.text[0] && !strpbrk(err.text, "\n\x1b"));
		must(expose.nrules == 0);
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		inet_pton(AF_INET, own[i], &ip);
		must(!expose_allows(&expose, ip, 80) && !expose_allows(&expose, ip, 0));
	}
	inet_pton(AF_INET, "127.0.0.1", &ip);
	if (expose_allows(&expose, ip, 0))
		must(strncmp(text, "127.", 4) == 0);
	inet_pton(AF_INET, "169.254.169.254", &ip);
	if (expose_allows(&expose, ip, 0))
		must(strncmp(text, "169.254.", 8) == 0);
	expose_fini(&expose);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 3), *name, *rule;

	if (!text)
		return 0;
	memcpy(text, data, size);
	memcpy(text + size, "\n\n", 3);
	name = strchr(text, '\n');
	rule = name ? strchr(name + 1, '\n') : NULL;
	if (rule) {
		*name++ = '\0';
		*rule++ = '\0';
		if (strlen(text) <= TEXT_MAX && strlen(name) <= TEXT_MAX)
			must(routes_matches(text, name) == has(text, name));
		check_rule(rule);
	}
	free(text);
	return 0;
}
