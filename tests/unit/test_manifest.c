/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_manifest - what a manifest says, and what its hosts are told */
#include <arpa/inet.h>
#include <unistd.h>

#include "manifest_report.h"
#include "mesh/manifest/example.h"

/* --- what it says, as text ------------------------------------------------------------------ */

struct text {
	char bytes[4096];
	size_t len;
};

static void add(struct text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	out->len += (size_t)vsnprintf(
		out->bytes + out->len, sizeof(out->bytes) - out->len, format, args);
	va_end(args);
	assert_true(out->len < sizeof(out->bytes));
}

static void add_ip(struct text *out, struct in_addr ip)
{
	char shown[INET_ADDRSTRLEN];

	add(out, "%s", inet_ntop(AF_INET, &ip, shown, sizeof(shown)));
}

static void add_texts(struct text *out, const char *name, char **texts)
{
	if (!texts)
		return;
	add(out, " %s", name);
	for (; *texts; texts++)
		add(out, "<%s>", *texts);
}

static const char *proto_name(enum proto proto)
{
	return proto == PROTO_UDP ? "udp" : "tcp";
}

static void add_host(struct text *out, const struct manifest_host *host)
{
	add(out, "%s=", host->name);
	add_ip(out, host->vip);
	add_texts(out, "cmd", host->cmd);
	for (size_t i = 0; i < host->own.noffers; i++)
		add(out, " %u:%s:%u/%s", host->own.offers[i].listen_port,
			host->own.offers[i].connect_host, host->own.offers[i].connect_port,
			proto_name(host->own.offers[i].proto));
	if (host->own.http_listen)
		add(out, " http<%s>", host->own.http_listen);
	if (host->own.socks_listen)
		add(out, " socks<%s>", host->own.socks_listen);
	if (host->own.state_dir_path)
		add(out, " state<%s>", host->own.state_dir_path);
	add_texts(out, "aliases", host->aliases);
	add(out, "%s%s%s%s%s\n", host->own.loopback_disable ? " noloopback" : "",
		host->own.state_dir_disable ? " nostate" : "",
		host->own.write_etc_hosts ? " etc" : "", host->no_restart ? " never" : "",
		host->own.any_port ? " any" : "");
}

static void add_routes(struct text *out, const struct mesh_route *routes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add(out, "route ");
		add_ip(out, routes[i].via);
		add_texts(out, "nets", routes[i].cidrs);
		add_texts(out, "names", routes[i].globs);
		add(out, "\n");
	}
}

/* With these very warnings. */
static void check_taken(const char *text, const char *warnings, const char *wanted)
{
	struct text said = {.len = 0};
	struct manifest manifest;

	parse_warned(text, strlen(text), warnings, &manifest);
	for (size_t i = 0; i < manifest.nhosts; i++)
		add_host(&said, &manifest.hosts[i]);
	add_routes(&said, manifest.routes, manifest.nroutes);
	assert_string_equal(said.bytes, wanted);
	manifest_free(&manifest);
	assert_null(manifest.hosts);
}

static void check_good(const char *text, const char *wanted)
{
	check_taken(text, "", wanted);
}

/* --- good ones ------------------------------------------------------------------------------ */

static void test_norouters(void **state)
{
	(void)state;
	check_good(
		"hosts:\n"
		"  # this machine\n"
		"  host0:\n"
		"    vip: \"127.0.42.100\"\n"
		"    http:\n"
		"      listen: \"127.0.0.1:18080\"\n"
		"    socks:\n"
		"      listen: \"127.0.0.1:18081\"\n"
		"  host1:\n"
		"    cmd: \"docker exec -i some-container norouter\"\n"
		"    vip: \"127.0.42.101\"\n"
		"    ports: [\"8080:127.0.0.1:80\", \"15201:127.0.0.1:5201\"]\n"
		"    writeEtcHosts: true\n"
		"  aws_bastion:\n"
		"    cmd: [\"ssh\", \"some-user@host.example.com\", \"--\", \"~/bin/norouter\"]\n"
		"    vip: \"127.0.42.102\"\n"
		"    ports: [\"8080:127.0.0.1:80/tcp\"]\n"
		"routes:\n"
		"  - via: aws_bastion\n"
		"    to: [\"0.0.0.0/0\", \"*\"]\n"
		"  - via: 127.0.42.101\n"
		"    to:\n"
		"      - \"*.example-123456.internal\"\n",
		"host0=127.0.42.100 http<127.0.0.1:18080> socks<127.0.0.1:18081>\n"
		"host1=127.0.42.101 cmd<docker><exec><-i><some-container><norouter> "
		"8080:127.0.0.1:80/tcp 15201:127.0.0.1:5201/tcp etc\n"
		"aws_bastion=127.0.42.102 cmd<ssh><some-user@host.example.com><--><~/bin/norouter> "
		"8080:127.0.0.1:80/tcp\n"
		"route 127.0.42.102 nets<0.0.0.0/0> names<*>\n"
		"route 127.0.42.101 names<*.example-123456.internal>\n");
}

static void test_every_key(void **state)
{
	(void)state;
	check_good(
		"hosts:\n"
		"  a:\n"
		"    vip: 10.9.8.7\n"
		"    cmd: ssh 'a b' \"c\" d\\ e\n"
		"    ports:\n"
		"      - 8080:127.0.0.1:80\n"
		"      - 8080:127.0.0.1:80/udp\n"
		"      - 1:db.example.com.:65535/tcp\n"
		"      - \"2:[::1]:80\"\n"
		"    http: {listen: \"[::1]:18080\"}\n"
		"    socks: {listen: localhost:1080}\n"
		"    loopback: {disable: yes}\n"
		"    stateDir: {pathOnAgent: \"${HOME}/x y\", disable: On}\n"
		"    aliases: [www, www.example.com, 42]\n"
		"    writeEtcHosts: TRUE\n"
		"    restart: never\n"
		"    anyPort: true\n"
		"  b: {vip: 127.1.2.3, cmd: [ssh, -p, 2222, \"\"], restart: \"always\", anyPort: off}\n"
		"routes: [{to: [a.b, 10.0.0.0/8, 1.2.3.4/32], via: WWW.example.com},\n"
		"  {to: [0.0.0.0/0], via: 127.1.2.3}, {to: [x], via: b}]\n",
		"a=10.9.8.7 cmd<ssh><a b><c><d e> 8080:127.0.0.1:80/tcp 8080:127.0.0.1:80/udp "
		"1:db.example.com.:65535/tcp 2:::1:80/tcp http<[::1]:18080> socks<localhost:1080> "
		"state<${HOME}/x y> aliases<www><www.example.com><42> noloopback nostate etc never "
		"any\n"
		"b=127.1.2.3 cmd<ssh><-p><2222><>\n"
		"route 10.9.8.7 nets<10.0.0.0/8><1.2.3.4/32> names<a.b>\n"
		"route 127.1.2.3 nets<0.0.0.0/0>\nroute 127.1.2.3 names<x>\n");
}

/* The template comes first, and each key of a host replaces the template's as a whole. */
static void test_template(void **state)
{
	(void)state;
	check_good("hostTemplate:\n"
		   "  ports: [\"1:a:1\", \"2:a:2\"]\n"
		   "  http: {listen: \"127.0.0.1:1\"}\n"
		   "  socks: {listen: \"127.0.0.1:2\"}\n"
		   "  loopback: {disable: true}\n"
		   "  stateDir: {pathOnAgent: ~/x, disable: true}\n"
		   "  writeEtcHosts: true\n"
		   "  restart: never\n"
		   "  anyPort: true\n"
		   "hosts:\n"
		   "  all: {vip: 127.0.0.2, ports: [\"1:b:3/udp\", \"3:b:3\"]}\n"
		   "  none:\n"
		   "    vip: 127.0.0.3\n"
		   "    http: {listen: \"\"}\n"
		   "    socks: {}\n"
		   "    loopback: {disable: false}\n"
		   "    stateDir: {pathOnAgent: y}\n"
		   "    writeEtcHosts: false\n"
		   "    restart: always\n"
		   "    anyPort: no\n"
		   "  empty:\n"
		   "    vip: 127.0.0.4\n"
		   "    cmd:\n"
		   "    ports:\n"
		   "    http: ~\n"
		   "    aliases: null\n",
		"all=127.0.0.2 1:a:1/tcp 2:a:2/tcp 1:b:3/udp 3:b:3/tcp http<127.0.0.1:1> "
		"socks<127.0.0.1:2> state<~/x> noloopback nostate etc never any\n"
		"none=127.0.0.3 1:a:1/tcp 2:a:2/tcp state<y>\n"
		"empty=127.0.0.4 1:a:1/tcp 2:a:2/tcp http<127.0.0.1:1> socks<127.0.0.1:2> "
		"state<~/x> noloopback nostate etc never any\n");
}

static void test_anchors(void **state)
{
	(void)state;
	check_good("hosts:\n"
		   "  a: &a\n"
		   "    vip: 127.0.0.2\n"
		   "    ports: &p [\"1:x:1\"]\n"
		   "    restart: never\n"
		   "  b: {<<: *a, vip: 127.0.0.3}\n"
		   "  c: {vip: 127.0.0.4, ports: *p, <<: [{anyPort: true}, *a]}\n"
		   "  d: {<<: *a, <<: {vip: 127.0.0.5, restart: always}, aliases: [x]}\n"
		   "  e: {vip: 127.0.0.6, <<: {restart: always}, <<: [{cmd: p}, *a, {cmd: q}]}\n",
		"a=127.0.0.2 1:x:1/tcp never\n"
		"b=127.0.0.3 1:x:1/tcp never\n"
		"c=127.0.0.4 1:x:1/tcp never any\n"
		"d=127.0.0.5 1:x:1/tcp aliases<x>\n"
		"e=127.0.0.6 cmd<p> 1:x:1/tcp never\n");
}

/* What editors of all systems make of a text. */
static void test_spellings(void **state)
{
	static const char *const texts[] = {
		"\xef\xbb\xbfhosts: {a: {vip: 127.0.0.2}}",
		"---\r\nhosts:\r\n  a:\r\n    vip: 127.0.0.2\r\n...\r\n",
		"%YAML 1.1\n--- # all\n\"hosts\": {'a': {vip: !!str 127.0.0.2}}\n",
		"hosts: {a: {vip: !!float 127.0.0.2, anyPort: !!bool \"no\", http: !!null '', cmd: !!null ~}}",
		"{\"hosts\": {\"a\": {\"vip\": \"127.0.0.2\", \"cmd\": null, \"ports\": []}}}",
		"hosts:\n  ? a\n  : vip:\t127.0.0.2\n    ports: &unused\nroutes: []\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		check_good(texts[i], "a=127.0.0.2\n");
}

static void test_example(void **state)
{
	static const char *const keys[] = {"hostTemplate", "hosts", "vip", "cmd", "ports", "http",
		"socks", "listen", "auth", "user", "passwordFile", "onlyUser", "open", "loopback",
		"disable", "stateDir", "pathOnAgent", "aliases", "writeEtcHosts", "restart",
		"anyPort", "routes", "to", "via", "/udp", "/tcp"};
	struct manifest manifest = parse_good(example_manifest);

	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++)
		assert_non_null(strstr(example_manifest, keys[i]));
	assert_true(manifest.nhosts >= 3);
	assert_int_equal(manifest.nroutes, 1);
	manifest_free(&manifest);
}

/* --- what hosts are told -------------------------------------------------------------------- */

static void add_config(struct text *out, const struct mesh_config *config)
{
	add(out, "me ");
	add_ip(out, config->me);
	for (size_t i = 0; i < config->noffers; i++)
		add(out, " %u:%s:%u/%s", config->offers[i].listen_port,
			config->offers[i].connect_host, config->offers[i].connect_port,
			proto_name(config->offers[i].proto));
	for (size_t i = 0; i < config->nothers; i++) {
		add(out, "\nother ");
		add_ip(out, config->others[i].ip);
		add(out, ":%u/%s", config->others[i].port, proto_name(config->others[i].proto));
	}
	for (size_t i = 0; i < config->nnames; i++) {
		add(out, "\nname %s=", config->names[i].name);
		add_ip(out, config->names[i].ip);
	}
	for (size_t i = 0; i < config->nname_servers; i++) {
		add(out, "\ndns ");
		add_ip(out, config->name_servers[i].ip);
		add(out, ":%u/%s", config->name_servers[i].port,
			proto_name(config->name_servers[i].proto));
	}
	add(out, "\n%s %s %s%s%s%s%s\n", config->http_listen ? config->http_listen : "-",
		config->socks_listen ? config->socks_listen : "-",
		config->state_dir_path ? config->state_dir_path : "-",
		config->loopback_disable ? " noloopback" : "",
		config->state_dir_disable ? " nostate" : "", config->write_etc_hosts ? " etc" : "",
		config->any_port ? " any" : "");
	add_routes(out, config->routes, config->nroutes);
}

static void check_config(const struct manifest *manifest, size_t host, const char *wanted)
{
	struct mesh_config config;
	struct text said = {.len = 0};

	memset(&config, 0xa5, sizeof(config));
	assert_int_equal(manifest_configure(manifest, host, &config), 0);
	add_config(&said, &config);
	assert_string_equal(said.bytes, wanted);
	config_free(&config);
	assert_null(config.offers);
}

static void test_configure(void **state)
{
#define NAMES                                                                          \
	"name b=127.0.0.2\nname www=127.0.0.2\nname w.x=127.0.0.2\nname a=127.0.0.3\n" \
	"dns 127.0.0.2:10053/tcp\ndns 127.0.0.2:10053/udp\n"                           \
	"dns 127.0.0.3:10053/tcp\ndns 127.0.0.3:10053/udp\n"
#define ROUTES "route 127.0.0.3 nets<10.0.0.0/8> names<*.x>\nroute 127.0.0.2 names<y>\n"
	struct manifest manifest = parse_good(
		"hostTemplate: {ports: [\"1:t:1\"], http: {listen: \"127.0.0.1:8\"}}\n"
		"hosts:\n"
		"  b: {vip: 127.0.0.2, ports: [\"2:c:3/udp\"], aliases: [www, w.x], anyPort: y,\n"
		"      socks: {listen: \"127.0.0.1:9\"}, stateDir: {pathOnAgent: p}}\n"
		"  a: {vip: 127.0.0.3, loopback: {disable: on}, stateDir: {disable: on},\n"
		"      writeEtcHosts: on, http: {}}\n"
		"routes: [{to: [\"*.x\", 10.0.0.0/8], via: a}, {to: [y], via: b}]\n");

	(void)state;
	check_config(&manifest, 0,
		"me 127.0.0.2 1:t:1/tcp 2:c:3/udp\nother 127.0.0.3:1/tcp\n" NAMES
		"127.0.0.1:8 127.0.0.1:9 p any\n" ROUTES);
	check_config(&manifest, 1,
		"me 127.0.0.3 1:t:1/tcp\nother 127.0.0.2:1/tcp\nother 127.0.0.2:2/udp\n" NAMES
		"- - - noloopback nostate etc\n" ROUTES);
	manifest_free(&manifest);
	manifest = parse_good("hosts: {a: {vip: 127.0.0.3}}");
	check_config(&manifest, 0,
		"me 127.0.0.3\nname a=127.0.0.3\ndns 127.0.0.3:10053/tcp\n"
		"dns 127.0.0.3:10053/udp\n- - -\n");
	manifest_free(&manifest);
}

/* Each row differs from every other one in something about host a. */
static void test_host_equal(void **state)
{
	static const char *const rows[] = {
		"a: {vip: 127.0.0.2}",
		"b: {vip: 127.0.0.2}",
		"a: {vip: 127.0.0.3}",
		"a: {vip: 127.0.0.2, cmd: x}",
		"a: {vip: 127.0.0.2, cmd: x y}",
		"a: {vip: 127.0.0.2, cmd: [x y]}",
		"a: {vip: 127.0.0.2, ports: [\"1:a:1\"]}",
		"a: {vip: 127.0.0.2, ports: [\"2:a:1\"]}",
		"a: {vip: 127.0.0.2, ports: [\"1:b:1\"]}",
		"a: {vip: 127.0.0.2, ports: [\"1:a:2\"]}",
		"a: {vip: 127.0.0.2, ports: [\"1:a:1/udp\"]}",
		"a: {vip: 127.0.0.2, ports: [\"1:a:1\", \"2:a:1\"]}",
		"a: {vip: 127.0.0.2, http: {listen: \"127.0.0.1:1\"}}",
		"a: {vip: 127.0.0.2, http: {listen: \"127.0.0.1:2\"}}",
		"a: {vip: 127.0.0.2, socks: {listen: \"127.0.0.1:1\"}}",
		"a: {vip: 127.0.0.2, loopback: {disable: true}}",
		"a: {vip: 127.0.0.2, stateDir: {pathOnAgent: x}}",
		"a: {vip: 127.0.0.2, stateDir: {disable: true}}",
		"a: {vip: 127.0.0.2, aliases: [x]}",
		"a: {vip: 127.0.0.2, aliases: [x, y]}",
		"a: {vip: 127.0.0.2, aliases: [y, x]}",
		"a: {vip: 127.0.0.2, writeEtcHosts: true}",
		"a: {vip: 127.0.0.2, restart: never}",
		"a: {vip: 127.0.0.2, anyPort: true}",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t k = 0; k < COUNT(rows); k++) {
			snprintf(text, sizeof(text), "hosts: {%s}", rows[i]);
			struct manifest a = parse_good(text);
			/* another host is no difference */
			snprintf(text, sizeof(text), "hosts: {%s, z: {vip: 9.9.9.9}}", rows[k]);
			struct manifest b = parse_good(text);

			assert_int_equal(manifest_host_equal(&a.hosts[0], &b.hosts[0]), i == k);
			manifest_free(&a);
			manifest_free(&b);
		}
}

/* --- files ---------------------------------------------------------------------------------- */

static void test_read(void **state)
{
	static struct report report;
	char path[] = "/tmp/test-manifest-XXXXXX", wanted[128];
	struct manifest manifest;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "hosts: {a: {vip: 1.2.3.4}}", 26), 26);
	report = (struct report){.len = 0};
	assert_int_equal(manifest_read(path, &manifest, on_line, &report), 0);
	assert_string_equal(manifest.hosts[0].name, "a");
	manifest_free(&manifest);

	assert_int_equal(write(fd, "\n}", 2), 2);
	assert_int_equal(manifest_read(path, &manifest, on_line, &report), -EINVAL);
	snprintf(wanted, sizeof(wanted), "%s:2:1: broken YAML: ", path);
	assert_memory_equal(report.text, wanted, strlen(wanted));

	close(fd);
	unlink(path);
	report = (struct report){.len = 0};
	assert_int_equal(manifest_read(path, &manifest, on_line, &report), -ENOENT);
	snprintf(wanted, sizeof(wanted), "%s: cannot be read: No such file or directory\n", path);
	assert_string_equal(report.text, wanted);

	report = (struct report){.len = 0};
	assert_int_equal(manifest_read("/tmp", &manifest, on_line, &report), -EISDIR);
	assert_string_equal(report.text, "/tmp: cannot be read: Is a directory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_norouters),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_template),
		cmocka_unit_test(test_anchors),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_configure),
		cmocka_unit_test(test_host_equal),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
