/* SPDX-License-Identifier: Apache-2.0 */
/* test_linkspec - every form of LINK, what is none, and what needs a key */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/linkspec.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void each_form_is_read(void **state)
{
	static const struct {
		const char *text;
		enum linkspec_kind kind;
		const char *what; /* host and port, or path, or the command's last word */
		bool listens, is_once;
	} rows[] = {
		{"exec:ssh gw nswrap 'a b'", LINKSPEC_EXEC, "a b", false, false},
		{"exec: true", LINKSPEC_EXEC, "true", false, false},
		{"tcp:gw:3001", LINKSPEC_TCP, "gw:3001", false, false},
		{"tcp:[::1]:1", LINKSPEC_TCP, "[::1]:1", false, false},
		{"tcp:localhost:65535", LINKSPEC_TCP, "localhost:65535", false, false},
		{"unix:/tmp/a:b,c", LINKSPEC_UNIX, "unix:/tmp/a:b,c", false, false},
		{"unix:rel", LINKSPEC_UNIX, "unix:rel", false, false},
		{"listen-tcp:127.0.0.1:80", LINKSPEC_LISTEN_TCP, "127.0.0.1:80", true, false},
		{"listen-tcp:localhost:80", LINKSPEC_LISTEN_TCP, "127.0.0.1:80", true, false},
		{"listen-tcp::80", LINKSPEC_LISTEN_TCP, "0.0.0.0:80", true, false},
		{"listen-tcp:[::1]:80", LINKSPEC_LISTEN_TCP, "[::1]:80", true, false},
		{"listen-unix:s", LINKSPEC_LISTEN_UNIX, "unix:s", true, false},
		{"fd:3", LINKSPEC_FDS, NULL, false, true},
		{"-", LINKSPEC_STDIO, NULL, false, true},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[LISTEN_TEXT_BYTES];
		struct linkspec spec;
		struct err err;

		assert_int_equal(linkspec_parse(rows[i].text, &spec, &err), 0);
		assert_int_equal(spec.kind, rows[i].kind);
		assert_int_equal(linkspec_listens(&spec), rows[i].listens);
		assert_int_equal(linkspec_is_once(&spec), rows[i].is_once);
		if (spec.kind == LINKSPEC_EXEC) {
			char **last = spec.argv;
			while (last[1])
				last++;
			assert_string_equal(*last, rows[i].what);
		} else if (spec.kind == LINKSPEC_TCP) {
			assert_string_equal(
				listen_format(&spec.at, text, sizeof(text)), rows[i].what);
		} else if (rows[i].what) {
			assert_string_equal(
				addr_format(&spec.addr, text, sizeof(text)), rows[i].what);
		}
		linkspec_fini(&spec);
	}
}

static void descriptors_are_read(void **state)
{
	struct linkspec spec;
	(void)state;

	assert_int_equal(linkspec_parse("fd:7", &spec, NULL), 0);
	assert_int_equal(spec.fds[0], 7);
	assert_int_equal(spec.fds[1], 7);
	assert_int_equal(linkspec_parse("fd:4,12", &spec, NULL), 0);
	assert_int_equal(spec.fds[0], 4);
	assert_int_equal(spec.fds[1], 12);
	assert_int_equal(linkspec_parse("-", &spec, NULL), 0);
	assert_int_equal(spec.fds[0], 0);
	assert_int_equal(spec.fds[1], 1);
}

static void what_is_no_link_is_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"", "\"\" is no LINK: expected exec:COMMAND, tcp:"},
		{"ssh gw", "\"ssh gw\" is no LINK"},
		{"-x", "\"-x\" is no LINK"},
		{"udp:a:1", "is no LINK"},
		{"exec:", "exec: names no command"},
		{"exec:  ", "exec: names no command"},
		{"exec:a 'b", "exec:a 'b is no command line: expected pairs of quotes"},
		{"tcp:", "tcp:: \"\" is no address"},
		{"tcp:gw", "tcp:gw has no port"},
		{"tcp::80", "tcp::80 names no host"},
		{"tcp:gw:0", "port 0 is out of range"},
		{"tcp:gw:x", "port \"x\" is no number"},
		{"tcp:1.2.3:80", "is no address"},
		{"listen-tcp:gw:80", "\"gw\" is no address: expected one of this host's"},
		{"listen-tcp:80", "is no address"},
		{"listen-tcp:[::ffff:1.2.3.4]:80", "is no address"},
		{"unix:", "unix: names no socket"},
		{"listen-unix:", "listen-unix: names no socket"},
		{"fd:", "fd:: expected fd:N, or fd:N,M"},
		{"fd:x", "fd:x: expected"},
		{"fd:3,", "fd:3,: expected"},
		{"fd:,3", "expected fd:N"},
		{"fd:3,4,5", "expected fd:N"},
		{"fd:-1", "expected fd:N"},
		{"fd:99999999999999999999999999", "expected fd:N"},
		{"exec:\033[31m'", "\\x1b"},
	};
	char longest[ADDR_PATH_MAX + 7];
	struct linkspec spec;
	struct err err;
	(void)state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(linkspec_parse(rows[i].text, &spec, &err) < 0);
		if (!strstr(err.text, rows[i].words))
			fail_msg("%s: %s", rows[i].text, err.text);
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "unix:", 5);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(linkspec_parse(longest, &spec, &err), -ENAMETOOLONG);
	longest[sizeof(longest) - 2] = '\0';
	assert_int_equal(linkspec_parse(longest, &spec, &err), 0);
}

static void descriptors_are_looked_at(void **state)
{
	int ends[2], pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	(void)state;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	const struct {
		int fds[2];
		const char *words; /* NULL: nothing is wrong */
	} rows[] = {
		{{pair[0], pair[0]}, NULL},
		{{ends[0], ends[1]}, NULL},
		{{ends[0], pair[0]}, NULL},
		{{ends[1], ends[0]}, "cannot be read"},
		{{ends[0], ends[0]}, "cannot be written"},
		{{null, null}, "is a file"},
		{{pair[0], null}, "is a file"},
		{{pair[0], 1000}, "descriptor 1000 is not open"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct linkspec spec = {.kind = LINKSPEC_FDS,
			.text = "fd",
			.fds = {rows[i].fds[0], rows[i].fds[1]}};
		struct err err = {.text = ""};

		assert_int_equal(linkspec_check_fds(&spec, &err), rows[i].words ? -EINVAL : 0);
		if (rows[i].words)
			assert_non_null(strstr(err.text, rows[i].words));
		spec.kind = LINKSPEC_EXEC; /* has none */
		assert_int_equal(linkspec_check_fds(&spec, &err), 0);
	}
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		close(pair[i]);
	}
	close(null);
}

static void what_others_reach_needs_a_key(void **state)
{
	static const struct {
		const char *text;
		bool is_open;
	} rows[] = {
		{"exec:ssh gw", false},
		{"tcp:localhost:1", false},
		{"tcp:127.8.9.1:1", false},
		{"tcp:[::1]:1", false},
		{"tcp:10.0.0.1:1", true},
		{"tcp:gw:1", true},
		{"tcp:localhost.example:1", true},
		{"tcp:[fd00::1]:1", true},
		{"unix:s", false},
		{"listen-tcp:127.0.0.1:1", false},
		{"listen-tcp::1", true},
		{"listen-tcp:[::]:1", true},
		{"listen-unix:s", false},
		{"fd:3", false},
		{"-", false},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct linkspec spec;
		struct err err;

		assert_int_equal(linkspec_parse(rows[i].text, &spec, &err), 0);
		assert_int_equal(linkspec_check_key(&spec, true, &err), 0);
		assert_int_equal(
			linkspec_check_key(&spec, false, &err), rows[i].is_open ? -EINVAL : 0);
		if (rows[i].is_open)
			assert_non_null(strstr(err.text, "expected --key-file FILE"));
		linkspec_fini(&spec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_is_read),
		cmocka_unit_test(descriptors_are_read),
		cmocka_unit_test(what_is_no_link_is_refused),
		cmocka_unit_test(descriptors_are_looked_at),
		cmocka_unit_test(what_others_reach_needs_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
