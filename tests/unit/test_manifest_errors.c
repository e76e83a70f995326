/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_manifest_errors - each line about a manifest that is wrong */
#include "manifest_report.h"

static void test_no_hosts(void **state)
{
	static const char empty[] =
		"the manifest is empty: expected hosts, see nswrap mesh --example\n";
	static const char *const texts[] = {"", "\n\n", "# nothing\n", "---\n...\n", "~", "null\n"};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		char wanted[128];

		snprintf(wanted, sizeof(wanted), "m.yaml:%c:1: %s", i == 3 ? '2' : '1', empty);
		check_bad(texts[i], wanted);
	}
	check_bad("hosts:\n",
		"m.yaml:1:1: no hosts: expected the key hosts, see nswrap mesh --example\n");
	check_bad("hosts: {}\n", "m.yaml:1:8: no hosts: expected a map of hosts by name, see "
				 "nswrap mesh --example\n");
	check_bad("hosts: [a]\n", "m.yaml:1:8: hosts is a list: expected a map of hosts by name, "
				  "see nswrap mesh --example\n");
	check_bad("hello\n", "m.yaml:1:1: the manifest is a text: expected a map with hosts, see "
			     "nswrap mesh --example\n");
	check_bad("routes: []\nhost: {}\n",
		"m.yaml:1:1: no hosts: expected the key hosts, see nswrap mesh --example\n"
		"m.yaml:2:1: warning: unknown key \"host\" is ignored: did you mean hosts?\n");
}

static void test_broken_yaml(void **state)
{
	static const char *const rows[][2] = {
		{"hosts:\n\ta:\n",
			"2:1: broken YAML: a tab: expected spaces, which alone indent in YAML"},
		{"hosts:\n  a:\n    vip: 1\n\t  b: c\n",
			"4:1: broken YAML: a tab: expected spaces, which alone indent in YAML"},
		{"routes: [{to: [*.example.com]}]\n",
			"1:16: broken YAML: * begins an alias in YAML: expected quotes around a "
			"text that begins with it"},
		{"hosts: {a: {vip: @x}}\n",
			"1:18: broken YAML: @ cannot begin a text: expected quotes around it"},
		{"hosts:\n  a:\n    vip: \"127.0.0.2\n",
			"3:10: broken YAML: the quotes that begin here have no end: expected "
			"another one like it"},
		{"hosts:\n  a:\n    ports: [\"1:a:1\"\n  b:\n    vip: 1\n",
			"4:3: broken YAML: a list in brackets has no end: expected , or ] here"},
		{"hosts: {a: b\n",
			"2:1: broken YAML: a map in braces has no end: expected , or } here"},
		{"hosts: a: b\n",
			"1:9: broken YAML: a colon where none can be: expected quotes around the "
			"text, or the key on a line of its own and indented like the others"},
		{"hosts:\n  a:\n    vip: 1\n   cmd: x\n",
			"4:4: broken YAML: no key: expected one, indented like the others, or "
			"quotes around all of a text"},
		{"routes:\n- to: []\n- a\nvia: b\n- c\n",
			"5:1: broken YAML: no key: expected one, indented like the others, or "
			"quotes around all of a text"},
		{"- a\nhosts: b\n",
			"2:1: broken YAML: no item of the list: expected - here, indented like the "
			"others"},
		{"hosts: - a\n",
			"1:8: broken YAML: a list cannot begin here: expected - on a line of its "
			"own"},
		{"hosts:\n  a\n  vip: 1\n",
			"3:6: broken YAML: a colon where none can be: expected quotes around the "
			"text, or the key on a line of its own and indented like the others"},
		{"hosts: {a: ]}\n",
			"1:12: broken YAML: nothing that can be a value: expected one, or quotes "
			"around all of a text"},
		{"\"hosts\" \"x\"\n",
			"1:9: broken YAML: text behind the end of the document: expected nothing "
			"more"},
		{"a: \"\\q\"\n",
			"1:5: broken YAML: a backslash in double quotes: expected \\\\, or single "
			"quotes around the text"},
		{"%YAML 3.0\n---\na\n", "1:1: broken YAML: found incompatible YAML document"},
		{"a: b\n\xc3\xa9: \xff\n", "2:4: broken YAML: no UTF-8: expected a text file"},
		{"a: b\nc: \x01\n", "2:4: broken YAML: a control character: expected plain text"},
	};
	char wanted[256];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(wanted, sizeof(wanted), "m.yaml:%s\n", rows[i][1]);
		check_bad(rows[i][0], wanted);
	}
	check_bad_bytes(
		"a: \0", 4, "m.yaml:1:4: broken YAML: a control character: expected plain text\n");
	check_bad("\xef\xbb\xbfhosts: @\n",
		"m.yaml:1:8: broken YAML: @ cannot begin a text: expected quotes around it\n");
	check_bad_bytes(
		"\xff\xfe\x61\0", 4, "m.yaml:1:1: broken YAML: no UTF-8: expected a text file\n");
}

/* Mistakes in YAML that leave the rest readable: the rest is looked at, too. */
static void test_strange_yaml(void **state)
{
	(void)state;
	check_bad("hosts: {a: {vip: 127.0.0.2, cmd: *c, <<: *d, <<: 5}, b: {}}\n",
		"m.yaml:1:34: alias *c has no anchor &c before it: expected one, or quotes around "
		"a text that begins with *\n"
		"m.yaml:1:42: alias *d has no anchor &d before it: expected one, or quotes around "
		"a text that begins with *\n"
		"m.yaml:1:50: << takes the keys of another map: expected one, such as *name\n"
		"m.yaml:1:54: host b: no vip: expected an IPv4 address such as 127.0.42.101\n");
	check_bad("hosts: &h {a: {vip: 127.0.0.2, <<: 5}, *h : 1}\n",
		"m.yaml:1:36: << takes the keys of another map: expected one, such as *name\n"
		"m.yaml:1:40: alias *h has no anchor &h before it: expected one, or quotes around "
		"a text that begins with *\n");
	check_bad("hosts: {a: {vip: 127.0.0.2, [x]: y, {a: b}: c}}\n",
		"m.yaml:1:29: a list or map as a key: expected a name, or quotes around it\n"
		"m.yaml:1:37: a list or map as a key: expected a name, or quotes around it\n");
	check_bad("hosts: {a: {vip: !!binary MTI3LjAuMC4y, cmd: !run [x\n]}}\n",
		"m.yaml:1:18: tag \"tag:yaml.org,2002:binary\" means nothing here: expected none\n"
		"m.yaml:1:18: host a: vip \"MTI3LjAuMC4y\" is no IPv4 address: expected one such as "
		"127.0.42.101\n"
		"m.yaml:1:46: warning: tag \"!run\" is ignored: expected none\n");
	check_bad("hosts: {a: {vip: 1}}\n---\nhosts: {b: {vip: 2}}\n",
		"m.yaml:1:18: host a: vip \"1\" is no IPv4 address: expected one such as "
		"127.0.42.101\n"
		"m.yaml:2:1: warning: a second document begins, which is ignored: expected one "
		"only\n");
	check_bad("hosts: {a: {vip: \"127.0.0.2\\0\"}}\n",
		"m.yaml:1:18: a zero byte in a text: expected none\n");
	check_bad("hosts: {a: {vip: 127.0.0.2}}\nhosts: {b: {vip: 3}}\n",
		"m.yaml:2:1: warning: hosts is given twice: this one counts, that of line 1 is "
		"ignored\n"
		"m.yaml:2:18: host b: vip \"3\" is no IPv4 address: expected one such as "
		"127.0.42.101\n");
}

/* Each is the value of a key of a host on line 3, column 5, that has a vip on line 2. */
static void test_values(void **state)
{
#define PORT_FORM "expected LISTEN:HOST:PORT[/tcp|/udp], such as 8080:127.0.0.1:80"
#define RANGE     "is out of range: expected 1 to 65535"
#define CMD_FORM  "expected a text in quotes or a list of words"
#define NO_NAME   "is no host name: expected letters, digits, - and _, with dots between"
	static const char *const rows[][2] = {
		{"cmd: 42", "10: cmd is a number: " CMD_FORM},
		{"cmd: -4.2e7", "10: cmd is a number: " CMD_FORM},
		{"cmd: true", "10: cmd is true or false: " CMD_FORM},
		{"cmd: {ssh: host}", "10: cmd is a map: " CMD_FORM},
		{"cmd: [ssh, [host]]", "16: a word of cmd is a list: expected a text"},
		{"cmd: [ssh, ~]", "16: a word of cmd is empty: expected a text"},
		{"cmd: [\"\", x]",
			"10: cmd begins with an empty word: expected the name of a program"},
		{"cmd: ssh 'a", "10: cmd has quotes without an end: expected another one like it, "
				"or a list of words"},
		{"ports: [\"73616:127.0.0.1:80\"]", "13: port 73616 " RANGE},
		{"ports: [\"80:127.0.0.1:0\"]", "13: port 0 " RANGE},
		{"ports: [0:127.0.0.1:80]", "13: port 0 " RANGE},
		{"ports: [99999999999999999999:a:80]", "13: port 99999999999999999999 " RANGE},
		{"ports: [\"x:127.0.0.1:80\"]", "13: port \"x\" is no number: expected 1 to 65535"},
		{"ports: [\"-1:a:80\"]", "13: port \"-1\" is no number: expected 1 to 65535"},
		{"ports: [\"1:a: 80\"]", "13: port \" 80\" is no number: expected 1 to 65535"},
		{"ports: [8080:80]", "13: \"8080:80\" is no port: " PORT_FORM},
		{"ports: [8080]", "13: \"8080\" is no port: " PORT_FORM},
		{"ports: [\"\"]", "13: \"\" is no port: " PORT_FORM},
		{"ports: [~]", "13: a port is empty: " PORT_FORM},
		{"ports: [8080: \"127.0.0.1:80\"]", "13: a port is a map: " PORT_FORM},
		{"ports: 8080:127.0.0.1:80",
			"12: ports is a text: expected a list such as [\"8080:127.0.0.1:80\"]"},
		{"ports: [\"1:127.0.0.1:80/sctp\"]",
			"13: \"/sctp\" is no protocol: expected /tcp or /udp"},
		{"ports: [\"1:127.0.0.300:80\"]",
			"13: \"127.0.0.300\" is no address or host name: expected one such as "
			"127.0.0.1 or [::1]"},
		{"ports: [\"1:[::1::]:80\"]", "13: \"[::1::]\" is no address or host name: "
					      "expected one such as 127.0.0.1 or [::1]"},
		{"ports: [\"1:a:1\", \"1:b:2/udp\", \"1:b:2/tcp\"]",
			"35: port 1/tcp is given twice, with two targets: expected one for a host "
			"and its template"},
		{"ports: [\"10053:127.0.0.1:53\"]",
			"13: port 10053/tcp is the mesh's own name server: expected another one"},
		{"ports: [\"10053:127.0.0.1:53/udp\"]",
			"13: port 10053/udp is the mesh's own name server: expected another one"},
		{"http: 127.0.0.1:1", "11: http is a text: expected a map with listen"},
		{"http: {listen: 18080}", "20: http.listen: \"18080\" is no address: expected "
					  "ADDR:PORT, such as 127.0.0.1:18080"},
		{"socks: {listen: \"::1:80\"}", "21: socks.listen: \"::1:80\" is no address: "
						"expected ADDR:PORT, such as 127.0.0.1:18080"},
		{"socks: {listen: \"[::1]:0\"}", "21: socks.listen: port 0 " RANGE},
		{"socks: {listen: [x]}", "21: socks.listen is a list: expected ADDR:PORT"},
		{"http: {listen: \":18080\"}",
			"20: http.listen: \":18080\" is open to other machines: expected an address "
			"such as 127.0.0.1:18080, or auth, onlyUser: true or open: true beside it"},
		{"socks: {listen: 0.0.0.0, onlyUser: no, open: false}",
			"21: socks.listen: \"0.0.0.0\" is open to other machines: expected an address "
			"such as 127.0.0.1:18081, or auth, onlyUser: true or open: true beside it"},
		{"socks: {listen: \"box:1\", auth: }",
			"21: socks.listen: \"box:1\" is open to other machines: expected an address "
			"such as 127.0.0.1:1, or auth, onlyUser: true or open: true beside it"},
		{"http: {auth: [x]}",
			"18: http.auth is a list: expected a map with user and passwordFile"},
		{"http: {auth: {user: x}}", "18: http.auth has no passwordFile: expected a map "
					    "with user and passwordFile"},
		{"http: {auth: {passwordFile: x}}", "18: http.auth has no user: expected a map "
						    "with user and passwordFile"},
		{"http: {auth: {user: \"a:b\", passwordFile: x}}",
			"25: http.auth.user is \"a:b\": expected 1 to 255 bytes without a colon or "
			"control characters"},
		{"socks: {onlyUser: me}", "23: socks.onlyUser is \"me\": expected true or false"},
		{"socks: {open: 1}", "19: socks.open is \"1\": expected true or false"},
		{"loopback: true", "15: loopback is true or false: expected a map with disable"},
		{"loopback: {disable: \"yes\"}",
			"25: loopback.disable is \"yes\": expected true or false without quotes"},
		{"stateDir: /tmp",
			"15: stateDir is a text: expected a map with pathOnAgent or disable"},
		{"stateDir: {pathOnAgent: {}}",
			"29: stateDir.pathOnAgent is a map: expected a path"},
		{"stateDir: {disable: 1}", "25: stateDir.disable is \"1\": expected true or false"},
		{"allow: www",
			"12: allow is a text: expected a list of hosts, such as [\"laptop\", "
			"\"lab:80\"]"},
		{"allow: [b]", "13: allow \"b\" is no host: expected a name or vip from hosts"},
		{"allow: [a/tcp]", "13: \"a/tcp\" has a protocol and no port: expected "
				   "NAME[:PORT[/tcp|/udp]], such as lab:80"},
		{"allow: [\"a:0\"]",
			"13: \"a:0\": \"0\" is no port: expected a number from 1 to 65535"},
		{"aliases: www", "14: aliases is a text: expected a list of host names"},
		{"aliases: [a b]", "15: alias \"a b\" " NO_NAME},
		{"aliases: [10.0.0.1]", "15: alias \"10.0.0.1\" " NO_NAME},
		{"aliases: [www.]", "15: alias \"www.\" " NO_NAME},
		{"aliases: [-a]", "15: alias \"-a\" " NO_NAME},
		{"aliases: [\"\\e[31m\"]", "15: alias \"\\x1b[31m\" " NO_NAME},
		{"aliases: [{a: b}]", "15: an alias is a map: expected a host name"},
		{"aliases: [w, W]",
			"18: alias \"W\" is given twice: expected another one, line 3 has it"},
		{"aliases: [A]",
			"15: alias \"A\" is given twice: expected another one, line 1 has it"},
		{"writeEtcHosts: maybe", "20: writeEtcHosts is \"maybe\": expected true or false"},
		{"writeEtcHosts: []", "20: writeEtcHosts is a list: expected true or false"},
		{"restart: no", "14: restart is \"no\": expected always, on-failure or never"},
		{"restart: on-failures",
			"14: restart is \"on-failures\": expected always, on-failure or never"},
		{"anyPort: 8080", "14: anyPort is \"8080\": expected true or false"},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text), "hosts: {a: {\n    vip: 127.0.0.2,\n    %s}}\n",
			rows[i][0]);
		snprintf(wanted, sizeof(wanted), "m.yaml:3:%.*shost a: %s\n",
			(int)(strchr(rows[i][1], ' ') + 1 - rows[i][1]), rows[i][1],
			strchr(rows[i][1], ' ') + 1);
		check_bad(text, wanted);
	}
}

static void check_named(const char *text, bool is_good)
{
	static struct report report;
	struct manifest manifest;
	int rc = parse_bytes(text, strlen(text), &manifest, &report);

	assert_int_equal(rc, is_good ? 0 : -EINVAL);
	if (is_good)
		manifest_free(&manifest);
	else
		assert_non_null(strstr(report.text, NO_NAME));
}

/* The longest names that the DNS has, and one letter more. */
static void test_long_names(void **state)
{
	char label[65], name[260], text[512];

	(void)state;
	memset(label, 'a', 64);
	label[64] = '\0';
	for (int len = 63; len <= 64; len++) {
		snprintf(text, sizeof(text), "hosts: {%.*s: {vip: 127.0.0.2}}", len, label);
		check_named(text, len == 63);
	}
	for (int len = 61; len <= 62; len++) {
		snprintf(name, sizeof(name), "%.63s.%.63s.%.63s.%.*s", label, label, label, len,
			label);
		snprintf(text, sizeof(text), "hosts: {%s: {vip: 127.0.0.2}}", name);
		check_named(text, len == 61);
	}
}

static void test_vips(void **state)
{
	static const char *const rows[][2] = {
		{"127.0.0.1",
			"127.0.0.1 is each host's own loopback address: expected another one, "
			"such as"},
		{"127.0.0.0", "127.0.0.0 is no host of the loopback network, but its first or last "
			      "address: expected another one, such as"},
		{"127.255.255.255", "127.255.255.255 is no host of the loopback network, but its "
				    "first or last address: expected another one, such as"},
		{"0.0.0.0", "0.0.0.0 stands for no host: expected another one, such as"},
		{"0.1.2.3", "0.1.2.3 stands for no host: expected another one, such as"},
		{"224.0.0.1", "224.0.0.1 is a multicast address: expected another one, such as"},
		{"255.255.255.255", "255.255.255.255 is the broadcast address: expected another "
				    "one, such as"},
		{"127.0.42.300", "\"127.0.42.300\" is no IPv4 address: expected one such as"},
		{"127.0.42", "\"127.0.42\" is no IPv4 address: expected one such as"},
		{"127.0.042.1", "\"127.0.042.1\" is no IPv4 address: expected one such as"},
		{"127.0.0.2/8", "\"127.0.0.2/8\" is no IPv4 address: expected one such as"},
		{"fd00::1", "\"fd00::1\" is no IPv4 address: expected one such as"},
		{"host", "\"host\" is no IPv4 address: expected one such as"},
		{"\"\"", "\"\" is no IPv4 address: expected one such as"},
		{"[]", "is a list: expected an IPv4 address such as"},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text), "hosts:\n  a:\n    vip: %s\n", rows[i][0]);
		snprintf(wanted, sizeof(wanted), "m.yaml:3:10: host a: vip %s 127.0.42.101\n",
			rows[i][1]);
		check_bad(text, wanted);
	}
	check_bad("hosts:\n  a:\n    vip:\n  b:\n  c: x\n",
		"m.yaml:2:3: host a: no vip: expected an IPv4 address such as 127.0.42.101\n"
		"m.yaml:4:5: host b: it is empty: expected a map with vip at least\n"
		"m.yaml:5:6: host c: it is a text: expected a map with vip at least\n");
}

/* Of those that nobody can have a list would look at each one, each time. */
static void test_networks_of_lists(void **state)
{
	static const char *const rows[][2] = {
		{"0.0.0.0/0", ": expected a prefix of 8 to 32"},
		{"224.0.0.0/4", ": expected a prefix of 8 to 32"},
		{"126.0.0.0/7", ": expected a prefix of 8 to 32"},
		{"0.0.0.0/8", ", where each address stands for no host: expected a network such as "
			      "127.0.60.0/24"},
		{"224.0.0.0/8", ", where each address is a multicast address: expected a network "
				"such as 127.0.60.0/24"},
		{"255.0.0.0/8", ", where each address is reserved (class E): expected a network "
				"such as 127.0.60.0/24"},
		{"127.0.0.53/32", ", where each address is where systemd-resolved listens: "
				  "expected a network such as 127.0.60.0/24"},
		{"127.0.0.0/8", NULL},
		{"127.0.0.0/30", NULL},
		{"127.0.0.2/31", NULL},
		{"192.0.2.1/32", NULL},
	};
	static struct report report;
	struct manifest manifest;
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text),
			"hostsFrom:\n- list: x\n  cmd: ssh {name}\n  vips: %s\n", rows[i][0]);
		snprintf(wanted, sizeof(wanted), "m.yaml:4:9: list 1: vips is %s%s\n", rows[i][0],
			rows[i][1] ? rows[i][1] : "");
		if (rows[i][1]) {
			check_bad(text, wanted);
			continue;
		}
		assert_int_equal(parse_bytes(text, strlen(text), &manifest, &report), 0);
		manifest_free(&manifest);
	}
}

/* Between hosts, and between the template and a host. */
static void test_install(void **state)
{
#define NO_SANDBOX                                                                             \
	"install and sandbox: what is sent makes no sandboxes: expected one of the two, or a " \
	"cmd that leads to nswrap and no install\n"
#define SANDBOX "sandbox: {command: x}"

	(void)state;
	check_bad("hosts:\n  a: {vip: 127.0.0.2, install: true}\n",
		"m.yaml:2:3: host a: install: expected a cmd that leads to a shell, such as \"ssh "
		"gw sh\"\n");
	check_bad("hosts:\n  a: {vip: 127.0.0.2, cmd: sh, install: true, " SANDBOX "}\n",
		"m.yaml:2:3: host a: " NO_SANDBOX);
	check_bad("hostTemplate: {install: true}\n"
		  "hosts:\n  a: {vip: 127.0.0.2, cmd: sh, " SANDBOX "}\n",
		"m.yaml:3:3: host a: " NO_SANDBOX);
	check_bad("hostsFrom:\n- list: x\n  cmd: ssh {name}\n  vips: 127.0.60.0/24\n"
		  "  install: true\n  " SANDBOX "\n",
		"m.yaml:2:3: list 1: " NO_SANDBOX);
	check_warned("hosts:\n  a: {vip: 127.0.0.2, cmd: sh, install: false, " SANDBOX "}\n", "");
}

static void test_several_hosts(void **state)
{
	(void)state;
	check_bad("hosts:\n"
		  "  a: {vip: 127.0.0.2, aliases: [c]}\n"
		  "  b: {vip: 127.0.0.2}\n"
		  "  c: {vip: 127.0.0.3, aliases: [x, b]}\n"
		  "  A: {vip: 127.0.0.4}\n"
		  "  B: {vip: 127.0.0.5}\n"
		  "  \"a b\": {vip: 127.0.0.6}\n"
		  "  10.0.0.1: {vip: 127.0.0.7}\n",
		"m.yaml:3:12: host b: vip 127.0.0.2 is given twice: expected another one, host a "
		"has it in line 2\n"
		"m.yaml:4:3: host c: name \"c\" is given twice: expected another one, line 2 has "
		"it\n"
		"m.yaml:4:36: host c: alias \"b\" is given twice: expected another one, line 3 has "
		"it\n"
		"m.yaml:5:3: host A: name \"A\" is given twice: expected another one, line 2 has "
		"it\n"
		"m.yaml:6:3: host B: name \"B\" is given twice: expected another one, line 3 has "
		"it\n"
		"m.yaml:7:3: host a b: name \"a b\" " NO_NAME "\n"
		"m.yaml:8:3: host 10.0.0.1: name \"10.0.0.1\" " NO_NAME "\n");
	check_bad("hostTemplate:\n"
		  "  vip: 127.0.0.9\n"
		  "  cmd: x\n"
		  "  aliases: [b]\n"
		  "  ports: [\"8080:a:80\", bad]\n"
		  "  restart: no\n"
		  "  anyport: true\n"
		  "hosts:\n"
		  "  a: {vip: 127.0.0.2, ports: [\"8080:b:80\"]}\n"
		  "  b: {vip: 127.0.0.3}\n",
		"m.yaml:2:8: hostTemplate: vip is not for all hosts: expected it at each host\n"
		"m.yaml:3:8: hostTemplate: cmd is not for all hosts: expected it at each host\n"
		"m.yaml:4:12: hostTemplate: aliases is not for all hosts: expected it at each "
		"host\n"
		"m.yaml:5:24: hostTemplate: \"bad\" is no port: " PORT_FORM "\n"
		"m.yaml:6:12: hostTemplate: restart is \"no\": expected always, on-failure or never\n"
		"m.yaml:7:3: warning: hostTemplate: unknown key \"anyport\" is ignored: did you "
		"mean anyPort?\n"
		"m.yaml:9:31: host a: port 8080/tcp is given twice, with two targets: expected one "
		"for a host and its template\n");
	check_bad("hostTemplate: [x]\nhosts: {a: {vip: 1.2.3.4}}\n",
		"m.yaml:1:15: hostTemplate: it is a list: expected a map with keys of a host\n");
}

static void test_routes(void **state)
{
#define TO_FORM                                                                 \
	"expected a list of networks and host names, such as [\"10.0.0.0/8\", " \
	"\"*.example.com\"]"
	static const char *const rows[][2] = {
		{"{to: [10.0.0.0/33], via: web}",
			"11: route 1: \"10.0.0.0/33\" is no IPv4 network: expected a prefix from 0 "
			"to 32 behind the slash"},
		{"{to: [\"a b\"], via: web}",
			"11: route 1: \"a b\" is no IPv4 network or host name: expected one such as "
			"10.0.2.0/24 or *.example.com"},
		{"{to: [\"\"], via: web}",
			"11: route 1: \"\" is no IPv4 network or host name: expected one such as "
			"10.0.2.0/24 or *.example.com"},
		{"{to: [~], via: web}", "11: route 1: an item of to is empty: expected a network "
					"such as 10.0.2.0/24, or a host name"},
		{"{to: a.b, via: web}", "10: route 1: to is a text: " TO_FORM},
		{"{to: [a.b]}", "5: route 1: no via: expected a host's name or vip"},
		{"{to: [a.b], via: [web]}",
			"22: route 1: via is a list: expected a host's name or vip"},
		{"{to: [a.b], via: wbe}", "22: route 1: via \"wbe\" is no host: did you mean web?"},
		{"{to: [a.b], via: nobody}",
			"22: route 1: via \"nobody\" is no host: expected a name or vip from "
			"hosts"},
		{"web", "5: route 1: it is a text: expected a map with to and via"},
	};
	char text[256], wanted[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text), "hosts: {web: {vip: 127.0.0.2}}\nroutes:\n  - %s\n",
			rows[i][0]);
		snprintf(wanted, sizeof(wanted), "m.yaml:3:%s\n", rows[i][1]);
		check_bad(text, wanted);
	}
	check_bad("hosts: {web: {vip: 127.0.0.2}}\nroutes: {to: [a.b], via: web}\n",
		"m.yaml:2:9: routes is a map: expected a list of maps with to and via\n");
	check_bad("hosts: {}\nroutes: [{to: [a.b], via: web}]\n",
		"m.yaml:1:8: no hosts: expected a map of hosts by name, see nswrap mesh "
		"--example\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_hosts),
		cmocka_unit_test(test_broken_yaml),
		cmocka_unit_test(test_strange_yaml),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_vips),
		cmocka_unit_test(test_networks_of_lists),
		cmocka_unit_test(test_install),
		cmocka_unit_test(test_several_hosts),
		cmocka_unit_test(test_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
