/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_spec - forwarding rules: any text is read or refused with one line, what is read prints back
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forward/spec.h"

#define TEXT_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert() may be compiled out */
#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void check_err(const struct err *err, int rc)
{
	must(rc == -err->code);
	must(err->text[0]);
	must(memchr(err->text, '\0', sizeof(err->text)));
	must(!strpbrk(err->text, "\n\r\x1b"));
}

/* A valid spec, and its text reads back to the same. */
static void check_spec(const struct forward_spec *spec, const struct addr *bind)
{
	char text[FORWARD_TEXT_BYTES], again[FORWARD_TEXT_BYTES];
	struct forward_list list = {.count = 0};
	struct forward_spec back;

	must(addr_len(&spec->host) > 0);
	must(addr_len(&spec->host) <= sizeof(spec->host));
	must(spec->guest_port || !addr_port(&spec->host));
	must(strlen(spec_format(spec, text, sizeof(text))) < sizeof(text) - 1);
	if (spec->guest_port) {
		must(spec_list_parse(&list, text, bind, NULL) == 0);
		must(list.count == 1);
		back = list.items[0];
	} else {
		must(spec_host_parse(text, bind, &back, NULL) == 0);
	}
	must(spec_equal(spec, &back));
	must(strcmp(spec_format(&back, again, sizeof(again)), text) == 0);
	spec_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr bind = addr_of6(&in6addr_loopback, 0);
	struct forward_list list = {.count = 0};
	struct forward_spec spec;
	struct err err = {.code = 0};
	char text[TEXT_BYTES];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';

	int rc = spec_list_parse(&list, text, &bind, &err);
	must(rc < 0 ? list.count == 0 : list.count > 0);
	if (rc < 0)
		check_err(&err, rc);
	for (size_t i = 0; i < list.count; i++)
		check_spec(&list.items[i], &bind);
	if (rc == 0) { /* nothing clashes with itself, everything but a free port with a copy */
		must(spec_list_check(&list, &err) == 0);
		spec = list.items[0];
		bool is_free_port = spec.host.family != AF_UNIX && addr_port(&spec.host) == 0;
		size_t count = list.count;
		if (spec_list_add(&list, &spec, NULL) == 0) {
			must(list.count == count + 1);
			rc = spec_list_check(&list, &err);
			must((rc == 0) == is_free_port);
			if (rc < 0)
				check_err(&err, rc);
		}
	}
	spec_list_free(&list);

	rc = spec_host_parse(text, NULL, &spec, &err);
	if (rc < 0)
		check_err(&err, rc);
	else
		check_spec(&spec, NULL);
	return 0;
}
