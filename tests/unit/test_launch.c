/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_launch - what a manifest says of a sandbox, as words for the launcher, or what is wrong
 */
#include "mesh/manifest/launch.h"

#include <stdbool.h>

#include "manifest_report.h"
#include "mesh/info.h"

static struct manifest with(const char *sandbox)
{
	char text[512];

	snprintf(text, sizeof(text), "hosts: {a: {vip: 127.0.0.2, sandbox: %s}}\n", sandbox);
	return parse_good(text);
}

/* "a|b": words with bars between them; "" for none. */
static void check_words(char *const *words, const char *wanted)
{
	char text[512] = "";

	for (; words && *words; words++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			text[0] != '\0' ? "|" : "", *words);
	assert_string_equal(text, wanted);
}

static void keys_become_options(void **state)
{
	static const char *const rows[][3] = {
		{"{command: \"jupyter lab '--port={guest-port}'\", guestPort: 8888}",
			"jupyter|lab|--port={guest-port}", ""},
		{"{command: [sh, -c, \"exit 3\", \"\"]}", "sh|-c|exit 3|", ""},
		{"{command: x, env: {A: 1, B: \"\", C: ~}}", "x",
			"--env=A=1|--env=B=|--unset-env=C"},
		{"{command: x, env: [\"A=b=c\"], cwd: /tmp}", "x", "--env=A=b=c|--chdir=/tmp"},
		{"{command: x, network: none, hostLoopback: true}", "x",
			"--network=none|--host-loopback"},
		{"{command: x, network: outbound, hostLoopback: false}", "x", "--network=outbound"},
		{"{command: x, reverse: 5432}", "x", "--reverse=5432"},
		{"{command: x, reverse: [\"5432:db:5432\", 6379]}", "x",
			"--reverse=5432:db:5432|--reverse=6379"},
		{"{command: x, dns: 192.0.2.1, ipv6: false}", "x", "--dns=192.0.2.1|--no-ipv6"},
		{"{command: x, dns: false, ipv6: true}", "x", "--no-dns"},
		{"{command: x, cidr: 192.168.7.0/24, mtu: 1500}", "x",
			"--cidr=192.168.7.0/24|--mtu=1500"},
		{"{command: x, root: true, pid: true, waitAll: yes, stopTimeout: 1.5}", "x",
			"--root|--pid|--wait-all|--stop-timeout=1.5"},
		{"{command: x, root: false, pid: no, keep: false}", "x", ""},
		{"{command: x, keep: 0}", "x", "--unattended=0"},
		{"{command: x, keep: 3600}", "x", "--unattended=3600"},
		{"{command: x, keep: true}", "x", "--unattended=604800"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct manifest manifest = with(rows[i][0]);
		const struct mesh_sandbox *sandbox = &manifest.hosts[0].own.sandbox;

		check_words(sandbox->command, rows[i][1]);
		check_words(sandbox->options, rows[i][2]);
		assert_int_equal(sandbox->guest_port, i == 0 ? 8888 : 0);
		assert_int_equal(sandbox->keep, i >= COUNT(rows) - 3);
		manifest_free(&manifest);
	}
}

static void what_cannot_be_is_refused(void **state)
{
	static const char *const rows[][2] = {
		{"x", "1:38: host a: sandbox is a text: expected a map with command at least"},
		{"{}", "1:38: host a: sandbox has no command: expected a text in quotes or a list of "
		       "words, such as \"jupyter lab\""},
		{"{command: x, reverse: [5432, \"5:\"]}",
			"1:67: host a: sandbox.reverse: \"\" is no host port: expected a number from 1 to "
			"65535"},
		{"{command: []}",
			"1:48: host a: sandbox.command is empty: expected a text in quotes or "
			"a list of words, such as \"jupyter lab\""},
		{"{command: 7}",
			"1:48: host a: sandbox.command is a number: expected a text in quotes "
			"or a list of words, such as \"jupyter lab\""},
		{"{command: \"a 'b\"}", "1:48: host a: sandbox.command has quotes without an end: "
					"expected another one like it, or a list of words"},
		{"{command: [\"\", a]}", "1:48: host a: sandbox.command begins with an empty word: "
					 "expected the name of a program"},
		{"{command: \"a {guest-port}\"}",
			"1:48: host a: sandbox.command has a guest-port, and there is no guestPort: "
			"expected one such as guestPort: 8888"},
		{"{command: \"a <host-port>\", guestPort: 80}",
			"1:48: host a: sandbox.command has a host-port: there is none in a mesh, "
			"expected {guest-port}, and ports: [\"PORT:127.0.0.1:GUEST\"]"},
		{"{command: a, guestPort: 0}",
			"1:62: host a: sandbox.guestPort is \"0\": expected a "
			"port from 1 to 65535"},
		{"{command: a, guestPort: 65536}", "1:62: host a: sandbox.guestPort is \"65536\": "
						   "expected a port from 1 to 65535"},
		{"{command: a, network: host}",
			"1:60: host a: sandbox.network: \"host\" is no network: "
			"expected outbound or none"},
		{"{command: a, mtu: 100}",
			"1:56: host a: sandbox.mtu is \"100\": expected a number from "
			"1280 to 65520"},
		{"{command: a, pid: maybe}",
			"1:56: host a: sandbox.pid is \"maybe\": expected true or false"},
		{"{command: a, keep: 7d}",
			"1:57: host a: sandbox.keep is \"7d\": expected true, false "
			"or a number of seconds"},
		{"{command: a, keep: [1]}", "1:57: host a: sandbox.keep is a list: expected true, "
					    "false or a number of seconds"},
		{"{command: a, cwd: \"\"}",
			"1:56: host a: sandbox.cwd is empty: expected a directory there"},
		{"{command: a, env: x}",
			"1:56: host a: sandbox.env is a text: expected a map such as "
			"{NAME: value}, or a list such as [\"NAME=value\"]"},
		{"{command: a, env: [A]}", "1:57: host a: \"A\" in sandbox.env sets no variable: "
					   "expected NAME=VALUE"},
		{"{command: a, env: {\"A=B\": c}}",
			"1:57: host a: \"A=B\" in sandbox.env is no name of a "
			"variable: expected NAME"},
		{"{command: a, env: {A: [b]}}",
			"1:60: host a: a variable of sandbox.env is a list: "
			"expected a text, or ~ for one that is taken away"},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text), "hosts: {a: {vip: 127.0.0.2, sandbox: %s}}\n",
			rows[i][0]);
		snprintf(wanted, sizeof(wanted), "m.yaml:%s\n", rows[i][1]);
		check_bad(text, wanted);
	}
	check_warned("hosts: {a: {vip: 127.0.0.2, sandbox: {command: a, comand: b}}}\n",
		"m.yaml:1:51: warning: host a: unknown key \"comand\" is ignored: did you mean "
		"command?\n");
}

static void the_template_is_for_those_that_have_none(void **state)
{
	struct manifest manifest = parse_good("hostTemplate: {sandbox: {command: x, keep: true}}\n"
					      "hosts: {a: {vip: 127.0.0.2}, b: {vip: 127.0.0.3, "
					      "sandbox: {command: z}}}\n");

	(void)state;
	check_words(manifest.hosts[0].own.sandbox.command, "x");
	check_words(manifest.hosts[1].own.sandbox.command, "z");
	assert_true(manifest.hosts[0].own.sandbox.keep);
	assert_false(manifest.hosts[1].own.sandbox.keep);
	assert_false(manifest_sandbox_equal(&manifest.hosts[0], &manifest.hosts[1]));
	assert_true(manifest_sandbox_equal(&manifest.hosts[0], &manifest.hosts[0]));
	manifest_free(&manifest);
}

/* Without the feature an agent would open ports of its machine, and nobody's command. */
static void no_agent_is_told_without_the_feature(void **state)
{
	struct manifest manifest = with("{command: x}");
	struct mesh_config config;

	(void)state;
	assert_int_equal(manifest_configure(&manifest, 0, &config), 0);
	assert_int_equal(config_needs(&config).required, FEATURE_SANDBOX_RUN);
	config_strip(&config);
	assert_null(config.sandbox.command);
	assert_int_equal(config.nnames, 0);
	assert_int_equal(config.me.s_addr, manifest.hosts[0].vip.s_addr);
	config_free(&config);
	manifest_free(&manifest);
}

static void restart_has_three_values(void **state)
{
	struct manifest manifest = parse_good("hosts: {a: {vip: 127.0.0.2, restart: on-failure}, "
					      "b: {vip: 127.0.0.3, restart: never}}\n");

	(void)state;
	assert_true(manifest.hosts[0].only_failures && !manifest.hosts[0].no_restart);
	assert_true(!manifest.hosts[1].only_failures && manifest.hosts[1].no_restart);
	manifest_free(&manifest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_become_options),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(the_template_is_for_those_that_have_none),
		cmocka_unit_test(no_agent_is_told_without_the_feature),
		cmocka_unit_test(restart_has_three_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
