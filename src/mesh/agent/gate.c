/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate - what may cross between the mesh and the namespace, and what is rewritten there
 */
#include "mesh/agent/gate.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>

#include "mesh/agent/gate_answers.h"
#include "mesh/agent/gate_rewrite.h"
#include "mesh/agent/gate_table.h"
#include "mesh/packet.h"

struct gate {
	struct gate_table *table; /* NULL: no rules yet */
	struct gate_answers answers;
};

/* A packet on its way. */
struct passage {
	struct gate *gate;
	const struct gate_table *table;
	unsigned char *packet;
	struct packet_view view;
	uint64_t now_ns;
};

struct gate *gate_new(void)
{
	return calloc(1, sizeof(struct gate));
}

void gate_free(struct gate *gate)
{
	if (gate)
		free(gate->table);
	free(gate);
}

int gate_configure(struct gate *gate, const struct gate_rules *rules)
{
	struct gate_table *table = gate_table_new(rules);

	if (!table)
		return -ENOMEM;
	free(gate->table);
	gate->table = table;
	return 0;
}

/* Look into the packet; false if nothing like it crosses in either direction. */
static bool begin(struct passage *out, struct gate *gate, void *packet, size_t len, uint64_t now_ns)
{
	*out = (struct passage){
		.gate = gate, .table = gate->table, .packet = packet, .now_ns = now_ns};
	return gate->table && packet_parse(packet, len, &out->view) && !out->view.is_fragment;
}

static bool is_same_ip(struct in_addr a, struct in_addr b)
{
	return a.s_addr == b.s_addr;
}

static bool is_same_end(struct gate_end a, struct gate_end b)
{
	return is_same_ip(a.ip, b.ip) && a.port == b.port;
}

/*
 * Source routes would have the kernel deliver the packet to another address than the one that was
 * checked; the rest of a list that cannot be read might hold one.
 */
static bool has_safe_options(const struct passage *passage)
{
	const unsigned char *end = passage->view.l4;

	for (const unsigned char *at = passage->packet + PACKET_IPV4_BYTES; at < end;) {
		if (*at == IPOPT_EOL)
			return true;
		if (*at == IPOPT_NOP) {
			at++;
			continue;
		}
		if (*at == IPOPT_LSRR || *at == IPOPT_SSRR || end - at < 2 || at[1] < 2 ||
			at[1] > end - at)
			return false;
		at += at[1];
	}
	return true;
}

/* Can @src be another host's address? */
static bool is_outside(const struct gate_table *table, struct in_addr src)
{
	const unsigned int first = ntohl(src.s_addr) >> 24;

	if (is_same_ip(src, table->self))
		return false;
	if (gate_table_is_member(table, src))
		return true;
	return first != 0 && first != 127 && first < 224 && !gate_table_is_target(table, src);
}

/* Is a port that is not in the rules open? Not if a mapped one leads to the same place. */
static bool is_open_unlisted(const struct gate_table *table, uint8_t proto, uint16_t port)
{
	return table->any_port &&
	       !gate_table_place(table, proto, (struct gate_end){table->self, port});
}

/* Give a TCP or UDP packet from the mesh the place where its port @slot is. */
static void map_in(struct passage *passage, const struct gate_slot *slot)
{
	const struct gate_end seen = {passage->view.dst, passage->view.dst_port};

	if (!is_same_end(slot->to, seen))
		gate_rewrite(passage->packet, &passage->view, GATE_DST, slot->to);
}

static enum gate_verdict tcp_in(struct passage *passage)
{
	const struct packet_view *view = &passage->view;
	const struct gate_slot *slot = gate_table_port(passage->table, view->proto, view->dst_port);
	/* as the kernel judges it for a socket that listens */
	const uint8_t kind = view->tcp_flags & (PACKET_SYN | PACKET_ACK | PACKET_RST);

	if (!slot && !is_open_unlisted(passage->table, view->proto, view->dst_port)) {
		if (kind == PACKET_SYN)
			return GATE_REFUSE;
		/* belongs to no connection, and its answer would tell whether somebody listens */
		if (kind == 0)
			return GATE_DROP;
	} else if (kind == PACKET_SYN) {
		if (slot && slot->action == GATE_HOLD_SYN)
			return view->tcp_flags & PACKET_FIN ? GATE_DROP : GATE_HOLD;
	}
	if (slot)
		map_in(passage, slot);
	return GATE_PASS;
}

static enum gate_verdict udp_in(struct passage *passage)
{
	const struct packet_view *view = &passage->view;
	const struct gate_slot *slot = gate_table_port(passage->table, view->proto, view->dst_port);

	if (slot) {
		map_in(passage, slot);
		return GATE_PASS;
	}
	if (is_open_unlisted(passage->table, view->proto, view->dst_port) ||
		gate_answers_has(&passage->gate->answers, view->dst_port,
			(struct gate_end){view->src, view->src_port}, passage->now_ns))
		return GATE_PASS;
	return GATE_DROP;
}

/* Errors about other protocols are like packets of other protocols. */
static bool has_known_quote(const struct passage *passage, struct packet_view *out)
{
	return gate_quote_parse(&passage->view, out) &&
	       (out->proto == IPPROTO_TCP || out->proto == IPPROTO_UDP ||
		       out->proto == IPPROTO_ICMP || passage->table->any_port);
}

/* An error about a packet that went out from here */
static enum gate_verdict icmp_error_in(struct passage *passage)
{
	const struct packet_view *view = &passage->view;
	struct packet_view quote;

	if (!has_known_quote(passage, &quote) || !is_same_ip(quote.src, passage->table->self))
		return GATE_DROP;
	/* the mesh has nothing to say about what did not go there, and no member speaks for
	 * another one */
	if (!is_outside(passage->table, quote.dst) ||
		(gate_table_is_member(passage->table, quote.dst) &&
			!is_same_ip(quote.dst, view->src)))
		return GATE_DROP;

	const struct gate_end seen = {quote.src, quote.src_port};
	const struct gate_slot *slot = gate_table_port(passage->table, quote.proto, seen.port);
	if (slot && !is_same_end(slot->to, seen)) {
		gate_rewrite_quote(view, &quote, GATE_SRC, slot->to);
		gate_rewrite_address(passage->packet, GATE_DST, slot->to.ip);
	}
	return GATE_PASS;
}

/* An error about a packet that came in here, for a place that its sender does not know */
static enum gate_verdict icmp_error_out(struct passage *passage)
{
	const struct packet_view *view = &passage->view;
	const struct in_addr self = passage->table->self;
	struct packet_view quote;

	if (!has_known_quote(passage, &quote) ||
		(!is_same_ip(view->src, self) && !is_same_ip(view->src, quote.dst)))
		return GATE_DROP;

	const struct gate_end place = {quote.dst, quote.dst_port};
	const struct gate_slot *slot = gate_table_place(passage->table, quote.proto, place);
	if (!slot)
		return is_same_ip(quote.dst, self) ? GATE_PASS : GATE_DROP;
	if (!is_same_end(slot->to, place))
		gate_rewrite_quote(view, &quote, GATE_DST, slot->to);
	if (!is_same_ip(view->src, self))
		gate_rewrite_address(passage->packet, GATE_SRC, self);
	return GATE_PASS;
}

static bool is_icmp_error(const struct packet_view *view)
{
	const uint8_t type = view->l4[0];

	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
	       type == ICMP_PARAMETERPROB;
}

static enum gate_verdict icmp_in(struct passage *passage)
{
	const struct packet_view *view = &passage->view;

	if (view->l4_len < PACKET_ICMP_BYTES)
		return GATE_DROP;
	if (is_icmp_error(view))
		return icmp_error_in(passage);
	return view->l4[0] == ICMP_ECHO || view->l4[0] == ICMP_ECHOREPLY ? GATE_PASS : GATE_DROP;
}

enum gate_verdict gate_in(struct gate *gate, void *packet, size_t len, uint64_t now_ns)
{
	struct passage passage;

	if (!begin(&passage, gate, packet, len, now_ns) ||
		!is_same_ip(passage.view.dst, passage.table->self) ||
		!is_outside(passage.table, passage.view.src) || !has_safe_options(&passage))
		return GATE_DROP;
	switch (passage.view.proto) {
	case IPPROTO_TCP:
		return tcp_in(&passage);
	case IPPROTO_UDP:
		return udp_in(&passage);
	case IPPROTO_ICMP:
		return icmp_in(&passage);
	default:
		return passage.table->any_port ? GATE_PASS : GATE_DROP;
	}
}

/* TCP or UDP */
static enum gate_verdict flow_out(struct passage *passage)
{
	const struct packet_view *view = &passage->view;
	const struct gate_end place = {view->src, view->src_port};
	const struct gate_slot *slot = gate_table_place(passage->table, view->proto, place);

	if (slot) {
		if (!is_same_end(slot->to, place))
			gate_rewrite(passage->packet, view, GATE_SRC, slot->to);
		return GATE_PASS;
	}
	if (!is_same_ip(view->src, passage->table->self))
		return GATE_DROP;
	if (view->proto == IPPROTO_UDP)
		gate_answers_await(&passage->gate->answers, view->src_port,
			(struct gate_end){view->dst, view->dst_port}, passage->now_ns);
	return GATE_PASS;
}

enum gate_verdict gate_out(struct gate *gate, void *packet, size_t len, uint64_t now_ns)
{
	struct passage passage;

	if (!begin(&passage, gate, packet, len, now_ns) ||
		is_same_ip(passage.view.dst, passage.table->self))
		return GATE_DROP;
	switch (passage.view.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return flow_out(&passage);
	case IPPROTO_ICMP:
		if (passage.view.l4_len < PACKET_ICMP_BYTES)
			return GATE_DROP;
		if (is_icmp_error(&passage.view))
			return icmp_error_out(&passage);
		break;
	default:
		break;
	}
	return is_same_ip(passage.view.src, passage.table->self) ? GATE_PASS : GATE_DROP;
}
