/* SPDX-License-Identifier: Apache-2.0 */
/* test_atlas - names and addresses of a mesh, what is behind others, what is learnt of names */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "mesh/agent/atlas.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SELF     "127.0.42.1"
#define BASTION  "127.0.42.2"
#define SILENT   "127.0.42.3" /* has no name server */

static struct in_addr ip(const char *text)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, text, &addr), 1);
	return addr;
}

static struct atlas *make(const struct atlas *old, const char *via)
{
	static char self[] = "self", bastion[] = "Bastion.", silent[] = "db.silent.test";
	static char *cidrs[] = {"10.0.0.0/8", NULL}, *globs[] = {"*.cloud.test", NULL},
		    *own[] = {"172.16.0.0/12", NULL}, *own_names[] = {"*.here.test", NULL},
		    *silents[] = {"*.silent.test", NULL};
	struct mesh_name names[] = {{self, ip(SELF)}, {bastion, ip(BASTION)}, {silent, ip(SILENT)}};
	struct mesh_port servers[] = {
		{ip(SELF), 10053, PROTO_TCP}, {ip(BASTION), 10053, PROTO_TCP}};
	struct mesh_route routes[] = {
		{.cidrs = cidrs, .globs = globs, .via = ip(via)},
		{.cidrs = own, .globs = own_names, .via = ip(SELF)},
		{.globs = silents, .via = ip(SILENT)},
	};
	const struct mesh_config config = {.me = ip(SELF),
		.names = names,
		.nnames = COUNT(names),
		.name_servers = servers,
		.nname_servers = COUNT(servers),
		.routes = routes,
		.nroutes = COUNT(routes)};
	struct atlas *atlas = atlas_new(&config, old);

	assert_non_null(atlas);
	return atlas;
}

static void what_is_in_the_mesh(void **state)
{
	struct atlas *atlas = make(NULL, BASTION);
	struct in_addr vip;
	char far[ATLAS_NAME_MAX + 2];

	(void)state;
	assert_true(atlas_find_name(atlas, "BASTION", &vip));
	assert_int_equal(vip.s_addr, ip(BASTION).s_addr);
	assert_true(atlas_find_name(atlas, "self.", &vip));
	assert_false(atlas_find_name(atlas, "sel", &vip));
	memset(far, 'a', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_false(atlas_find_name(atlas, far, &vip));
	assert_true(atlas_is_in_mesh(atlas, ip(SELF)));
	assert_true(atlas_is_in_mesh(atlas, ip(SILENT)));
	assert_true(atlas_is_in_mesh(atlas, ip("10.1.2.3")));
	assert_false(atlas_is_in_mesh(atlas, ip("172.16.0.1"))); /* behind this host itself */
	assert_false(atlas_is_in_mesh(atlas, ip("11.0.0.1")));
	assert_true(atlas_has_networks(atlas));
	atlas_free(atlas);
}

static void names_are_asked_of_others(void **state)
{
	struct atlas *atlas = make(NULL, BASTION);
	struct addr server;
	struct in_addr via;

	(void)state;
	assert_true(atlas_find_asked(atlas, "db.cloud.test", &via, &server));
	assert_int_equal(via.s_addr, ip(BASTION).s_addr);
	assert_int_equal(addr_port(&server), 10053);
	assert_int_equal(server.v4.sin_addr.s_addr, via.s_addr);
	assert_false(atlas_find_asked(atlas, "cloud.test", &via, &server));
	assert_false(atlas_find_asked(atlas, "db.here.test", &via, &server));
	/* a host of the mesh, whatever pattern it has */
	assert_false(atlas_find_asked(atlas, "db.silent.test", &via, &server));
	assert_true(atlas_find_asked(atlas, "x.silent.test", &via, &server));
	assert_int_equal(server.family, AF_UNSPEC);
	atlas_free(atlas);
}

static void tell(void *told, struct in_addr net, int prefix_len)
{
	char text[INET_ADDRSTRLEN], *out = told;

	inet_ntop(AF_INET, &net, text, sizeof(text));
	sprintf(out + strlen(out), "%s/%d ", text, prefix_len);
}

static void what_is_learnt(void **state)
{
	static const char *const never[] = {
		SELF, SILENT, "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"};
	struct atlas *atlas = make(NULL, BASTION), *next;
	char text[200] = "";

	(void)state;
	for (size_t i = 0; i < COUNT(never); i++)
		assert_false(atlas_learn(atlas, ip(never[i]), ip(BASTION)));
	assert_false(atlas_learn(atlas, ip("192.0.2.1"), ip("127.0.42.9")));
	assert_true(atlas_learn(atlas, ip("192.0.2.1"), ip(BASTION)));
	assert_true(atlas_is_in_mesh(atlas, ip("192.0.2.1")));
	atlas_each_network(atlas, tell, text);
	assert_string_equal(text, "10.0.0.0/8 192.0.2.1/32 ");
	/* it stays as long as names are asked there */
	next = make(atlas, BASTION);
	assert_true(atlas_is_in_mesh(next, ip("192.0.2.1")));
	atlas_free(atlas);
	atlas = make(next, SILENT);
	assert_false(atlas_is_in_mesh(atlas, ip("192.0.2.1")));
	atlas_free(atlas);
	atlas_free(next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_the_mesh),
		cmocka_unit_test(names_are_asked_of_others),
		cmocka_unit_test(what_is_learnt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
