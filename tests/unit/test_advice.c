/* SPDX-License-Identifier: Apache-2.0 */
/* test_advice - what a line or a status of a command means to a person */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>

#include "link/advice.h"

/* Lines as the programs print them: OpenSSH 9.2, sudo 1.9, podman 4.3, docker 20.10, kubectl 1.20.
 */
static void of_lines(void **state)
{
	static const struct {
		const char *line, *words; /* words: NULL: nothing to be done */
		bool may_pass;
	} rows[] = {
		{"Host key verification failed.", "ssh-keygen -R", false},
		{"@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", "ssh-keygen -R",
			false},
		{"me@web: Permission denied (publickey,password).", "log in by hand", false},
		{"Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures",
			"log in by hand", false},
		{"ssh: Could not resolve hostname nope: Name or service not known", "no host",
			true},
		{"ssh: Could not resolve hostname nope: Temporary failure in name resolution", NULL,
			false},
		{"Bad owner or permissions on /home/me/.ssh/config", "ssh's own files", false},
		{"sudo: 3 incorrect password attempts", "sudo", false},
		{"sudo: a password is required", "sudo", false},
		{"Error: no container with name or ID \"db\" found: no such container",
			"no such container", false},
		{"Error: No such container: db", "no such container", false},
		{"Error from server (NotFound): pods \"db\" not found", "no such container", false},
		{"error: You must be logged in to the server (Unauthorized)", "log in to it",
			false},
		{"Error from server (Forbidden): pods is forbidden", "log in to it", false},
		{"me@web: Permission denied, please try again.", NULL, false},
		{"ssh: connect to host web port 22: Connection refused", NULL, false},
		{"ssh: connect to host web port 22: Connection timed out", NULL, false},
		{"", NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct advice *advice = advice_of_line(rows[i].line, strlen(rows[i].line));

		if (!rows[i].words) {
			assert_null(advice);
			continue;
		}
		assert_non_null(advice);
		assert_non_null(strstr(advice->text, rows[i].words));
		assert_int_equal(advice->may_pass, rows[i].may_pass);
	}
	/* what is behind the end of the line does not count */
	assert_null(advice_of_line("Host key verification failed", 10));
}

static void of_statuses(void **state)
{
	(void)state;
	assert_non_null(strstr(advice_of_status(127)->text, "not found"));
	assert_non_null(strstr(advice_of_status(126)->text, "chmod +x"));
	for (int status = -1; status < 126; status++)
		assert_null(advice_of_status(status));
	assert_null(advice_of_status(255));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_lines), cmocka_unit_test(of_statuses)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
