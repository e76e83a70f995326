/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_message - any bytes as a message: refused with one line, or written again and the same */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/info.h"
#include "mesh/message.h"
#include "mesh/report.h"

#define SUGGESTIONS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void check_err(const struct err *err, int result)
{
	must(result == -EINVAL && err->code == EINVAL);
	must(err->text[0] && !strpbrk(err->text, "\n\r\x1b"));
}

static void check_config(const struct mesh_config *config)
{
	for (size_t i = 0; i < config->noffers; i++) {
		must(config->offers[i].listen_port && config->offers[i].connect_port);
		must(config->offers[i].connect_host[0]);
	}
	for (size_t i = 0; i < config->nothers; i++)
		must(config->others[i].port && config->others[i].ip.s_addr);
	for (size_t i = 0; i < config->nnames; i++)
		must(config->names[i].name[0] && config->names[i].ip.s_addr);
	for (size_t i = 0; i < config->nroutes; i++)
		must(config->routes[i].via.s_addr);
}

static void check_configure(const json_t *args)
{
	struct mesh_config config, again;
	struct err err = {0};
	int result = configure_decode(args, &config, &err);

	if (result < 0) {
		check_err(&err, result);
		return;
	}
	check_config(&config);
	json_t *first = configure_encode(&config, ~0U), *plain = configure_encode(&config, 0);
	must(first && plain);
	must(configure_decode(plain, &again, &err) == 0);
	must(!again.any_port && again.noffers <= config.noffers);
	config_free(&again);
	must(configure_decode(first, &again, &err) == 0);
	json_t *second = configure_encode(&again, ~0U);
	must(json_equal(first, second));
	json_decref(second);
	json_decref(first);
	json_decref(plain);
	config_free(&again);
	config_free(&config);
}

static void check_info(const json_t *data)
{
	struct mesh_agent_info info, again;
	struct err err = {0};
	int result = info_decode(data, &info, &err);

	if (result < 0) {
		check_err(&err, result);
		return;
	}
	must(!strpbrk(info.version, "\n\r\x1b"));
	json_t *encoded = info_encode(&info);
	must(encoded);
	must(info_decode(encoded, &again, &err) == 0);
	must(again.features == info.features && strcmp(again.version, info.version) == 0);
	json_decref(encoded);
}

static void check_suggestion(const json_t *data)
{
	struct in_addr ips[SUGGESTIONS], via;
	struct err err = {0};
	ssize_t count = message_decode_suggestion(data, ips, SUGGESTIONS, &via, &err);

	if (count < 0)
		check_err(&err, (int)count);
	must(count <= SUGGESTIONS);
}

static void check_gone(const json_t *data)
{
	struct in_addr ips[MESSAGE_GONE_MAX];
	struct err err = {0};
	ssize_t count = message_decode_gone(data, ips, &err);

	if (count < 0)
		check_err(&err, (int)count);
	must(count <= MESSAGE_GONE_MAX);
}

static void check_report(const json_t *data)
{
	struct mesh_report report, again;
	struct err err = {0};
	int result = report_decode(data, &report, &err);

	if (result < 0) {
		check_err(&err, result);
		return;
	}
	for (size_t i = 0; i < REPORT_MAX; i++)
		must(!strpbrk(report.missing[i].why, "\n\r\x1b") &&
			!strpbrk(report.failing[i].why, "\n\r\x1b"));
	json_t *encoded = report_encode(&report);
	must(encoded && report_decode(encoded, &again, &err) == 0);
	must(memcmp(&report, &again, sizeof(report)) == 0);
	json_decref(encoded);
}

static void check_error(const json_t *error)
{
	char text[40];

	message_error_text(error, text, sizeof(text));
	must(text[0] && !strpbrk(text, "\n\r\x1b"));
}

static void check_message(struct message *message)
{
	struct message again;
	struct err err;
	size_t len;
	enum message_type type = message->type;
	int64_t id = message->id;
	char op[MESSAGE_OP_BYTES];
	json_t *data = json_incref(message->data), *error = json_incref(message->error);

	strcpy(op, message->op);
	must(type == MESSAGE_RESULT || !error);
	char *text = message_encode(message, &len);
	must(text && strlen(text) == len);
	must(message_decode(text, len, &again, &err) == 0);
	must(again.type == type && again.id == id && strcmp(again.op, op) == 0);
	must(data ? json_equal(again.data, data) : !again.data);
	must(error ? json_equal(again.error, error) : !again.error);
	message_fini(&again);
	free(text);
	json_decref(data);
	json_decref(error);
}

static void check_bodies(const json_t *json)
{
	check_configure(json);
	check_info(json);
	check_suggestion(json);
	check_gone(json);
	check_report(json);
	check_error(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	struct err err = {0};
	/* nothing behind it */
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text + 1, data, size);
	int result = message_decode(text + 1, size, &message, &err);
	if (result < 0) {
		check_err(&err, result);
		must(!message.data && !message.error);
		/* a body alone is found sooner than one in a message */
		json_t *body = json_loadb(text + 1, size, JSON_DECODE_ANY, NULL);
		check_bodies(body);
		json_decref(body);
	} else {
		check_bodies(message.data);
		check_error(message.error);
		check_message(&message);
	}
	free(text);
	return 0;
}
