/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_manifest_warnings - what NoRouter takes is taken, and said if it was hardly meant */
#include "manifest_report.h"

#define KEYS                                                                                           \
	"vip, cmd, ports, http, socks, loopback, stateDir, aliases, install, writeEtcHosts, restart, " \
	"allow, anyPort, expose or sandbox"
#define TO_FORM                                                                 \
	"expected a list of networks and host names, such as [\"10.0.0.0/8\", " \
	"\"*.example.com\"]"

/* Each is a key of a host on line 3, column 5, that has a vip on line 2; "" is said of the right
 * ones. */
static void test_hosts(void **state)
{
#define NO_CMD "cmd has no words, so this executable is meant: expected a command, or no cmd"
	static const char *const rows[][2] = {
		{"cmd: []", "10: " NO_CMD},
		{"cmd: \"\"", "10: " NO_CMD},
		{"cmd: '# x'", "10: " NO_CMD},
		{"vip: 127.0.0.3",
			"5: vip is given twice: this one counts, that of line 2 is ignored"},
		{"prots: []", "5: unknown key \"prots\" is ignored: did you mean ports?"},
		{"VIP: x", "5: unknown key \"VIP\" is ignored: did you mean vip?"},
		{"write_etc_hosts: true",
			"5: unknown key \"write_etc_hosts\" is ignored: did you mean writeEtcHosts?"},
		{"state-dir: {}",
			"5: unknown key \"state-dir\" is ignored: did you mean stateDir?"},
		{"routes: 5", "5: unknown key \"routes\" is ignored: expected " KEYS},
		{"\"\\e[31m\": 5", "5: unknown key \"\\x1b[31m\" is ignored: expected " KEYS},
		{"x-ports: []", "5: key \"x-ports\" is ignored"},
		{"x-: 1", "5: key \"x-\" is ignored"},
		{"http: {port: 1}",
			"12: unknown key \"port\" is ignored: expected listen, auth, onlyUser or open"},
		{"loopback: {disabled: no}",
			"16: unknown key \"disabled\" is ignored: did you mean disable?"},
		{"stateDir: {path: x}",
			"16: unknown key \"path\" is ignored: did you mean pathOnAgent?"},
		{"stateDir: {x-path: x}", "16: key \"x-path\" is ignored"},
		{"http: {open: yes, listen: \":1\", listen: \":2\"}",
			"37: listen is given twice: this one counts, that of line 3 is ignored"},
		{"http: {listen: \":18080\", open: true}", ""},
		{"http: {listen: \"[::1]\"}", ""},
		{"socks: {listen: \":1\", onlyUser: true}", ""},
		{"socks: {listen: \"192.0.2.1:1\", auth: {user: u, passwordFile: f}}", ""},
		{"socks: {listen: LocalHost}", ""},
		{"allow: [a, \"a:80\"]",
			"16: \"a:80\": the host offers no port 80: expected one of its ports"},
		{"allow: [\"127.0.0.2:10053/tcp\"]", ""},
		{"allow: []", ""},
		{"ports: [\"8080::80\", \"53::53/udp\"]", ""},
		{"ports: [\"1:a:1\", \"1:a:1\", \"1:a:1/tcp\"]", ""},
		{"ports: [\"8080::80\", \"8080:127.0.0.1:80\"]", ""},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *said = strchr(rows[i][1], ' ');

		snprintf(text, sizeof(text), "hosts: {a: {\n    vip: 127.0.0.2,\n    %s}}\n",
			rows[i][0]);
		wanted[0] = '\0';
		if (said)
			snprintf(wanted, sizeof(wanted), "m.yaml:3:%.*s warning: host a: %s\n",
				(int)(said - rows[i][1]), rows[i][1], said + 1);
		check_warned(text, wanted);
	}
}

static void test_routes(void **state)
{
	static const char *const rows[][2] = {
		{"{to: [10.0.0.5/8], via: web}",
			"11: \"10.0.0.5/8\" has bits behind its prefix: expected 10.0.0.0/8"},
		{"{to: [\"fd00::/8\"], via: web}",
			"11: \"fd00::/8\" is ignored, a mesh has no IPv6: expected a network such as "
			"10.0.2.0/24"},
		{"{to: [\"fd00::1\"], via: web}",
			"11: \"fd00::1\" is ignored, a mesh has no IPv6: expected a network such as "
			"10.0.2.0/24"},
		{"{to: [10.0.*], via: web}", "11: \"10.0.*\" is a pattern of names and no network: "
					     "expected one such as 10.0.2.0/24"},
		{"{to: [], via: web}", "10: to is an empty list: " TO_FORM},
		{"{via: web}", "5: no to: " TO_FORM},
		{"{to: [a.b], via: 127.0.0.9}",
			"22: via 127.0.0.9 is no host's vip: the route leads nowhere"},
		{"{to: [a.b], via: web, form: x}",
			"27: unknown key \"form\" is ignored: expected to or via"},
		{"{to: [a.b], via: web, x-why: x}", "27: key \"x-why\" is ignored"},
		{"{to: [10.0.0.5, 0.0.0.0/0, \"*\"], via: 127.0.0.2}", ""},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *said = strchr(rows[i][1], ' ');

		snprintf(text, sizeof(text), "hosts: {web: {vip: 127.0.0.2}}\nroutes:\n  - %s\n",
			rows[i][0]);
		wanted[0] = '\0';
		if (said)
			snprintf(wanted, sizeof(wanted), "m.yaml:3:%.*s warning: route 1: %s\n",
				(int)(said - rows[i][1]), rows[i][1], said + 1);
		check_warned(text, wanted);
	}
	check_warned("hosts: {box: {vip: 127.0.0.2, cmd: nswrap, sandbox: {command: x}}}\n"
		     "routes: [{to: [a.b], via: box}]\n",
		"m.yaml:2:27: warning: route 1: via box is a sandbox, which leads nobody on: "
		"expected a plain host\n");
}

static void test_documents(void **state)
{
	(void)state;
	check_warned("x-a: &a {vip: 127.0.0.2, x: [y: z]}\nhost: 1\nhosts: {a: *a}\n---\n[",
		"m.yaml:1:1: warning: key \"x-a\" is ignored\n"
		"m.yaml:1:26: warning: host a: unknown key \"x\" is ignored: expected " KEYS "\n"
		"m.yaml:2:1: warning: unknown key \"host\" is ignored: did you mean hosts?\n"
		"m.yaml:4:1: warning: a second document begins, which is ignored: expected one "
		"only\n");
	check_warned("hosts:\n  a: {vip: x}\n  b: {vip: 127.0.0.2}\n  a: {vip: 127.0.0.3}\n"
		     "  a: !host {vip: !ip 127.0.0.4}\n",
		"m.yaml:5:3: warning: a is given twice: this one counts, that of line 4 is ignored\n"
		"m.yaml:5:6: warning: tag \"!host\" is ignored: expected none\n"
		"m.yaml:5:18: warning: tag \"!ip\" is ignored: expected none\n");
	/* the template's unknown keys once, and not for each host */
	check_warned(
		"hostTemplate: {prots: []}\nhosts: {a: {vip: 127.0.0.2}, b: {vip: 127.0.0.3}}\n",
		"m.yaml:1:16: warning: hostTemplate: unknown key \"prots\" is ignored: did you mean "
		"ports?\n");
}

/* Warnings do not hide an error, however many there are. */
static void test_error_among_many(void **state)
{
	static struct report report;
	struct manifest manifest;
	size_t len;
	char *text;

	(void)state;
	for (int wrong = 0; wrong <= 1; wrong++) {
		FILE *file = open_memstream(&text, &len);

		for (int i = 0; i < 1100; i++)
			fprintf(file, "x-%d: 1\n", i);
		fprintf(file, "hosts: {a: {vip: %s}}\n", wrong ? "x" : "127.0.0.2");
		fclose(file);
		assert_int_equal(parse_bytes(text, len, &manifest, &report), wrong ? -EINVAL : 0);
		assert_int_equal(report.lines, 1001);
		assert_non_null(
			strstr(report.text, wrong ? "m.yaml: 101 more errors are"
						  : "m.yaml: warning: 100 more warnings are"));
		if (!wrong)
			manifest_free(&manifest);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_error_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
