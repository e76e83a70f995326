/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_request - any bytes as a request to a sandbox */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "sandbox/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void check_specs(const struct request *request)
{
	bool wants_specs = request->op == REQUEST_PORT_ADD || request->op == REQUEST_PORT_REMOVE;
	size_t count = 0;

	must(wants_specs == (request->specs[0] != NULL));
	while (request->specs[count])
		count++;
	must(!wants_specs || (count >= 1 && count <= FORWARD_MAX));
}

static void check_refusal(const struct err *err)
{
	must(err->code != 0 && err->text[0] != '\0');
	/* whatever the text took over from the request, it can be answered */
	json_t *text = control_text(err->text);
	must(text);
	json_decref(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request request;
	struct err err = {0};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	json_t *root = control_parse(text, size, &err);
	request = (struct request){0};
	int result = root ? request_decode(root, &request, &err) : -err.code;
	json_decref(root);
	must(result == 0 || result == -EINVAL);
	if (result == 0) {
		must((unsigned)request.op < REQUEST_OPS);
		must(!request.has_timeout || request.op == REQUEST_STOP);
		must(request.has_timeout || request.timeout_ms == 0);
		check_specs(&request);
	} else {
		check_refusal(&err);
	}
	free(text);
	return 0;
}
