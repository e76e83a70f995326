/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/resolv - any text as a resolv.conf: what is written is clean, and reads back the same */
#include "net/resolv.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(const char *text)
{
	size_t lines = 0;

	for (; *text; text++) {
		if (*text == '\n')
			lines++;
		else if (*text < ' ' || *text > '~')
			abort();
	}
	if (lines > RESOLV_SERVERS_MAX + 2)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resolv_conf conf, again;
	struct in_addr dns4 = {htonl(0x0a000203)};
	char text[4096];
	char small[32], *copy = malloc(size + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	resolv_parse(copy, size, &conf);
	free(copy);
	if (conf.nservers == 0 || conf.nservers > RESOLV_SERVERS_MAX)
		abort();
	if (resolv_format(&conf, &dns4, text, sizeof(text)) != 0)
		abort();
	check_clean(text);
	resolv_parse(text, strlen(text), &again);
	if (strcmp(conf.search, again.search) != 0 || strcmp(conf.options, again.options) != 0 ||
		again.nservers != 1)
		abort();
	resolv_format(&conf, &dns4, small, sizeof(small));
	check_clean(small);
	return 0;
}
