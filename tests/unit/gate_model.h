/* SPDX-License-Identifier: Apache-2.0 */
/* unit/gate_model - the gate's rules once more, in the slowest and plainest way */
#ifndef NSWRAP_TESTS_UNIT_GATE_MODEL_H
#define NSWRAP_TESTS_UNIT_GATE_MODEL_H

#include "packets.h"

#include "mesh/agent/gate.h"

#include <stdlib.h>

/*
 * Shares nothing with the gate. It judges a packet by walking through the list of rules, and then
 * holds the gate to it: the same verdict, the same bytes changed and no others, and every checksum
 * that was right before is right over the new bytes (added up from scratch).
 */
#define MODEL_RULES_MAX 32
#define MODEL_SENT_MAX  4096

struct model_flow {
	struct in_addr ip;
	unsigned int port, peer_port;
	uint64_t at_ns;
};

struct gate_model {
	struct gate_rules rules;
	bool counts[MODEL_RULES_MAX]; /* no earlier rule stands in its way */
	struct model_flow sent[MODEL_SENT_MAX];
	size_t nsent;
	bool may_forget;                     /* the gate may: its table is small */
	unsigned long rewritten, translated; /* packets, and packets that are quoted */
};

/* What is to be changed: an address and a port, in the packet or in the one that is quoted */
struct model_result {
	enum gate_verdict verdict;
	bool has_change, is_quote, is_forgettable;
	struct in_addr ip;
	unsigned int port;
};

static inline bool model_same(struct in_addr a, struct in_addr b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static inline struct in_addr model_ip(const uint8_t *at)
{
	struct in_addr ip;

	memcpy(&ip, at, sizeof(ip));
	return ip;
}

static inline struct in_addr model_place_ip(const struct gate_rules *rules, size_t i)
{
	return rules->ports[i].action == GATE_MAP ? rules->ports[i].target_ip : rules->self;
}

static inline unsigned int model_place_port(const struct gate_rules *rules, size_t i)
{
	return rules->ports[i].action == GATE_MAP ? rules->ports[i].target_port
						  : rules->ports[i].port;
}

static inline void model_configure(struct gate_model *model, const struct gate_rules *rules)
{
	model->rules = *rules;
	for (size_t i = 0; i < rules->nports; i++) {
		model->counts[i] = true;
		for (size_t j = 0; j < i; j++) {
			const struct gate_port *a = &rules->ports[i], *b = &rules->ports[j];

			if (!model->counts[j] || a->proto != b->proto)
				continue;
			if (a->port == b->port ||
				(model_same(model_place_ip(rules, i), model_place_ip(rules, j)) &&
					model_place_port(rules, i) == model_place_port(rules, j)))
				model->counts[i] = false;
		}
	}
}

/* The rule for @port of the own address, or -1 */
static inline int model_find_port(const struct gate_model *model, uint8_t proto, unsigned int port)
{
	for (size_t i = 0; i < model->rules.nports; i++)
		if (model->counts[i] && model->rules.ports[i].port == port &&
			(model->rules.ports[i].proto == PROTO_UDP ? 17 : 6) == proto)
			return (int)i;
	return -1;
}

/* The rule whose packets end at @ip:@port inside, or -1 */
static inline int model_find_place(
	const struct gate_model *model, uint8_t proto, struct in_addr ip, unsigned int port)
{
	for (size_t i = 0; i < model->rules.nports; i++)
		if (model->counts[i] && model_same(model_place_ip(&model->rules, i), ip) &&
			model_place_port(&model->rules, i) == port &&
			(model->rules.ports[i].proto == PROTO_UDP ? 17 : 6) == proto)
			return (int)i;
	/* a UDP server at all addresses answers from the own one */
	for (size_t i = 0; i < model->rules.nports && proto == 17 && !model->rules.any_port; i++)
		if (model->counts[i] && model_same(model->rules.self, ip) &&
			model->rules.ports[i].action == GATE_MAP &&
			model->rules.ports[i].target_port == port &&
			model->rules.ports[i].proto == PROTO_UDP)
			return (int)i;
	return -1;
}

static inline bool model_is_member(const struct gate_model *model, struct in_addr ip)
{
	for (size_t i = 0; i < model->rules.nmembers; i++)
		if (model_same(model->rules.members[i], ip))
			return true;
	return false;
}

static inline bool model_is_in_network(const struct gate_model *model, const uint8_t *ip)
{
	for (size_t i = 0; i < model->rules.nnetworks; i++) {
		const struct gate_network *network = &model->rules.networks[i];
		uint8_t net[4], mask[4];
		int alike = 0;

		memcpy(net, &network->ip, 4);
		memcpy(mask, &network->mask, 4);
		for (int at = 0; at < 4; at++)
			alike += (net[at] & mask[at]) == (ip[at] & mask[at]);
		if (alike == 4)
			return true;
	}
	return false;
}

/* Some host's, but not this one's */
static inline bool model_is_common(const struct gate_model *model, const uint8_t *ip)
{
	if (model_same(model_ip(ip), model->rules.self))
		return false;
	for (size_t i = 0; i < model->rules.nports; i++)
		if (model->counts[i] && model_same(model_place_ip(&model->rules, i), model_ip(ip)))
			return false;
	return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
}

static inline bool model_is_source(const struct gate_model *model, const uint8_t *src)
{
	if (model_same(model_ip(src), model->rules.self))
		return false;
	if (model_is_member(model, model_ip(src)))
		return true;
	return model_is_common(model, src);
}

/* An address of a network that is reached by way of this host */
static inline bool model_is_behind(const struct gate_model *model, const uint8_t *ip)
{
	return model_is_common(model, ip) && model_is_in_network(model, ip) &&
	       !model_is_member(model, model_ip(ip));
}

static inline bool model_is_sane(const uint8_t *ip, size_t len)
{
	if (len < 20 || ip[0] / 16 != 4 || pkt_head_len(ip) < 20 || pkt_head_len(ip) > len ||
		pkt_get16(ip + 2) != len || pkt_get16(ip + 6) % 0x4000 != 0)
		return false;
	const uint8_t *l4 = ip + pkt_head_len(ip);
	size_t rest = len - pkt_head_len(ip);
	switch (ip[9]) {
	case 6:
		return rest >= 20 && l4[12] / 16 >= 5 && l4[12] / 16 * 4u <= rest;
	case 17:
		return rest >= 8 && pkt_get16(l4 + 4) >= 8 && pkt_get16(l4 + 4) <= rest;
	case 1:
		return rest >= 8;
	default:
		return true;
	}
}

static inline bool model_has_source_route(const uint8_t *ip)
{
	for (size_t at = 20, end = pkt_head_len(ip); at < end && ip[at] != 0;) {
		if (ip[at] == 1) {
			at++;
			continue;
		}
		if (ip[at] == 131 || ip[at] == 137 || at + 1 == end || ip[at + 1] < 2 ||
			at + ip[at + 1] > end)
			return true; /* or may have one */
		at += ip[at + 1];
	}
	return false;
}

static inline struct model_result model_pass(void)
{
	return (struct model_result){.verdict = GATE_PASS};
}

static inline struct model_result model_drop(void)
{
	return (struct model_result){.verdict = GATE_DROP};
}

static inline struct model_result model_change(struct in_addr ip, unsigned int port, bool is_quote)
{
	return (struct model_result){GATE_PASS, true, is_quote, false, ip, port};
}

static inline bool model_has_sent(
	const struct gate_model *model, struct model_flow wanted, uint64_t now_ns)
{
	for (size_t i = 0; i < model->nsent && i < MODEL_SENT_MAX; i++) {
		const struct model_flow *flow = &model->sent[i];

		if (model_same(flow->ip, wanted.ip) && flow->port == wanted.port &&
			flow->peer_port == wanted.peer_port && now_ns < flow->at_ns + 180000000000)
			return true;
	}
	return false;
}

/* An ICMP error's quote, or NULL if it cannot be used */
static inline const uint8_t *model_quote(
	const struct gate_model *model, const uint8_t *ip, size_t len)
{
	const uint8_t *quote = ip + pkt_head_len(ip) + 8;
	size_t rest = len - pkt_head_len(ip) - 8;

	if (rest < 28 || quote[0] / 16 != 4 || pkt_head_len(quote) < 20 ||
		pkt_head_len(quote) + 8 > rest || pkt_get16(quote + 6) % 0x4000 != 0)
		return NULL;
	if (quote[9] != 6 && quote[9] != 17 && quote[9] != 1 && quote[9] != 254 &&
		!model->rules.any_port)
		return NULL;
	return quote;
}

static inline bool model_is_error(const uint8_t *icmp)
{
	return icmp[0] == 3 || icmp[0] == 11 || icmp[0] == 12;
}

static inline struct model_result model_error_in(
	const struct gate_model *model, const uint8_t *ip, size_t len)
{
	const struct gate_rules *rules = &model->rules;
	const uint8_t *quote = model_quote(model, ip, len);

	if (!quote || memcmp(quote + 12, ip + 16, 4) != 0)
		return model_drop();
	if (!model_is_source(model, quote + 16))
		return model_drop();
	if (model_is_member(model, model_ip(quote + 16)) && memcmp(quote + 16, ip + 12, 4) != 0)
		return model_drop();
	if (quote[9] == 254)
		return (struct model_result){.verdict = GATE_TAKE};
	int i = model_find_port(model, quote[9], pkt_get16(quote + pkt_head_len(quote)));
	if (model_same(model_ip(ip + 16), rules->self) && i >= 0 &&
		rules->ports[i].action == GATE_MAP)
		return model_change(rules->ports[i].target_ip, rules->ports[i].target_port, true);
	return model_pass();
}

static inline struct model_result model_error_out(
	const struct gate_model *model, const uint8_t *ip, size_t len)
{
	const struct gate_rules *rules = &model->rules;
	const uint8_t *quote = model_quote(model, ip, len);

	if (!quote)
		return model_drop();
	bool is_from_self = model_same(model_ip(ip + 12), rules->self);
	if (!is_from_self && memcmp(ip + 12, quote + 16, 4) != 0)
		return model_drop();
	int i = model_find_place(
		model, quote[9], model_ip(quote + 16), pkt_get16(quote + pkt_head_len(quote) + 2));
	if (i >= 0)
		return model_change(rules->self, rules->ports[i].port, true);
	return model_same(model_ip(quote + 16), rules->self) || model_is_behind(model, quote + 16)
		       ? model_pass()
		       : model_drop();
}

/* To an address behind this host */
static inline struct model_result model_network_in(
	const struct gate_model *model, const uint8_t *ip, size_t len)
{
	const uint8_t *l4 = ip + pkt_head_len(ip);

	if (!model_is_member(model, model_ip(ip + 12)))
		return model_drop();
	if (ip[9] == 1 && model_is_error(l4))
		return model_error_in(model, ip, len);
	if (ip[9] == 17 || (ip[9] == 1 && l4[0] == 8))
		return (struct model_result){.verdict = GATE_TAKE};
	if (ip[9] != 6)
		return model_drop();
	if (l4[13] & (4 | 16))
		return model_pass();
	return (struct model_result){.verdict = (l4[13] & 3) == 2 ? GATE_HOLD : GATE_DROP};
}

static inline struct model_result model_in(
	const struct gate_model *model, const uint8_t *ip, size_t len, uint64_t now_ns)
{
	const struct gate_rules *rules = &model->rules;

	if (!model_is_sane(ip, len) || !model_is_source(model, ip + 12) ||
		model_has_source_route(ip))
		return model_drop();
	if (model_is_behind(model, ip + 16))
		return model_network_in(model, ip, len);
	if (!model_same(model_ip(ip + 16), rules->self))
		return (struct model_result){.verdict = GATE_NO_HOST};
	const uint8_t *l4 = ip + pkt_head_len(ip);
	if (ip[9] == 1) {
		if (model_is_error(l4))
			return model_error_in(model, ip, len);
		return l4[0] == 0 || l4[0] == 8 ? model_pass() : model_drop();
	}
	if (ip[9] == 254)
		return (struct model_result){.verdict = model_is_member(model, model_ip(ip + 12))
								? GATE_TAKE
								: GATE_DROP};
	if (ip[9] != 6 && ip[9] != 17)
		return (struct model_result){
			.verdict = rules->any_port ? GATE_PASS : GATE_NO_PROTOCOL};

	int i = model_find_port(model, ip[9], pkt_get16(l4 + 2));
	bool is_open = i >= 0 || (rules->any_port && model_find_place(model, ip[9], rules->self,
							     pkt_get16(l4 + 2)) < 0);
	struct model_flow flow = {model_ip(ip + 12), pkt_get16(l4 + 2), pkt_get16(l4), 0};
	bool begins = ip[9] == 6 && (l4[13] & 2) && !(l4[13] & 4) && !(l4[13] & 16);
	bool is_led = rules->leads_on && model_is_member(model, model_ip(ip + 12));
	if (begins && !is_open && is_led)
		return (struct model_result){.verdict = l4[13] & 1 ? GATE_DROP : GATE_HOLD};
	if (begins && !is_open)
		return (struct model_result){.verdict = GATE_REFUSE};
	if (ip[9] == 6 && !is_open && !(l4[13] & (2 | 4 | 16)))
		return model_drop();
	if (begins && i >= 0 && rules->ports[i].action == GATE_HOLD_SYN)
		return (struct model_result){.verdict = l4[13] & 1 ? GATE_DROP : GATE_HOLD};
	if (i >= 0 && rules->ports[i].action == GATE_MAP)
		return model_change(rules->ports[i].target_ip, rules->ports[i].target_port, false);
	if (ip[9] == 17 && !is_open)
		return (struct model_result){.verdict = model_has_sent(model, flow, now_ns)
								? GATE_PASS
							: is_led ? GATE_TAKE
								 : GATE_REFUSE,
			.is_forgettable = model->may_forget};
	return model_pass();
}

static inline struct model_result model_out(
	struct gate_model *model, const uint8_t *ip, size_t len, uint64_t now_ns)
{
	const struct gate_rules *rules = &model->rules;

	if (!model_is_sane(ip, len) || model_same(model_ip(ip + 16), rules->self))
		return model_drop();
	const uint8_t *l4 = ip + pkt_head_len(ip);
	bool is_from_self = model_same(model_ip(ip + 12), rules->self);
	if (ip[9] == 1 && model_is_error(l4))
		return model_error_out(model, ip, len);
	if (ip[9] != 6 && ip[9] != 17)
		return (struct model_result){.verdict = is_from_self ? GATE_PASS : GATE_NO_HOST};

	int i = model_find_place(model, ip[9], model_ip(ip + 12), pkt_get16(l4));
	if (i >= 0)
		return model_change(rules->self, rules->ports[i].port, false);
	if (!is_from_self)
		return (struct model_result){
			.verdict = model_is_behind(model, ip + 12) &&
						   model_is_member(model, model_ip(ip + 16))
					   ? GATE_PASS
					   : GATE_NO_HOST};
	if (ip[9] == 17)
		model->sent[model->nsent++ % MODEL_SENT_MAX] = (struct model_flow){
			model_ip(ip + 16), pkt_get16(l4), pkt_get16(l4 + 2), now_ns};
	return model_pass();
}

/* Do what @result says to @ip, without the checksums. */
static inline void model_apply(
	const struct gate_model *model, const struct model_result *result, bool is_in, uint8_t *ip)
{
	uint8_t *about = result->is_quote ? ip + pkt_head_len(ip) + 8 : ip;
	bool is_dst = is_in != result->is_quote;

	memcpy(about + (is_dst ? 16 : 12), &result->ip, 4);
	pkt_put16(about + pkt_head_len(about) + (is_dst ? 2 : 0), result->port);
	if (result->is_quote) /* the error itself comes from or goes to the same place */
		memcpy(ip + (is_in ? 16 : 12), is_in ? &result->ip : &model->rules.self, 4);
}

/* Take the checksums of @from, which has room for all of them if @ip has. */
static inline void model_copy_checksums(uint8_t *ip, const uint8_t *from, size_t len)
{
	size_t at = pkt_head_len(ip) + (ip[9] == 6 ? 16 : ip[9] == 17 ? 6 : 2);

	memcpy(ip + 10, from + 10, 2);
	if (at + 2 <= len)
		memcpy(ip + at, from + at, 2);
}

/* Is every checksum of @after right that is right in @before? */
static inline const char *model_compare(const uint8_t *before, const uint8_t *after, size_t len)
{
	const uint8_t *l4 = before + pkt_head_len(before);
	bool is_udp = before[9] == 17;

	if (pkt_is_ip_right(before) && !pkt_is_ip_right(after))
		return "the header's checksum";
	if (before[9] == 1)
		return pkt_is_icmp_right(before, len) && !pkt_is_icmp_right(after, len)
			       ? "the ICMP checksum"
			       : NULL;
	if (!model_is_sane(before, len)) /* a quote that is cut */
		return NULL;
	if (is_udp && (pkt_get16(l4 + 6) == 0) != (pkt_get16(after + (l4 - before) + 6) == 0))
		return "UDP's mark for no checksum";
	if (pkt_is_flow_right(before, len) && !pkt_is_flow_right(after, len))
		return "the checksum";
	return NULL;
}

static inline const char *model_compare_all(const struct gate_model *model,
	const struct model_result *result, bool is_in, const uint8_t *before, const uint8_t *after,
	size_t len)
{
	uint8_t *wanted = malloc(len);
	size_t quote_at = pkt_head_len(before) + 8;
	const char *broken = NULL;

	memcpy(wanted, before, len);
	model_apply(model, result, is_in, wanted);
	model_copy_checksums(wanted, after, len);
	if (result->is_quote)
		model_copy_checksums(wanted + quote_at, after + quote_at, len - quote_at);
	if (memcmp(wanted, after, len) != 0)
		broken = "other bytes";
	free(wanted);
	if (!broken)
		broken = model_compare(before, after, len);
	if (!broken && result->is_quote)
		broken = model_compare(before + quote_at, after + quote_at, len - quote_at);
	return broken;
}

/*
 * Send a packet through the gate, in a buffer of exactly its size. Returns NULL, or what is not as
 * it should be. @got: the gate's verdict.
 */
static inline const char *model_check(struct gate_model *model, struct gate *gate, bool is_in,
	const uint8_t *packet, size_t len, uint64_t now_ns, enum gate_verdict *got)
{
	uint8_t *after = malloc(len ? len : 1);
	const char *broken = NULL;

	if (len)
		memcpy(after, packet, len);
	struct packet_view view;
	*got = is_in ? gate_in(gate, after, len, now_ns, &view)
		     : gate_out(gate, after, len, now_ns);
	const struct model_result wanted = is_in ? model_in(model, packet, len, now_ns)
						 : model_out(model, packet, len, now_ns);
	if (*got != wanted.verdict && !(wanted.is_forgettable && *got == GATE_REFUSE))
		broken = "the verdict";
	else if (*got == GATE_PASS && wanted.has_change)
		broken = model_compare_all(model, &wanted, is_in, packet, after, len);
	else if (len && memcmp(packet, after, len) != 0)
		broken = "it was changed";
	if (*got == GATE_PASS && memcmp(packet, after, len) != 0) {
		model->rewritten += !wanted.is_quote;
		model->translated += wanted.is_quote;
	}
	free(after);
	return broken;
}

#endif
