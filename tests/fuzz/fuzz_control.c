/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_control - any bytes as a request to a sandbox */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void check_specs(const struct control_request *request)
{
	bool wants_specs = request->op == CONTROL_PORT_ADD || request->op == CONTROL_PORT_REMOVE;
	size_t count = 0;

	must(wants_specs == (request->specs != NULL));
	while (request->specs && request->specs[count])
		count++;
	must(!wants_specs || (count >= 1 && count <= FORWARD_MAX));
}

static void check_refusal(const struct control_request *request, const struct err *err)
{
	must(!request->specs);
	must(err->code != 0 && err->text[0] != '\0');
	/* whatever the text took over from the request, it can be answered */
	json_t *text = control_text(err->text);
	must(text);
	json_decref(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request;
	struct err err = {0};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	int result = control_request_decode(text, size, &request, &err);
	must(result == 0 || result == -EINVAL);
	if (result == 0) {
		must((unsigned)request.op < CONTROL_OPS);
		must(!request.has_timeout || request.op == CONTROL_STOP);
		must(request.has_timeout || request.timeout_ms == 0);
		check_specs(&request);
		control_request_free(&request);
	} else {
		check_refusal(&request, &err);
	}
	free(text);
	return 0;
}
