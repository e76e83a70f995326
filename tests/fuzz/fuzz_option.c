/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_option - words separated by NUL as a command line, over a table with every kind of option */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/addr.h"
#include "util/option.h"
#include "util/parse.h"

#define TEXT_BYTES 4096
#define ARGS_MAX   32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* What the setters were given: the argument vector that values must lie in, calls so far. */
struct seen {
	const char *text;
	size_t size, calls;
};

static void see(struct seen *seen, const char *value)
{
	seen->calls++;
	must(!value || (value >= seen->text && value <= seen->text + seen->size));
}

static int set_flag(void *target, const char *value, struct err *err)
{
	(void)err;
	must(!value);
	see(target, value);
	return 0;
}

static int set_port(void *target, const char *value, struct err *err)
{
	uint16_t port = 0;

	must(value);
	see(target, value);
	int rc = parse_port(value, true, &port, err);
	must(rc == 0 || rc == -EINVAL);
	return rc;
}

static int set_seconds(void *target, const char *value, struct err *err)
{
	uint64_t ms = 0;

	must(value);
	see(target, value);
	int rc = parse_seconds(value, &ms, err);
	must(ms <= 1000000000);
	return rc;
}

static int set_addr(void *target, const char *value, struct err *err)
{
	struct addr addr;

	must(value);
	see(target, value);
	int rc = addr_parse(value, &addr, err);
	must(rc < 0 || addr.family == AF_INET || addr.family == AF_INET6);
	return rc;
}

static int set_network(void *target, const char *value, struct err *err)
{
	struct in_addr network = {.s_addr = 0};
	int prefix_len = 0;

	must(value);
	see(target, value);
	int rc = addr_parse_cidr4(value, &network, &prefix_len, err);
	must(prefix_len >= 0 && prefix_len <= 32);
	must(prefix_len == 0 || prefix_len == 32 || !(ntohl(network.s_addr) << prefix_len));
	return rc;
}

static int set_users(void *target, const char *value, struct err *err)
{
	(void)err;
	see(target, value);
	return value && strcmp(value, "silent") == 0 ? -EPERM : 0;
}

static const struct option_def table[] = {
	{'q', "quiet", NULL, "Say nothing.", set_flag, 0},
	{0, "keep", NULL, "Only a long name.", set_flag, 0},
	{'p', "port", "[ADDR:]PORT", "Brackets that are not all of it.", set_port, 0},
	{0, "port-driver", "NAME", "A name that begins with another's.", set_users, 0},
	{'t', "timeout", "SECONDS", "A time.", set_seconds, 0},
	{'a', "addr", "ADDR", "An address.", set_addr, 0},
	{0, "network", "NETWORK", "A network.", set_network, 0},
	{'s', "shared", "[USER,...]", "An argument that may be left out.", set_users, 0},
	{.name = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const known[] = {"run", "mesh", "agent", "tunnel", "port-driver"};
	char text[TEXT_BYTES], *argv[ARGS_MAX + 1] = {"fuzz"};
	struct seen seen = {.text = text, .size = size};
	struct err err = {.code = 0};
	int argc = 1;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	for (size_t at = 0; at < size && argc < ARGS_MAX; at += strlen(text + at) + 1)
		argv[argc++] = text + at;

	int rc = option_parse(table, argc, argv, &seen, &err);
	must(memcmp(text, data, size) == 0);
	if (rc < 0) {
		must(rc == -err.code);
		must(err.text[0]);
		must(!strpbrk(err.text, "\n\r\x1b"));
	} else {
		must(rc >= 1 && rc <= argc);
		must(!err.code);
		must(rc == argc || argv[rc][0] != '-' || argv[rc][1] == '\0' ||
			strcmp(argv[rc - 1], "--") == 0);
		must(rc == 1 || seen.calls > 0 || strcmp(argv[1], "--") == 0);
	}
	for (int i = 1; i < argc; i++)
		option_nearest(argv[i], known, sizeof(known) / sizeof(known[0]));
	must(option_nearest("mesh", known, sizeof(known) / sizeof(known[0])) == known[1]);
	return 0;
}
