/* SPDX-License-Identifier: Apache-2.0 */
/* test_reply - answers of our own, read again by another reader */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <string.h>

#include "dns/reply.h"
#include "dns/response.h"

/* The answer to NAME of @type, by libldns; the caller frees it. */
static ldns_pkt *ask(const char *name, unsigned type, const struct reply *reply, size_t max)
{
	uint8_t message[512], out[DNS_MESSAGE_MAX];
	struct query query;
	ldns_pkt *packet = NULL;
	ssize_t len = query_make(name, (enum query_type)type, message, sizeof(message));

	assert_true(len > 0);
	message[13] ^= 0x20; /* the other case */
	assert_int_equal(query_parse(message, (size_t)len, &query), DNS_OK);
	ssize_t made = reply_make(&query, message, reply, out, max);
	assert_true(made > 0 && (size_t)made <= max);
	assert_true(response_fits(out, (size_t)made, message, query.question_end));
	assert_memory_equal(out + 12, message + 12, query.question_end - 12);
	assert_int_equal(ldns_wire2pkt(&packet, out, (size_t)made), LDNS_STATUS_OK);
	assert_true(ldns_pkt_qr(packet) && ldns_pkt_ra(packet) && ldns_pkt_rd(packet));
	assert_true(ldns_pkt_edns(packet));
	return packet;
}

static struct reply two_addresses(void)
{
	struct reply reply = {.rcode = DNS_OK, .count = 2};
	struct err err;

	assert_int_equal(addr_parse("127.0.42.101", &reply.addrs[0], &err), 0);
	assert_int_equal(addr_parse("fd00::101", &reply.addrs[1], &err), 0);
	return reply;
}

static void check_records(const ldns_pkt *packet, const char *const *expected, size_t count)
{
	assert_int_equal(ldns_pkt_get_rcode(packet), LDNS_RCODE_NOERROR);
	assert_int_equal(ldns_pkt_ancount(packet), count);
	assert_int_equal(ldns_pkt_nscount(packet), 0);
	for (size_t i = 0; i < count; i++) {
		char *text = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(packet), i));
		assert_string_equal(text, expected[i]);
		free(text);
	}
}

static void check_record(const ldns_pkt *packet, const char *expected)
{
	check_records(packet, &expected, 1);
}

static void test_addresses(void **state)
{
	struct reply reply = two_addresses();
	ldns_pkt *packet = ask("lab", QUERY_A, &reply, 512);

	(void)state;
	check_record(packet, "Lab.\t5\tIN\tA\t127.0.42.101\n");
	ldns_pkt_free(packet);
	packet = ask("lab", QUERY_AAAA, &reply, 512);
	check_record(packet, "Lab.\t5\tIN\tAAAA\tfd00::101\n");
	ldns_pkt_free(packet);
}

static void test_target(void **state)
{
	struct reply reply = {.rcode = DNS_OK, .target = "lab"};
	ldns_pkt *packet = ask("x101.42.0.127.in-addr.arpa", QUERY_PTR, &reply, 512);

	(void)state;
	check_record(packet, "X101.42.0.127.in-addr.arpa.\t5\tIN\tPTR\tlab.\n");
	ldns_pkt_free(packet);
}

/* dig ANY lab */
static void test_any(void **state)
{
	static const char *const both[] = {
		"Lab.\t5\tIN\tA\t127.0.42.101\n", "Lab.\t5\tIN\tAAAA\tfd00::101\n"};
	struct reply reply = two_addresses(), named = {.rcode = DNS_OK, .target = "lab"};
	ldns_pkt *packet = ask("lab", QUERY_ANY, &reply, 512);

	(void)state;
	check_records(packet, both, 2);
	ldns_pkt_free(packet);
	packet = ask("x101.42.0.127.in-addr.arpa", QUERY_ANY, &named, 512);
	check_record(packet, "X101.42.0.127.in-addr.arpa.\t5\tIN\tPTR\tlab.\n");
	ldns_pkt_free(packet);
}

/* RFC 2308: a SOA says how long that may be remembered. */
static void check_none(ldns_pkt *packet, ldns_pkt_rcode rcode)
{
	assert_int_equal(ldns_pkt_get_rcode(packet), rcode);
	assert_int_equal(ldns_pkt_ancount(packet), 0);
	assert_int_equal(ldns_pkt_nscount(packet), 1);
	const ldns_rr *soa = ldns_rr_list_rr(ldns_pkt_authority(packet), 0);
	assert_int_equal(ldns_rr_get_type(soa), LDNS_RR_TYPE_SOA);
	assert_int_equal(ldns_rr_ttl(soa), REPLY_TTL_S);
	assert_int_equal(ldns_rdf2native_int32(ldns_rr_rdf(soa, 6)), REPLY_TTL_S);
	ldns_pkt_free(packet);
}

static void test_none(void **state)
{
	struct reply reply = two_addresses();

	(void)state;
	check_none(ask("lab", LDNS_RR_TYPE_MX, &reply, 512), LDNS_RCODE_NOERROR);
	reply.count = 1;
	check_none(ask("lab", QUERY_AAAA, &reply, 512), LDNS_RCODE_NOERROR);
	reply.rcode = DNS_NXDOMAIN;
	check_none(ask("lab", QUERY_A, &reply, 512), LDNS_RCODE_NXDOMAIN);
	reply.rcode = DNS_REFUSED;
	ldns_pkt *packet = ask("lab", QUERY_A, &reply, 512);
	assert_int_equal(ldns_pkt_get_rcode(packet), LDNS_RCODE_REFUSED);
	assert_int_equal(ldns_pkt_ancount(packet) + ldns_pkt_nscount(packet), 0);
	ldns_pkt_free(packet);
}

static void test_too_large(void **state)
{
	struct reply reply = {.rcode = DNS_OK, .count = REPLY_ADDRS_MAX};
	struct in6_addr ip = {0};
	char name[256] = "";

	(void)state;
	for (int i = 0; i < 3; i++)
		strcat(name, "a23456789012345678901234567890123456789012345678901234567890123.");
	strcat(name, "x");
	for (size_t i = 0; i < REPLY_ADDRS_MAX; i++)
		reply.addrs[i] = addr_of6(&ip, 0);
	ldns_pkt *packet = ask(name, QUERY_AAAA, &reply, 400);
	assert_true(ldns_pkt_tc(packet));
	assert_int_equal(ldns_pkt_ancount(packet), 0);
	ldns_pkt_free(packet);
	packet = ask(name, QUERY_AAAA, &reply, 512);
	assert_false(ldns_pkt_tc(packet));
	assert_int_equal(ldns_pkt_ancount(packet), REPLY_ADDRS_MAX);
	ldns_pkt_free(packet);
}

static void test_refuse_and_cut(void **state)
{
	static const uint8_t message[] = "\x12\x34\x01\x20\0\1\0\0\0\0\0\0\3lab\0\0\1\0\1";
	static const uint8_t no_question[] = "\x12\x34\x29\0\0\0\0\0\0\0\0\0";
	uint8_t out[64];
	struct query query;

	(void)state;
	assert_int_equal(
		reply_refuse(message, sizeof(message) - 1, DNS_SERVFAIL, out), sizeof(message) - 1);
	assert_memory_equal(out, "\x12\x34\x81\x82\0\1\0\0\0\0\0\0\3lab", 16);
	assert_int_equal(reply_refuse(no_question, 12, DNS_NOTIMP, out), 12);
	assert_memory_equal(out, "\x12\x34\xa9\x84\0\0\0\0\0\0\0\0", 12);
	assert_int_equal(query_parse(message, sizeof(message) - 1, &query), DNS_OK);
	assert_int_equal(reply_cut(&query, message, out), query.question_end);
	assert_memory_equal(out, "\x12\x34\x03\x20\0\1\0\0\0\0\0\0\3lab", 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_any),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_refuse_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
