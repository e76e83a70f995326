/* SPDX-License-Identifier: Apache-2.0 */
/* test_nameservice - names of the mesh, and the resolver that is asked for the rest */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/response.h"
#include "mesh/agent/nameservice.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct {
	struct loop *loop;
	struct budget budget;
	struct nameservice *service;
	char resolv[64];
	int udp, client;
	uint8_t got[DNS_MESSAGE_MAX];
	unsigned others;
} now;

/* "other.test" and "other.box" are somebody's who knows more. */
static int on_other(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	(void)question;
	assert_ptr_equal(owner, &now);
	now.others++;
	if (strcmp(query->name, "other.test") != 0 && strcmp(query->name, "other.box") != 0)
		return -ENOENT;
	*out = (struct reply){.count = 1, .addrs = {addr_loopback4(0)}};
	return 0;
}

static const struct nameservice_ops ops = {on_other};

static void configure(void)
{
	/* as managers sort them, or not */
	struct mesh_name names[] = {{"lab", {htonl(0x7f002a66)}}, {"Box", {htonl(0x7f002a65)}},
		{"www.Example.com.", {htonl(0x7f002a66)}}, {"a-lab", {htonl(0x7f002a67)}}};
	char *globs[] = {"*.Cloud.example", "*.box", NULL};
	struct mesh_route route = {.globs = globs, .via = {htonl(0x7f002a66)}};
	struct mesh_config config = {
		.names = names, .nnames = COUNT(names), .routes = &route, .nroutes = 1};

	assert_int_equal(nameservice_configure(now.service, &config), 0);
}

static int set_up(void **state)
{
	struct addr addr = addr_loopback4(0);

	(void)state;
	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.budget.max = 1000;
	snprintf(now.resolv, sizeof(now.resolv), "/tmp/nswrap-resolv-%d", (int)getpid());
	now.service = nameservice_new(now.loop, &now.budget, now.resolv, &ops, &now);
	now.udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(now.udp, &addr.any, addr_len(&addr)), 0);
	assert_int_equal(addr_get_own(now.udp, &addr), 0);
	assert_int_equal(nameservice_set_udp(now.service, NAMESERVICE_OUTSIDE, now.udp), 0);
	now.client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(now.client, &addr.any, addr_len(&addr)), 0);
	configure();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nameservice_set_udp(now.service, NAMESERVICE_OUTSIDE, -1);
	nameservice_free(now.service);
	loop_free(now.loop);
	close(now.udp);
	close(now.client);
	unlink(now.resolv);
	return 0;
}

/* The answer's rcode; its addresses are in @out, as many as *@count. */
static int ask(const char *name, uint16_t type, struct addr *out, size_t *count)
{
	uint8_t query[512];
	ssize_t len = query_make(name, type, query, sizeof(query)), got = -1;

	assert_true(len > 0);
	assert_int_equal(send(now.client, query, (size_t)len, 0), len);
	for (int i = 0; got < 0 && i < 200; i++) {
		loop_run_once(now.loop, 50);
		got = recv(now.client, now.got, sizeof(now.got), 0);
	}
	assert_true(got > 0);
	*count = response_addresses(now.got, (size_t)got, out, 4);
	return (int)response_rcode(now.got);
}

static void names_of_the_mesh(void **state)
{
	static const struct {
		const char *name, *ip;
	} rows[] = {{"lab", "127.0.42.102"}, {"LAB", "127.0.42.102"}, {"lab.", "127.0.42.102"},
		{"box", "127.0.42.101"}, {"WWW.example.com", "127.0.42.102"},
		{"a-lab", "127.0.42.103"}};
	struct addr found[4];
	size_t count;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(ask(rows[i].name, QUERY_A, found, &count), DNS_OK);
		assert_int_equal(count, 1);
		assert_string_equal(addr_format_ip(&found[0], text, sizeof(text)), rows[i].ip);
		/* there is nothing else of that name */
		assert_int_equal(ask(rows[i].name, QUERY_AAAA, found, &count), DNS_OK);
		assert_int_equal(count, 0);
		assert_int_equal(ask(rows[i].name, 16, found, &count), DNS_OK);
		assert_int_equal(count, 0);
	}
	assert_int_equal(now.others, 0);
	/* they go when the manager says so */
	struct mesh_config none = {.names = NULL};
	assert_int_equal(nameservice_configure(now.service, &none), 0);
	assert_int_equal(ask("lab", QUERY_A, found, &count), DNS_SERVFAIL);
	assert_int_equal(now.others, 1);
}

static void names_of_addresses(void **state)
{
	struct addr found[4];
	size_t count;

	(void)state;
	assert_int_equal(ask("102.42.0.127.in-addr.arpa", QUERY_PTR, found, &count), DNS_OK);
	/* the first one that the manager says, in labels: "lab" */
	assert_non_null(memmem(now.got + 12 + 31, 64, "\3lab", 5));
	/* loopback's others are nobody's business either */
	assert_int_equal(ask("1.0.0.127.in-addr.arpa", QUERY_PTR, found, &count), DNS_OK);
	assert_non_null(memmem(now.got + 12 + 28, 64, "\11localhost", 11));
	assert_int_equal(ask("77.42.0.127.in-addr.arpa", QUERY_PTR, found, &count), DNS_NXDOMAIN);
	assert_int_equal(now.others, 0);
	assert_int_equal(ask("1.2.0.10.in-addr.arpa", QUERY_PTR, found, &count), DNS_SERVFAIL);
	assert_int_equal(now.others, 1);
}

static void write_resolv(const char *text)
{
	FILE *file = fopen(now.resolv, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* Of what would tell somebody of a name of the mesh, only what a pattern matches is others'. */
static void what_would_tell(void **state)
{
	static const char *const names[] = {
		"x.lab", "_http._tcp.lab", "lab.corp.example", "a.cloud.example.corp.example"};
	struct addr found[4];
	size_t count;

	(void)state;
	write_resolv("nameserver 127.0.0.1\nsearch more.example corp.example\n");
	configure();
	for (size_t i = 0; i < COUNT(names); i++)
		assert_int_equal(ask(names[i], QUERY_A, found, &count), DNS_NXDOMAIN);
	assert_int_equal(ask("localhost", QUERY_A, found, &count), DNS_OK);
	assert_int_equal(count, 1);
	assert_int_equal(now.others, 0);
	assert_int_equal(ask("other.box", QUERY_A, found, &count), DNS_OK);
	assert_int_equal(now.others, 1);
	/* another network, other domains */
	write_resolv("nameserver 127.0.0.1\nsearch other.corp.example\n");
	configure();
	assert_int_equal(ask("lab.other.corp.example", QUERY_A, found, &count), DNS_NXDOMAIN);
	assert_int_equal(now.others, 1);
}

static void the_rest_is_others(void **state)
{
	struct addr found[4];
	size_t count;

	(void)state;
	assert_int_equal(ask("other.test", QUERY_A, found, &count), DNS_OK);
	assert_int_equal(count, 1);
	/* no file, no server: nobody is asked */
	assert_int_equal(ask("no.test", QUERY_A, found, &count), DNS_SERVFAIL);
	/* one beside a name of the mesh is none of it */
	assert_int_equal(ask("la", QUERY_A, found, &count), DNS_SERVFAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_of_the_mesh, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_of_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_would_tell, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_rest_is_others, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
