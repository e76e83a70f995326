/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_gate_model - the gate against a plain model of it, and against the real NoRouter */
#include "gate_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WORLDS = 300, PACKETS = 2000 };

static const char *const addresses[] = {"127.0.42.101", "127.0.42.102", "127.0.42.103", "127.0.0.1",
	"10.0.2.100", "198.51.100.7", "0.0.0.0", "255.255.255.255"};

/* xorshift64: the same packets in every run */
static unsigned int pick(uint64_t *seed, unsigned int below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned int)(*seed >> 32) % below;
}

static const char *pick_address(uint64_t *seed, unsigned int usual)
{
	return addresses[pick(seed, 4) ? usual : pick(seed, COUNT(addresses))];
}

static void pick_rules(uint64_t *seed, struct gate_rules *rules, struct gate_port *ports)
{
	static struct in_addr members[3];
	static struct gate_network networks[3];
	static const struct {
		const char *ip, *mask;
	} rows[] = {{"198.51.100.0", "255.255.255.0"}, {"10.0.0.0", "255.0.0.0"},
		{"127.0.42.96", "255.255.255.240"}, {"0.0.0.0", "0.0.0.0"}};

	for (unsigned int i = 0; i < COUNT(members); i++)
		members[i] = pkt_addr(addresses[i]);
	*rules = (struct gate_rules){members[0], members, pick(seed, 4), ports,
		pick(seed, MODEL_RULES_MAX), pick(seed, 4) == 0, networks,
		pick(seed, 4) ? 0 : pick(seed, COUNT(networks) + 1), {0}, false, false};
	rules->leads_on = !rules->any_port && pick(seed, 2);
	for (size_t i = 0; i < rules->nnetworks; i++) {
		size_t row = pick(seed, COUNT(rows));

		networks[i] =
			(struct gate_network){pkt_addr(rows[row].ip), pkt_addr(rows[row].mask)};
	}
	for (size_t i = 0; i < rules->nports; i++)
		ports[i] = (struct gate_port){
			.proto = pick(seed, 2) ? PROTO_TCP : PROTO_UDP,
			.port = (uint16_t)(1 + pick(seed, 12)),
			.action = (enum gate_action[]){GATE_OPEN, GATE_MAP, GATE_MAP,
				GATE_HOLD_SYN}[pick(seed, 4)],
			.target_ip = pkt_addr((const char *[]){
				"127.0.42.101", "127.0.0.1", "10.0.2.100"}[pick(seed, 3)]),
			.target_port = (uint16_t)(1 + pick(seed, 12)),
		};
	for (size_t i = 0; i < rules->nports; i++)
		if (ports[i].action != GATE_MAP)
			ports[i].target_port = 0;
}

static struct pkt pick_flow(uint64_t *seed, const char *src, const char *dst)
{
	static const uint8_t options[] = {7, 7, 4, 0, 0, 0, 0, 0, 131, 7, 4, 0};
	static const uint8_t flags[] = {0x02, 0x10, 0x12, 0x04, 0x03, 0xc2, 0x06, 0x00};
	struct pkt_head head = {src, dst, options, pick(seed, 4) ? 0 : 4 * pick(seed, 4)};

	if (pick(seed, 2))
		return pkt_tcp_with(
			head, 1 + pick(seed, 12), 1 + pick(seed, 12), flags[pick(seed, 8)]);
	struct pkt udp = pkt_udp(src, 1 + pick(seed, 12), dst, 1 + pick(seed, 12));
	if (pick(seed, 8) == 0)
		pkt_put16(udp.bytes + 26, 0);
	return udp;
}

/* Usually one that makes sense in that direction */
static struct pkt pick_packet(uint64_t *seed, bool is_in, bool has_networks)
{
	static const unsigned int inside[] = {0, 0, 3, 4};
	unsigned int place = inside[pick(seed, 4)], peer = 1 + pick(seed, 2), own = 0;

	if (has_networks && pick(seed, 2))
		own = place = pick(seed, 2) ? 5 : 4;
	const char *src = pick_address(seed, is_in ? peer : place);
	const char *dst = pick_address(seed, is_in ? own : peer);
	struct pkt pkt = pick_flow(seed, src, dst);

	switch (pick(seed, 8)) {
	case 0:
		pkt = pkt_icmp(src, dst, (uint8_t)pick(seed, 16), "echo", 4);
		break;
	case 1:
		pkt = pkt_ip((struct pkt_head){src, dst, NULL, 0}, (uint8_t)pick(seed, 256),
			pkt.bytes, 32);
		break;
	case 2:
	case 3:
		pkt = pick_flow(seed, pick_address(seed, is_in ? own : peer),
			pick_address(seed, is_in ? peer : place));
		pkt = pkt_error(src, dst, (uint8_t)(3 + 8 * pick(seed, 2)), pkt,
			pick(seed, 2) ? PKT_CAP : pick(seed, 60));
		break;
	default:
		break;
	}
	if (pick(seed, 8) == 0)
		pkt.bytes[pick(seed, (unsigned int)pkt.len)] = (uint8_t)pick(seed, 256);
	if (pick(seed, 32) == 0)
		pkt.len = pick(seed, (unsigned int)pkt.len);
	return pkt;
}

static void the_gate_does_what_the_model_says(void **state)
{
	static struct gate_model model;
	uint64_t seed = 0x6d657368;
	unsigned int counts[2][GATE_NO_HOST + 1] = {0}, behind[2] = {0};
	struct gate_port ports[MODEL_RULES_MAX];
	struct gate_rules rules;

	(void)state;
	for (int world = 0; world < WORLDS; world++) {
		struct gate *gate = gate_new();
		uint64_t now_ns = 0;

		assert_non_null(gate);
		model.nsent = 0;
		for (int i = 0; i < PACKETS; i++) {
			if (i % 500 == 0) {
				pick_rules(&seed, &rules, ports);
				model_configure(&model, &rules);
				assert_int_equal(gate_configure(gate, &rules), 0);
			}
			bool is_in = pick(&seed, 2);
			struct pkt pkt = pick_packet(&seed, is_in, rules.nnetworks > 0);
			enum gate_verdict got;
			const char *broken =
				model_check(&model, gate, is_in, pkt.bytes, pkt.len, now_ns, &got);
			if (broken)
				fail_msg("world %d, packet %d, %s: %s", world, i,
					is_in ? "in" : "out", broken);
			counts[is_in][got]++;
			if ((got == GATE_PASS || got == GATE_HOLD) &&
				pkt.bytes[is_in ? 16 : 12] == 198)
				behind[is_in]++;
			now_ns += pick(&seed, 4) ? 0 : pick(&seed, 1u << 31) * 8ull;
		}
		gate_free(gate);
	}
	/* the packets were not all of one kind */
	for (int is_in = 0; is_in < 2; is_in++) {
		assert_true(counts[is_in][GATE_PASS] > WORLDS * PACKETS / 20);
		assert_true(counts[is_in][GATE_DROP] > WORLDS * PACKETS / 20);
		assert_true(counts[is_in][GATE_NO_HOST] > WORLDS);
	}
	assert_true(counts[1][GATE_HOLD] > WORLDS);
	assert_true(counts[1][GATE_REFUSE] > WORLDS);
	assert_true(counts[1][GATE_NO_PROTOCOL] > WORLDS);
	assert_true(behind[0] > WORLDS && behind[1] > WORLDS);
	assert_true(model.rewritten > WORLDS * PACKETS / 50);
	assert_true(model.translated > WORLDS * PACKETS / 500);
}

/* The next packet of a classic pcap file of this machine's byte order */
static bool next_packet(FILE *file, struct pkt *out)
{
	uint32_t record[4]; /* seconds, microseconds, bytes here, bytes in all */

	memset(out, 0, sizeof(*out));
	if (fread(record, sizeof(record), 1, file) != 1)
		return false;
	assert_true(record[2] <= PKT_CAP);
	assert_int_equal(record[2], record[3]);
	out->len = record[2];
	assert_int_equal(fread(out->bytes, 1, out->len, file), out->len);
	return true;
}

/* With another end, and checksums made from scratch */
static struct pkt with_end(
	struct pkt pkt, size_t address_at, size_t port_at, const char *address, unsigned int port)
{
	struct in_addr addr = pkt_addr(address);
	uint8_t *ip = pkt.bytes;

	memcpy(ip + address_at, &addr, 4);
	pkt_put16(ip + port_at, port);
	pkt_put16(ip + 10, 0);
	pkt_put16(ip + 10, 0xffff - pkt_sum(ip, 20, 0));
	pkt_put16(ip + 36, 0);
	pkt_put16(ip + 36, 0xffff - pkt_flow_sum(ip, pkt.len));
	return pkt;
}

/* A GET from 127.0.42.101 to port 8080 of 127.0.42.102, which leads to 127.0.0.1:80 there */
static void a_recorded_request_crosses_two_gates(void **state)
{
	const struct in_addr client = pkt_addr("127.0.42.101"), server = pkt_addr("127.0.42.102");
	const struct gate_port port = {PROTO_TCP, 8080, GATE_MAP, pkt_addr("127.0.0.1"), 80};
	const struct gate_rules client_rules = {
		client, &server, 1, NULL, 0, false, NULL, 0, {0}, false, false};
	const struct gate_rules server_rules = {
		server, &client, 1, &port, 1, false, NULL, 0, {0}, false, false};
	struct gate *client_gate = gate_new(), *server_gate = gate_new();
	FILE *file = fopen("tests/data/norouter/get.pcap", "re");
	struct pkt pkt;
	struct packet_view view;
	unsigned int count = 0;

	(void)state;
	assert_non_null(file);
	assert_int_equal(fseek(file, 24, SEEK_SET), 0);
	assert_int_equal(gate_configure(client_gate, &client_rules), 0);
	assert_int_equal(gate_configure(server_gate, &server_rules), 0);
	for (; next_packet(file, &pkt); count++) {
		struct pkt same = pkt;

		if (model_same(model_ip(pkt.bytes + 12), client)) {
			struct pkt inside = with_end(pkt, 16, 22, "127.0.0.1", 80);

			assert_int_equal(gate_out(client_gate, pkt.bytes, pkt.len, 0), GATE_PASS);
			assert_memory_equal(pkt.bytes, same.bytes, pkt.len);
			assert_int_equal(
				gate_in(server_gate, pkt.bytes, pkt.len, 0, &view), GATE_PASS);
			assert_memory_equal(pkt.bytes, inside.bytes, pkt.len);
		} else {
			pkt = with_end(pkt, 12, 20, "127.0.0.1", 80);
			assert_int_equal(gate_out(server_gate, pkt.bytes, pkt.len, 0), GATE_PASS);
			assert_memory_equal(pkt.bytes, same.bytes, pkt.len);
			assert_int_equal(
				gate_in(client_gate, pkt.bytes, pkt.len, 0, &view), GATE_PASS);
			assert_memory_equal(pkt.bytes, same.bytes, pkt.len);
		}
	}
	assert_int_equal(count, 12);
	fclose(file);
	gate_free(client_gate);
	gate_free(server_gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gate_does_what_the_model_says),
		cmocka_unit_test(a_recorded_request_crosses_two_gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
