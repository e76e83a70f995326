/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/gate - any rules and any packets: the gate does what the model says */
#include "../unit/gate_model.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * The input: a byte for the switches, three bytes for each rule, then packets: a byte that says
 * what is done with it, two bytes of length (what is left, if it is more), and the packet.
 */
#define RULE_BYTES   3
#define PACKET_BYTES 3

/* bits of a packet's first byte; the rest chooses the peer and the time that has passed */
#define IS_IN         0x01
#define FIX_HEADER    0x02
#define FIX_CHECKSUMS 0x04
#define FIX_QUOTE     0x08

static const char *const locals[] = {"127.0.42.101", "127.0.0.1", "10.0.2.100", "127.0.42.102"};
static const char *const peers[] = {"127.0.42.102", "127.0.42.103", "198.51.100.7", "127.0.0.1"};

/* Chosen by the last bit of the first byte */
static struct gate_network networks[2];

static size_t choose_rules(
	const uint8_t *data, size_t size, struct gate_rules *rules, struct gate_port *ports)
{
	static const enum gate_action actions[] = {GATE_OPEN, GATE_MAP, GATE_HOLD_SYN, GATE_MAP};
	size_t at = 1;

	rules->self = pkt_addr(locals[0]);
	rules->any_port = data[0] & 1;
	rules->nmembers = data[0] >> 1 & 3;
	networks[0].ip = pkt_addr("198.51.100.0");
	networks[0].mask = pkt_addr("255.255.255.0");
	networks[1].ip = pkt_addr(data[0] & 1 ? "0.0.0.0" : "10.0.2.0");
	networks[1].mask = pkt_addr(data[0] & 1 ? "0.0.0.0" : "255.255.255.0");
	rules->networks = networks;
	rules->nnetworks = data[0] & 0x80 ? 2 : 0;
	rules->leads_on = (data[0] & 0x81) == 0x80;
	rules->nports = 0;
	rules->ports = ports;
	for (size_t wanted = data[0] >> 3 & 15; rules->nports < wanted && size - at >= RULE_BYTES;
		at += RULE_BYTES) {
		const enum gate_action action = actions[data[at] >> 1 & 3];

		ports[rules->nports++] = (struct gate_port){
			.proto = data[at] & 1 ? PROTO_UDP : PROTO_TCP,
			.action = action,
			.target_ip = pkt_addr(locals[data[at] >> 3 & 3]),
			.port = data[at + 1],
			.target_port = action == GATE_MAP ? data[at + 2] : 0,
		};
	}
	return at;
}

/* Addresses and a length with which the packet gets further */
static void fix_header(uint8_t *ip, size_t len, uint8_t how, bool is_in)
{
	struct in_addr peer = pkt_addr(peers[how >> 4 & 3]);
	/* into a network, or to the agent's own address */
	struct in_addr local = pkt_addr(locals[is_in && how >> 6 != 2 ? 0 : how >> 6 & 3]);

	ip[0] = (uint8_t)(0x40 + ip[0] % 16);
	pkt_put16(ip + 2, (unsigned int)len);
	memcpy(ip + 12, is_in ? &peer : &local, 4);
	memcpy(ip + 16, is_in ? &local : &peer, 4);
}

static void fix_checksums(uint8_t *ip, size_t len)
{
	static const uint8_t offsets[256] = {[IPPROTO_TCP] = 16, [IPPROTO_UDP] = 6};

	if (!model_is_sane(ip, len))
		return;
	uint8_t *l4 = ip + pkt_head_len(ip);
	pkt_put16(ip + 10, 0);
	pkt_put16(ip + 10, 0xffff - pkt_sum(ip, pkt_head_len(ip), 0));
	if (ip[9] == IPPROTO_ICMP) {
		pkt_put16(l4 + 2, 0);
		pkt_put16(l4 + 2, 0xffff - pkt_sum(l4, len - pkt_head_len(ip), 0));
	} else if (offsets[ip[9]]) {
		uint8_t *field = l4 + offsets[ip[9]];

		pkt_put16(field, 0);
		unsigned int sum = 0xffff - pkt_flow_sum(ip, len);
		pkt_put16(field, sum || ip[9] == IPPROTO_TCP ? sum : 0xffff);
	}
}

static void fix(uint8_t *ip, size_t len, uint8_t how)
{
	if (len < 20)
		return;
	if (how & FIX_HEADER)
		fix_header(ip, len, how, how & IS_IN);
	size_t quote_at = pkt_head_len(ip) + 8;
	if ((how & FIX_QUOTE) && ip[9] == IPPROTO_ICMP && len >= quote_at + 20) {
		/* the other way round: what it is about went in the other direction */
		fix_header(ip + quote_at, len - quote_at, how, !(how & IS_IN));
		if (how & FIX_CHECKSUMS)
			fix_checksums(ip + quote_at, len - quote_at);
	}
	if (how & FIX_CHECKSUMS)
		fix_checksums(ip, len);
}

/*
 * Aliases, which the model does not know: whatever comes, they are seen by the namespace only, and
 * what leaves comes from here.
 */
static void check_aliases(struct gate *gate, bool is_in, const uint8_t *bytes, size_t len)
{
	struct packet_view view;
	uint8_t *packet = malloc(len ? len : 1);

	if (!packet)
		abort();
	memcpy(packet, bytes, len);
	enum gate_verdict verdict =
		is_in ? gate_in(gate, packet, len, 0, &view) : gate_out(gate, packet, len, 0);
	if (is_in && verdict == GATE_HOLD)
		gate_let_in(gate, &view);
	if (!is_in && verdict == GATE_PASS && packet[12] >= 240)
		abort();
	free(packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gate_model model;
	const struct in_addr members[] = {
		pkt_addr(peers[0]), pkt_addr(peers[1]), pkt_addr(locals[0])};
	struct gate_port ports[MODEL_RULES_MAX];
	struct gate_rules rules = {.members = members};
	struct gate *gate = gate_new(), *aliasing = gate_new();
	uint64_t now_ns = 0;

	if (size == 0 || !gate || !aliasing) {
		gate_free(gate);
		gate_free(aliasing);
		return 0;
	}
	size_t at = choose_rules(data, size, &rules, ports);
	model = (struct gate_model){.may_forget = true};
	model_configure(&model, &rules);
	if (gate_configure(gate, &rules) < 0)
		abort();
	rules.alias_net = pkt_addr("240.0.0.0");
	rules.turns = true;
	if (gate_configure(aliasing, &rules) < 0)
		abort();
	while (size - at >= PACKET_BYTES) {
		uint8_t how = data[at];
		size_t len = pkt_get16(data + at + 1);
		enum gate_verdict got;

		at += PACKET_BYTES;
		if (len > size - at)
			len = size - at;
		uint8_t *packet = malloc(len ? len : 1);
		if (!packet)
			abort();
		memcpy(packet, data + at, len);
		at += len;
		fix(packet, len, how);
		check_aliases(aliasing, how & IS_IN, packet, len);
		const char *broken =
			model_check(&model, gate, how & IS_IN, packet, len, now_ns, &got);
		if (broken) {
			fprintf(stderr, "%s\n", broken);
			abort();
		}
		now_ns += (uint64_t)len << 30;
		free(packet);
	}
	gate_free(gate);
	gate_free(aliasing);
	return 0;
}
