/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_sdnotify - any bytes as a message for a service manager: no line that is to be cut stays,
 * the others are as they were */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proc/sdnotify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static int is_cut(const uint8_t *line, size_t len)
{
	return (len >= 7 && memcmp(line, "MAINPID", 7) == 0) ||
	       (len >= 2 && memcmp(line, "FD", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *text = malloc(size + 1);
	unsigned cut, again;
	size_t at = 0;

	if (!text)
		return 0;
	memcpy(text, data, size);
	size_t left = sdnotify_cut((char *)text, size, &cut);
	must(left <= size && (cut != 0) == (left < size));
	for (size_t from = 0; from < size;) {
		const uint8_t *end = memchr(data + from, '\n', size - from);
		size_t len = end ? (size_t)(end - data) + 1 - from : size - from;

		if (!is_cut(data + from, len)) {
			must(at + len <= left && memcmp(text + at, data + from, len) == 0);
			at += len;
		}
		from += len;
	}
	must(at == left);
	must(sdnotify_cut((char *)text, left, &again) == left && again == 0);
	must(!sdnotify_is_barrier((char *)text, left) || left == 9 || left == 10);
	free(text);
	return 0;
}
