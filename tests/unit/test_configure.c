/* SPDX-License-Identifier: Apache-2.0 */
/* test_configure - the arguments of `configure`, as a manager writes them and as it may not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/info.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static json_t *json(const char *text)
{
	json_error_t reason;
	json_t *value = json_loads(text, JSON_DECODE_ANY, &reason);

	if (!value)
		fail_msg("%s: %s", text, reason.text);
	return value;
}

static struct mesh_config decode(const char *text)
{
	json_t *args = json(text);
	struct mesh_config config;
	struct err err;

	if (configure_decode(args, &config, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	json_decref(args); /* the configuration is its own */
	return config;
}

static struct in_addr addr(const char *text)
{
	struct in_addr out;

	assert_int_equal(inet_pton(AF_INET, text, &out), 1);
	return out;
}

static void expect_addr(struct in_addr found, const char *text)
{
	assert_int_equal(found.s_addr, addr(text).s_addr);
}

static void everything_is_read(void **state)
{
	struct mesh_config config = decode(
		"{\"me\":\"127.0.42.101\",\"forwards\":["
		"{\"listen_port\":1,\"connect_ip\":\"127.0.0.1\",\"connect_port\":65535,"
		"\"proto\":\"tcp\",\"new\":{}},"
		"{\"listen_port\":53,\"connect_ip\":\"db-1.a_b.example\",\"connect_port\":53,"
		"\"proto\":\"udp\"}],"
		"\"others\":[{\"ip\":\"127.0.42.102\",\"port\":80},"
		"{\"ip\":\"127.0.42.102\",\"port\":53,\"proto\":\"udp\"}],"
		"\"hostnameMap\":{\"b\":\"127.0.42.102\",\"a\":\"127.0.42.101\"},"
		"\"http\":{\"listen\":\"127.0.0.1:18180\"},\"socks\":{\"listen\":\":1080\"},"
		"\"loopback\":{\"disable\":true},"
		"\"stateDir\":{\"path\":\"~/x\",\"disable\":true},\"writeEtcHosts\":true,"
		"\"routes\":[{\"toCIDR\":[\"10.0.0.0/8\",\"::/0\"],\"toHostnameGlob\":null,"
		"\"via\":\"127.0.42.102\"},{\"toHostnameGlob\":[\"*.example\"],"
		"\"via\":\"127.0.42.101\"}],"
		"\"nameServers\":[{\"ip\":\"127.0.42.101\",\"port\":10053,\"proto\":\"tcp\"}],"
		"\"anyPort\":true,\"more\":[1]}");

	(void)state;
	expect_addr(config.me, "127.0.42.101");
	assert_int_equal(config.noffers, 2);
	assert_int_equal(config.offers[0].listen_port, 1);
	assert_string_equal(config.offers[0].connect_host, "127.0.0.1");
	assert_int_equal(config.offers[0].connect_port, 65535);
	assert_int_equal(config.offers[0].proto, PROTO_TCP);
	assert_string_equal(config.offers[1].connect_host, "db-1.a_b.example");
	assert_int_equal(config.offers[1].proto, PROTO_UDP);
	assert_int_equal(config.nothers, 2);
	expect_addr(config.others[0].ip, "127.0.42.102");
	assert_int_equal(config.others[0].port, 80);
	assert_int_equal(config.others[0].proto, PROTO_TCP);
	assert_int_equal(config.others[1].proto, PROTO_UDP);
	assert_int_equal(config.nnames, 2);
	assert_string_equal(config.names[0].name, "b");
	expect_addr(config.names[1].ip, "127.0.42.101");
	assert_string_equal(config.http_listen, "127.0.0.1:18180");
	assert_string_equal(config.socks_listen, ":1080");
	assert_true(config.loopback_disable && config.state_dir_disable && config.write_etc_hosts);
	assert_string_equal(config.state_dir_path, "~/x");
	assert_int_equal(config.nroutes, 2);
	assert_string_equal(config.routes[0].cidrs[1], "::/0");
	assert_null(config.routes[0].cidrs[2]);
	assert_null(config.routes[0].globs);
	expect_addr(config.routes[0].via, "127.0.42.102");
	assert_null(config.routes[1].cidrs);
	assert_string_equal(config.routes[1].globs[0], "*.example");
	assert_null(config.routes[1].globs[1]);
	assert_int_equal(config.nname_servers, 1);
	assert_int_equal(config.name_servers[0].port, 10053);
	assert_true(config.any_port);
	config_free(&config);
}

/* NoRouter's "8080::80" */
static void a_target_without_host_is_the_agents_own(void **state)
{
	struct mesh_config config = decode("{\"me\":\"10.1.2.3\",\"forwards\":[{\"listen_port\":1,"
					   "\"connect_ip\":\"\",\"connect_port\":2}]}");

	(void)state;
	assert_string_equal(config.offers[0].connect_host, "127.0.0.1");
	config_free(&config);
}

static void what_is_missing_is_off(void **state)
{
	static const char *const rows[] = {
		"{\"me\":\"10.1.2.3\"}",
		"{\"me\":\"10.1.2.3\",\"forwards\":null,\"others\":null,\"hostnameMap\":null,"
		"\"http\":null,\"socks\":null,\"loopback\":null,\"stateDir\":null,"
		"\"writeEtcHosts\":null,\"routes\":null,\"nameServers\":null,\"anyPort\":null}",
		"{\"me\":\"10.1.2.3\",\"forwards\":[],\"others\":[],\"hostnameMap\":{},"
		"\"http\":{},\"socks\":{\"listen\":\"\"},\"loopback\":{\"disable\":false},"
		"\"stateDir\":{\"path\":\"\",\"disable\":null},\"writeEtcHosts\":false,"
		"\"routes\":[],\"nameServers\":[],\"anyPort\":false}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mesh_config config = decode(rows[i]), empty = {.me = addr("10.1.2.3")};

		assert_memory_equal(&config, &empty, sizeof(config));
		config_free(&config);
	}
}

#define WITH(members)  "{\"me\":\"10.1.2.3\"," members "}"
#define OFFER(members) WITH("\"forwards\":[{" members "}]")
#define OTHER(members) WITH("\"others\":[{\"ip\":\"10.0.0.1\",\"port\":1},{" members "}]")
#define TARGET(host)   OFFER("\"listen_port\":1,\"connect_port\":1,\"connect_ip\":\"" host "\"")
#define LONG_LABEL     "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefghi."

static const char *const bad[][2] = {
	{"[]", "args: expected an object"},
	{"7", "args: expected an object"},
	{"{}", "me: expected an IPv4 address of a host, found nothing"},
	{"{\"me\":null}", "me: "},
	{"{\"me\":1}", "me: "},
	{"{\"me\":\"\"}", "me: "},
	{"{\"me\":\"localhost\"}", "found \"localhost\""},
	{"{\"me\":\"::1\"}", "me: "},
	{"{\"me\":\"1.2.3\"}", "me: "},
	{"{\"me\":\"1.2.3.4 \"}", "me: "},
	{"{\"me\":\"1.2.3.04\"}", "me: "},
	{"{\"me\":\"1.2.3.256\"}", "me: "},
	{"{\"me\":\"0.0.0.0\"}", "me: "},
	{"{\"me\":\"224.0.0.1\"}", "me: "},
	{"{\"me\":\"255.255.255.255\"}", "me: "},
	{WITH("\"forwards\":{}"), "forwards: expected a list, found {}"},
	{WITH("\"forwards\":[1]"), "forwards[0]: expected an object, found 1"},
	{WITH("\"forwards\":[null]"), "forwards[0]: expected an object"},
	{OFFER(""), "forwards[0].listen_port: expected a port from 1 to 65535, found nothing"},
	{OFFER("\"listen_port\":0"), "listen_port"},
	{OFFER("\"listen_port\":65536"), "found 65536"},
	{OFFER("\"listen_port\":4294967297"), "listen_port"},
	{OFFER("\"listen_port\":-1"), "listen_port"},
	{OFFER("\"listen_port\":80.0"), "listen_port"},
	{OFFER("\"listen_port\":\"80\""), "listen_port"},
	{OFFER("\"listen_port\":1"), "forwards[0].connect_ip"},
	{OFFER("\"listen_port\":1,\"connect_ip\":5"), "forwards[0].connect_ip"},
	{OFFER("\"listen_port\":1,\"connect_ip\":\"a\""), "forwards[0].connect_port"},
	{OFFER("\"listen_port\":1,\"connect_ip\":\"a\",\"connect_port\":0"), "connect_port"},
	{OFFER("\"listen_port\":1,\"connect_ip\":\"a\",\"connect_port\":1,\"proto\":\"sctp\""),
		"forwards[0].proto: expected \"tcp\" or \"udp\", found \"sctp\""},
	{OFFER("\"listen_port\":1,\"connect_ip\":\"a\",\"connect_port\":1,\"proto\":6"),
		"forwards[0].proto"},
	{TARGET(" "), "forwards[0].connect_ip: expected an IPv4 or IPv6 address or a host name, "
		      "found"},
	{TARGET("::1::"), "IPv6 address"},
	{TARGET("[::1"), "IPv6 address"},
	{TARGET("::1%lo"), "IPv6 address"},
	{TARGET("127.1"), "connect_ip"},
	{TARGET("1.2.3.4.5"), "connect_ip"},
	{TARGET("300.2.3.4"), "connect_ip"},
	{TARGET("2130706433"), "connect_ip"},
	{TARGET("a b"), "connect_ip"},
	{TARGET("a/b"), "connect_ip"},
	{TARGET("a\\n"), "found \"a\\n\""},
	{TARGET("gr\xc3\xbc\xc3\x9f"), "connect_ip"},
	{TARGET(LONG_LABEL LONG_LABEL LONG_LABEL LONG_LABEL), "connect_ip"},
	{WITH("\"others\":\"x\""), "others: expected a list"},
	{WITH("\"others\":[[]]"), "others[0]: expected an object"},
	{OTHER(""), "others[1].ip"},
	{OTHER("\"ip\":\"x\",\"port\":1"), "others[1].ip"},
	{OTHER("\"ip\":\"0.0.0.0\",\"port\":1"), "others[1].ip"},
	{OTHER("\"ip\":\"10.0.0.1\""), "others[1].port"},
	{OTHER("\"ip\":\"10.0.0.1\",\"port\":99999"), "others[1].port"},
	{OTHER("\"ip\":\"10.0.0.1\",\"port\":1,\"proto\":\"TCP\""), "others[1].proto"},
	{WITH("\"hostnameMap\":[]"), "hostnameMap: expected an object"},
	{WITH("\"hostnameMap\":{\"a\":\"10.0.0.1\",\"b\":1}"), "hostnameMap.b"},
	{WITH("\"hostnameMap\":{\"a\":\"10.0.0.1\",\"b\":null}"), "hostnameMap.b"},
	{WITH("\"hostnameMap\":{\"\":\"10.0.0.1\"}"), "hostnameMap."},
	{WITH("\"hostnameMap\":{\"a\\nb\":\"10.0.0.1\"}"), "hostnameMap.a\\x0ab: expected a name"},
	{WITH("\"hostnameMap\":{\"\\u007f\":\"10.0.0.1\"}"), "hostnameMap.\\x7f"},
	{WITH("\"http\":\"127.0.0.1:80\""), "http: expected an object"},
	{WITH("\"http\":{\"listen\":80}"), "http.listen: expected a text, found 80"},
	{WITH("\"socks\":[]"), "socks: expected an object"},
	{WITH("\"socks\":{\"listen\":[]}"), "socks.listen"},
	{WITH("\"loopback\":true"), "loopback: expected an object"},
	{WITH("\"loopback\":{\"disable\":1}"), "loopback.disable: expected true or false, found 1"},
	{WITH("\"stateDir\":\"x\""), "stateDir: expected an object"},
	{WITH("\"stateDir\":{\"disable\":\"true\"}"), "stateDir.disable"},
	{WITH("\"stateDir\":{\"path\":1}"), "stateDir.path"},
	{WITH("\"writeEtcHosts\":\"yes\""), "writeEtcHosts"},
	{WITH("\"routes\":{}"), "routes: expected a list"},
	{WITH("\"routes\":[1]"), "routes[0]: expected an object"},
	{WITH("\"routes\":[{}]"), "routes[0].via"},
	{WITH("\"routes\":[{\"via\":\"x\"}]"), "routes[0].via"},
	{WITH("\"routes\":[{\"toCIDR\":\"x\"}]"), "routes[0].toCIDR: expected a list"},
	{WITH("\"routes\":[{\"toCIDR\":[\"x\",1]}]"), "routes[0].toCIDR: expected a list of texts"},
	{WITH("\"routes\":[{\"toHostnameGlob\":[null]}]"), "routes[0].toHostnameGlob"},
	{WITH("\"nameServers\":[{\"ip\":\"10.0.0.1\"}]"), "nameServers[0].port"},
	{WITH("\"anyPort\":0"), "anyPort: expected true or false"},
};

static void refuse(const char *text, const json_t *args, const char *words)
{
	struct mesh_config config, empty = {.noffers = 0};
	struct err err = {0};

	if (configure_decode(args, &config, &err) != -EINVAL)
		fail_msg("taken: %s", text);
	assert_int_equal(err.code, EINVAL);
	if (!strstr(err.text, words))
		fail_msg("%s: no \"%s\" in: %s", text, words, err.text);
	assert_memory_equal(&config, &empty, sizeof(config));
}

static void hostile_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		json_t *args = json(bad[i][0]);

		refuse(bad[i][0], args, bad[i][1]);
		json_decref(args);
	}
	refuse("(none)", NULL, "args: expected an object, found nothing");
}

/* What a stranger writes at length or with control characters stays one line. */
static void errors_are_one_line(void **state)
{
	json_t *args = json("{\"me\":[\"\\u001b[2J\\n\"]}");
	struct mesh_config config;
	struct err err;

	(void)state;
	for (size_t i = 0; i < 10000; i++)
		json_array_append_new(json_object_get(args, "me"), json_string("long"));
	assert_int_equal(configure_decode(args, &config, &err), -EINVAL);
	assert_null(strpbrk(err.text, "\n\x1b"));
	assert_true(strlen(err.text) < 200);
	json_decref(args);
}

/* --- writing ------------------------------------------------------------------------------ */

static void expect(const struct mesh_config *config, unsigned features, const char *text)
{
	json_t *args = configure_encode(config, features);
	char *dumped = args ? json_dumps(args, JSON_COMPACT) : NULL;

	json_decref(args);
	assert_non_null(dumped);
	assert_string_equal(dumped, text);
	free(dumped);
}

static void the_least_is_written(void **state)
{
	struct mesh_config config = {.me = addr("10.1.2.3")};

	(void)state;
	expect(&config, 0,
		"{\"me\":\"10.1.2.3\",\"http\":{},\"socks\":{},\"loopback\":{},\"stateDir\":{}}");
}

static void everything_is_written(void **state)
{
	static const char text[] =
		"{\"me\":\"10.1.2.3\","
		"\"forwards\":[{\"listen_port\":80,\"connect_ip\":\"web\",\"connect_port\":8080,"
		"\"proto\":\"tcp\"},{\"listen_port\":53,\"connect_ip\":\"127.0.0.1\","
		"\"connect_port\":5353,\"proto\":\"udp\"}],"
		"\"others\":[{\"ip\":\"10.1.2.4\",\"port\":1,\"proto\":\"udp\"},"
		"{\"ip\":\"10.1.2.4\",\"port\":2,\"proto\":\"tcp\"}],"
		"\"hostnameMap\":{\"z\":\"10.1.2.3\",\"a\":\"10.1.2.4\"},"
		"\"http\":{\"listen\":\":80\"},\"socks\":{\"listen\":\":81\"},"
		"\"loopback\":{\"disable\":true},"
		"\"stateDir\":{\"path\":\"~/x\",\"disable\":true},\"writeEtcHosts\":true,"
		"\"routes\":[{\"toCIDR\":[\"10.0.0.0/8\"],\"toHostnameGlob\":null,"
		"\"via\":\"10.1.2.4\"},{\"toCIDR\":null,\"toHostnameGlob\":[\"*.a\",\"*.b\"],"
		"\"via\":\"10.1.2.3\"}],"
		"\"nameServers\":[{\"ip\":\"10.1.2.3\",\"port\":10053,\"proto\":\"tcp\"}],"
		"\"anyPort\":true}";
	struct mesh_config config = decode(text);

	(void)state;
	expect(&config, FEATURE_UDP | FEATURE_SANDBOX, text);
	config_free(&config);
}

/* A section of ours is not there at all, not even empty, for those who do not know it. */
static void a_sandbox_is_told_to_who_makes_one(void **state)
{
	static const char sandbox[] = "{\"command\":[\"a\",\"b c\"],\"options\":[\"--pid\"],"
				      "\"guestPort\":80,\"keep\":true}";
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "{\"me\":\"10.1.2.3\",\"sandbox\":%s}", sandbox);
	struct mesh_config config = decode(text);
	assert_string_equal(config.sandbox.command[1], "b c");
	assert_string_equal(config.sandbox.options[0], "--pid");
	assert_int_equal(config.sandbox.guest_port, 80);
	assert_true(config.sandbox.keep);
	json_t *told = configure_encode(&config, FEATURE_SANDBOX_RUN);
	json_t *others = configure_encode(&config, ~(unsigned)FEATURE_SANDBOX_RUN);
	json_t *wanted = json_loads(sandbox, 0, NULL);
	assert_true(json_equal(json_object_get(told, "sandbox"), wanted));
	assert_null(json_object_get(others, "sandbox"));
	json_decref(told);
	json_decref(others);
	json_decref(wanted);
	config_free(&config);
}

static void other_agents_do_not_see_ours(void **state)
{
	struct mesh_config config = decode(
		WITH("\"forwards\":[{\"listen_port\":53,\"connect_ip\":\"a\",\"connect_port\":53,"
		     "\"proto\":\"udp\"},"
		     "{\"listen_port\":54,\"connect_ip\":\"::1\",\"connect_port\":54}],"
		     "\"others\":[{\"ip\":\"10.0.0.1\",\"port\":1,\"proto\":\"udp\"},"
		     "{\"ip\":\"10.0.0.1\",\"port\":2}],\"anyPort\":true"));
	unsigned others = ~(unsigned)(FEATURE_UDP | FEATURE_SANDBOX | FEATURE_IPV6);

	(void)state;
	assert_int_equal(config_needs(&config).wanted & FEATURE_IPV6, FEATURE_IPV6);
	json_t *args = configure_encode(&config, FEATURE_IPV6);
	const json_t *told = json_object_get(args, "forwards");
	assert_int_equal(json_array_size(told), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(told, 0), "connect_ip")), "::1");
	json_decref(args);
	expect(&config, others,
		WITH("\"others\":[{\"ip\":\"10.0.0.1\",\"port\":2,\"proto\":\"tcp\"}],"
		     "\"http\":{},\"socks\":{},\"loopback\":{},\"stateDir\":{}"));
	config_free(&config);
}

/* Who cannot ask for a password does not hear where to listen. */
static void a_proxy_with_a_guard_is_told_whole_or_not_at_all(void **state)
{
	char here[] = "127.0.0.1:1", there[] = "127.0.0.1:2", user[] = "ann", password[] = "s";
	struct mesh_config config = {.me = addr("10.1.2.3"),
		.http_listen = here,
		.socks_listen = there,
		.socks_user = user,
		.socks_password = password};
	struct mesh_config back;
	struct err err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		json_t *plain = configure_encode(&config, ~0U & ~(unsigned)FEATURE_PROXY_ACCESS);
		assert_int_equal(json_object_size(json_object_get(plain, "http")), 1);
		assert_int_equal(json_object_size(json_object_get(plain, "socks")), 0);
		json_decref(plain);

		json_t *whole = configure_encode(&config, FEATURE_PROXY_ACCESS);
		assert_int_equal(configure_decode(whole, &back, &err), 0);
		assert_string_equal(back.socks_listen, there);
		assert_int_equal(back.socks_only_user, i);
		assert_false(back.http_only_user);
		if (i == 0) {
			assert_string_equal(back.socks_user, user);
			assert_string_equal(back.socks_password, password);
		} else {
			assert_null(back.socks_user);
		}
		assert_int_equal(config_needs(&config).required, FEATURE_PROXY_ACCESS);
		config_free(&back);
		json_decref(whole);
		config.socks_only_user = true;
		config.socks_user = config.socks_password = NULL;
	}
}

static void what_is_no_text_is_not_written(void **state)
{
	char host[] = "\xff";
	struct mesh_offer offer = {80, host, 80, PROTO_TCP};
	struct mesh_config config = {.me = addr("10.1.2.3"), .offers = &offer, .noffers = 1};
	struct mesh_config proxy = {.me = addr("10.1.2.3"), .http_listen = host};

	(void)state;
	assert_null(configure_encode(&config, 0));
	assert_null(configure_encode(&proxy, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_read),
		cmocka_unit_test(a_target_without_host_is_the_agents_own),
		cmocka_unit_test(what_is_missing_is_off),
		cmocka_unit_test(hostile_arguments),
		cmocka_unit_test(errors_are_one_line),
		cmocka_unit_test(the_least_is_written),
		cmocka_unit_test(everything_is_written),
		cmocka_unit_test(a_sandbox_is_told_to_who_makes_one),
		cmocka_unit_test(other_agents_do_not_see_ours),
		cmocka_unit_test(a_proxy_with_a_guard_is_told_whole_or_not_at_all),
		cmocka_unit_test(what_is_no_text_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
