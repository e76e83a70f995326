/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate - what may cross between the mesh and the namespace, and what is rewritten there
 */
#include "mesh/agent/gate.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>

#include "mesh/agent/gate_aliases.h"
#include "mesh/agent/gate_rewrite.h"
#include "mesh/agent/gate_table.h"
#include "mesh/allow.h"
#include "net/awaited.h"
#include "net/packet.h"
#include "stream/ferry.h"

struct gate {
	struct gate_table *table; /* NULL: no rules yet */
	struct allow *allow;      /* NULL: everybody may begin something */
	struct awaited answers;
	struct gate_aliases aliases;
	void (*on_refused)(void *owner, uint8_t proto, uint16_t port, struct packet_end place);
	void *owner;
	uint16_t mouth; /* see gate_lead_streams */
	const struct gate_streams *streams;
	void *streams_owner;
};

/* A packet on its way. */
struct passage {
	struct gate *gate;
	const struct gate_table *table;
	const struct packet_view *view;
	uint64_t now_ns;
};

struct gate *gate_new(void)
{
	return calloc(1, sizeof(struct gate));
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	free(gate->table);
	allow_free(gate->allow);
	gate_aliases_fini(&gate->aliases);
	free(gate);
}

void gate_on_refused(struct gate *gate,
	void (*on_refused)(void *owner, uint8_t proto, uint16_t port, struct packet_end place),
	void *owner)
{
	gate->on_refused = on_refused;
	gate->owner = owner;
}

int gate_configure(struct gate *gate, const struct gate_rules *rules)
{
	struct gate_table *table = gate_table_new(rules);

	if (!table)
		return -ENOMEM;
	free(gate->table);
	gate->table = table;
	gate_aliases_set(&gate->aliases, rules->alias_net);
	return 0;
}

int gate_allow(
	struct gate *gate, struct in_addr self, const struct mesh_allowed *list, size_t count)
{
	struct allow *allow = count > 0 ? allow_new(self, list, count) : NULL;

	if (count > 0 && !allow)
		return -ENOMEM;
	allow_free(gate->allow);
	gate->allow = allow;
	return 0;
}

/*
 * Source routes would have the kernel deliver the packet to another address than the one that was
 * checked; the rest of a list that cannot be read might hold one.
 */
static bool has_safe_options(const struct packet_view *view)
{
	const unsigned char *end = view->l4;

	for (const unsigned char *at = view->ip + PACKET_IPV4_BYTES; at < end;) {
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

/* One host's, not this one's, whatever namespace that is in? */
static bool is_common(const struct gate_table *table, struct in_addr ip)
{
	const unsigned int first = ntohl(ip.s_addr) >> 24;

	return first != 0 && first != 127 && first < 224 && !packet_is_same_ip(ip, table->self) &&
	       !gate_table_is_target(table, ip);
}

/* Does the mesh find @ip behind this host? Not its own address, which is this host itself. */
static bool is_behind(const struct gate_table *table, struct in_addr ip)
{
	return gate_table_is_in_network(table, ip) && is_common(table, ip) &&
	       !gate_table_is_member(table, ip);
}

static bool is_here(const struct gate_table *table, struct in_addr ip)
{
	return packet_is_same_ip(ip, table->self) || is_behind(table, ip);
}

/* Can @ip be another host's address? */
static bool is_outside(const struct gate_table *table, struct in_addr ip)
{
	if (packet_is_same_ip(ip, table->self))
		return false;
	return gate_table_is_member(table, ip) || is_common(table, ip);
}

/* Is a port that is not in the rules open? Not if a mapped one leads to the same place. */
static bool is_open_unlisted(const struct gate_table *table, uint8_t proto, uint16_t port)
{
	return table->any_port &&
	       !gate_table_place(table, proto, &(struct packet_end){table->self, port});
}

/* Is what is asked for at a port that is not in the rules the owner's? */
static bool leads_on(const struct passage *passage)
{
	return passage->table->leads_on &&
	       gate_table_is_member(passage->table, passage->view->src.ip);
}

/* The alias for who is at @peer and asks for our port @port. */
static bool get_alias(
	struct passage *passage, struct in_addr peer, uint16_t port, struct in_addr *out)
{
	return gate_table_is_member(passage->table, peer) &&
	       gate_aliases_get(&passage->gate->aliases, peer, port, false, out);
}

/* Give a TCP or UDP packet from the mesh the place where its port @slot is. */
static enum gate_verdict map_in(struct passage *passage, const struct gate_slot *slot)
{
	const struct packet_view *view = passage->view;
	struct packet_end alias = view->src;

	if (slot->is_shared) {
		if (!get_alias(passage, view->src.ip, view->dst.port, &alias.ip))
			return GATE_DROP;
		gate_rewrite(view, GATE_SRC, alias);
	}
	if (!packet_is_same_end(slot->to, view->dst))
		gate_rewrite(view, GATE_DST, slot->to);
	return GATE_PASS;
}

/* What matters of the flags, as the kernel judges it for a socket that listens. */
static uint8_t tcp_kind(const struct packet_view *view)
{
	return view->tcp_flags & (PACKET_SYN | PACKET_ACK | PACKET_RST);
}

static enum gate_verdict hold(const struct packet_view *view)
{
	return view->tcp_flags & PACKET_FIN ? GATE_DROP : GATE_HOLD;
}

static enum gate_verdict tcp_in(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	const struct gate_slot *slot = gate_table_port(passage->table, view->proto, &view->dst);
	const uint8_t kind = tcp_kind(view);

	if (!slot && !is_open_unlisted(passage->table, view->proto, view->dst.port)) {
		if (kind == PACKET_SYN)
			return leads_on(passage) ? hold(view) : GATE_REFUSE;
		/* belongs to no connection, and its answer would tell whether somebody listens */
		if (kind == 0)
			return GATE_DROP;
	} else if (kind == PACKET_SYN && slot && slot->action == GATE_HOLD_SYN) {
		return hold(view);
	}
	return slot ? map_in(passage, slot) : GATE_PASS;
}

static enum gate_verdict udp_in(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	const struct gate_slot *slot = gate_table_port(passage->table, view->proto, &view->dst);

	if (slot)
		return map_in(passage, slot);
	if (is_open_unlisted(passage->table, view->proto, view->dst.port) ||
		awaited_has(&passage->gate->answers, &view->dst, &view->src, passage->now_ns))
		return GATE_PASS;
	return leads_on(passage) ? GATE_TAKE : GATE_REFUSE;
}

/* Errors about other protocols are like packets of other protocols. */
static bool has_known_quote(const struct passage *passage, struct packet_view *out)
{
	return packet_parse_quote(passage->view, out) &&
	       (out->proto == IPPROTO_TCP || out->proto == IPPROTO_UDP ||
		       out->proto == FERRY_PROTO || out->proto == IPPROTO_ICMP ||
		       passage->table->any_port);
}

/* An error about a packet that went out from here, to where that came from */
static enum gate_verdict icmp_error_in(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	struct packet_view quote;

	if (!has_known_quote(passage, &quote) || !packet_is_same_ip(quote.src.ip, view->dst.ip))
		return GATE_DROP;
	/* the mesh has nothing to say about what did not go there, and no member speaks for
	 * another one */
	if (!is_outside(passage->table, quote.dst.ip) ||
		(gate_table_is_member(passage->table, quote.dst.ip) &&
			!packet_is_same_ip(quote.dst.ip, view->src.ip)))
		return GATE_DROP;
	if (quote.proto == FERRY_PROTO)
		return GATE_TAKE;

	const struct gate_slot *slot = gate_table_port(passage->table, quote.proto, &quote.src);
	if (slot && slot->is_shared) {
		struct packet_end alias = quote.dst;

		if (!get_alias(passage, quote.dst.ip, quote.src.port, &alias.ip))
			return GATE_DROP;
		gate_rewrite_quote(view, &quote, GATE_DST, alias);
	}
	if (slot && !packet_is_same_end(slot->to, quote.src)) {
		gate_rewrite_quote(view, &quote, GATE_SRC, slot->to);
		gate_rewrite_address(view, GATE_DST, slot->to.ip);
	}
	return GATE_PASS;
}

/* @slot is of a place in which nobody listens. */
static void tell_refused(const struct gate *gate, uint8_t proto, const struct gate_slot *slot,
	uint16_t port, const struct packet_end *place)
{
	if (gate->on_refused && slot->action == GATE_MAP)
		gate->on_refused(gate->owner, proto, port, *place);
}

/* The kernel's answer to a packet that would begin a connection has this number, RFC 9293 3.5.2 */
static bool is_refusal(const struct packet_view *view)
{
	return view->proto == IPPROTO_TCP && tcp_kind(view) == (PACKET_RST | PACKET_ACK) &&
	       packet_get16(view->l4 + 4) == 0 && packet_get16(view->l4 + 6) == 0;
}

/* An error about a packet that came in here, for a place that its sender does not know */
static enum gate_verdict icmp_error_out(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	const struct in_addr self = passage->table->self;
	struct packet_view quote;

	if (!has_known_quote(passage, &quote) ||
		(!packet_is_same_ip(view->src.ip, self) &&
			!packet_is_same_ip(view->src.ip, quote.dst.ip)))
		return GATE_DROP;

	const struct gate_slot *slot = gate_table_place(passage->table, quote.proto, &quote.dst);
	if (!slot)
		return is_here(passage->table, quote.dst.ip) ? GATE_PASS : GATE_DROP;
	if (view->l4[0] == ICMP_DEST_UNREACH && view->l4[1] == ICMP_PORT_UNREACH)
		tell_refused(passage->gate, quote.proto, slot, slot->to.port, &quote.dst);
	if (!packet_is_same_end(slot->to, quote.dst))
		gate_rewrite_quote(view, &quote, GATE_DST, slot->to);
	if (!packet_is_same_ip(view->src.ip, self))
		gate_rewrite_address(view, GATE_SRC, self);
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
	const struct packet_view *view = passage->view;

	if (view->l4_len < PACKET_ICMP_BYTES)
		return GATE_DROP;
	if (is_icmp_error(view))
		return icmp_error_in(passage);
	return view->l4[0] == ICMP_ECHO || view->l4[0] == ICMP_ECHOREPLY ? GATE_PASS : GATE_DROP;
}

/* For the agent's own address */
static enum gate_verdict self_in(struct passage *passage)
{
	switch (passage->view->proto) {
	case IPPROTO_TCP:
		return tcp_in(passage);
	case IPPROTO_UDP:
		return udp_in(passage);
	case IPPROTO_ICMP:
		return icmp_in(passage);
	case FERRY_PROTO:
		return gate_table_is_member(passage->table, passage->view->src.ip) ? GATE_TAKE
										   : GATE_DROP;
	default:
		return passage->table->any_port ? GATE_PASS : GATE_NO_PROTOCOL;
	}
}

/* For an address behind this host */
static enum gate_verdict network_in(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	uint8_t kind;

	switch (view->proto) {
	case IPPROTO_TCP:
		kind = tcp_kind(view);
		if (kind == PACKET_SYN)
			return hold(view);
		return kind == 0 ? GATE_DROP : GATE_PASS;
	case IPPROTO_UDP:
		return GATE_TAKE;
	case IPPROTO_ICMP:
		if (view->l4_len < PACKET_ICMP_BYTES)
			return GATE_DROP;
		if (view->l4[0] == ICMP_ECHO)
			return GATE_TAKE;
		return is_icmp_error(view) ? icmp_error_in(passage) : GATE_DROP;
	default:
		return GATE_DROP;
	}
}

enum gate_verdict gate_in(
	struct gate *gate, void *packet, size_t len, uint64_t now_ns, struct packet_view *view)
{
	if (!gate->table || !packet_parse(packet, len, view) || view->is_fragment ||
		!is_outside(gate->table, view->src.ip) || !has_safe_options(view))
		return GATE_DROP;
	if (gate->allow && allow_judge(gate->allow, &gate->answers, view, now_ns) != ALLOW_PASS)
		return GATE_NOT_ALLOWED;
	struct passage passage = {gate, gate->table, view, now_ns};
	if (packet_is_same_ip(view->dst.ip, gate->table->self))
		return self_in(&passage);
	if (!is_behind(gate->table, view->dst.ip))
		return GATE_NO_HOST;
	return gate_table_is_member(gate->table, view->src.ip) ? network_in(&passage) : GATE_DROP;
}

void gate_lead_streams(
	struct gate *gate, uint16_t mouth, const struct gate_streams *streams, void *owner)
{
	gate->mouth = mouth;
	gate->streams = streams;
	gate->streams_owner = owner;
}

bool gate_lead_in(struct gate *gate, const struct packet_view *packet)
{
	const struct packet_end mouth = {gate->table->self, gate->mouth};
	struct packet_end alias = packet->src;

	if (gate->mouth == 0 || !gate_aliases_lead(&gate->aliases, packet->dst.ip, packet->dst.port,
					gate->streams->is_used, gate->streams_owner, &alias.ip))
		return false;
	gate_rewrite(packet, GATE_SRC, alias);
	gate_rewrite(packet, GATE_DST, mouth);
	return true;
}

bool gate_find_led(const struct gate *gate, struct packet_end seen, struct packet_end *to)
{
	const struct gate_alias *alias = gate_aliases_find(&gate->aliases, seen.ip);

	if (!alias || !alias->is_led)
		return false;
	*to = (struct packet_end){alias->peer, alias->port};
	return true;
}

/* What our owner says to an alias, as the host that it stands for. */
static enum gate_verdict led_out(const struct passage *passage, const struct gate_alias *alias)
{
	const struct packet_view *view = passage->view;
	const struct in_addr self = passage->table->self;

	if (view->proto != IPPROTO_TCP || !packet_is_same_ip(view->src.ip, self) ||
		view->src.port != passage->gate->mouth)
		return GATE_DROP;
	gate_rewrite(view, GATE_SRC, (struct packet_end){alias->peer, alias->port});
	gate_rewrite(view, GATE_DST, (struct packet_end){self, view->dst.port});
	return GATE_RETURN;
}

static bool is_streamed(const struct passage *passage)
{
	const struct gate *gate = passage->gate;

	return gate->mouth != 0 && passage->view->proto == IPPROTO_TCP &&
	       packet_is_same_ip(passage->view->src.ip, passage->table->self) &&
	       gate->streams->is_streamed(gate->streams_owner, passage->view->dst.ip);
}

/* TCP or UDP */
static enum gate_verdict flow_out(struct passage *passage)
{
	const struct packet_view *view = passage->view;
	const struct gate_slot *slot = gate_table_place(passage->table, view->proto, &view->src);

	if (slot) {
		if (is_refusal(view))
			tell_refused(passage->gate, view->proto, slot, slot->to.port, &view->src);
		if (!packet_is_same_end(slot->to, view->src))
			gate_rewrite(view, GATE_SRC, slot->to);
		if (passage->gate->allow && view->proto == IPPROTO_UDP)
			awaited_note(
				&passage->gate->answers, &slot->to, &view->dst, passage->now_ns);
		return GATE_PASS;
	}
	if (!packet_is_same_ip(view->src.ip, passage->table->self))
		return is_behind(passage->table, view->src.ip) &&
				       gate_table_is_member(passage->table, view->dst.ip)
			       ? GATE_PASS
			       : GATE_NO_HOST;
	if (view->proto == IPPROTO_UDP)
		awaited_note(&passage->gate->answers, &view->src, &view->dst, passage->now_ns);
	if (!is_streamed(passage))
		return GATE_PASS;
	if (tcp_kind(view) == PACKET_SYN)
		return hold(view);
	return gate_lead_in(passage->gate, view) ? GATE_RETURN : GATE_DROP;
}

/* --- aliases and own programs ------------------------------------------------------------- */

/* The port that @alias stands for, if it has its place at @at; or NULL. */
static const struct gate_slot *port_of_alias(const struct passage *passage,
	const struct gate_alias *alias, uint8_t proto, const struct packet_end *at)
{
	const struct packet_end seen = {passage->table->self, alias->port};
	const struct gate_slot *slot = gate_table_port(passage->table, proto, &seen);

	if (!slot)
		return NULL;
	/* of UDP, one that is bound to all addresses answers from self */
	const bool is_own = proto == IPPROTO_UDP && packet_is_same_ip(at->ip, seen.ip) &&
			    at->port == slot->to.port;
	return is_own || packet_is_same_end(slot->to, *at) ? slot : NULL;
}

/* An error about a packet that came by an alias */
static bool alias_error_out(const struct passage *passage, const struct gate_alias *alias)
{
	const struct packet_view *view = passage->view;
	const struct packet_end seen = {passage->table->self, alias->port};
	const struct gate_slot *slot;
	struct packet_view quote;

	if (!has_known_quote(passage, &quote) || !packet_is_same_ip(quote.src.ip, view->dst.ip))
		return false;
	slot = port_of_alias(passage, alias, quote.proto, &quote.dst);
	if (!slot)
		return false;
	if (view->l4[0] == ICMP_DEST_UNREACH && view->l4[1] == ICMP_PORT_UNREACH)
		tell_refused(passage->gate, quote.proto, slot, alias->port, &quote.dst);
	gate_rewrite_quote(view, &quote, GATE_DST, seen);
	gate_rewrite_quote(
		view, &quote, GATE_SRC, (struct packet_end){alias->peer, quote.src.port});
	gate_rewrite_address(view, GATE_SRC, seen.ip);
	gate_rewrite_address(view, GATE_DST, alias->peer);
	return true;
}

static bool alias_flow_out(const struct passage *passage, const struct gate_alias *alias)
{
	const struct packet_view *view = passage->view;
	const struct gate_slot *slot = port_of_alias(passage, alias, view->proto, &view->src);

	if (!slot)
		return false;
	if (is_refusal(view))
		tell_refused(passage->gate, view->proto, slot, alias->port, &view->src);
	gate_rewrite(view, GATE_SRC, (struct packet_end){passage->table->self, alias->port});
	gate_rewrite(view, GATE_DST, (struct packet_end){alias->peer, view->dst.port});
	return true;
}

/* For an alias: it is an answer of the port that this stands for. */
static enum gate_verdict alias_out(const struct passage *passage, const struct gate_alias *alias)
{
	const struct packet_view *view = passage->view;
	bool is_right = false;

	if (alias->is_led)
		return led_out(passage, alias);
	if (view->proto == IPPROTO_TCP || view->proto == IPPROTO_UDP)
		is_right = alias_flow_out(passage, alias);
	else if (view->proto == IPPROTO_ICMP && view->l4_len >= PACKET_ICMP_BYTES &&
		 is_icmp_error(view))
		is_right = alias_error_out(passage, alias);
	if (!is_right)
		return GATE_DROP;
	return alias->is_local ? GATE_RETURN : GATE_PASS;
}

/* A program of the namespace asks for a port of ours: lead it there, as a client of the mesh. */
static enum gate_verdict turn(const struct passage *passage)
{
	const struct packet_view *view = passage->view;
	const bool is_flow = view->proto == IPPROTO_TCP || view->proto == IPPROTO_UDP;
	const struct gate_slot *slot =
		is_flow ? gate_table_port(passage->table, view->proto, &view->dst) : NULL;
	struct packet_end alias = view->src;

	if (!slot || packet_is_same_end(slot->to, view->dst))
		return GATE_RETURN;
	if (!gate_aliases_get(
		    &passage->gate->aliases, view->src.ip, view->dst.port, true, &alias.ip))
		return GATE_DROP;
	gate_rewrite(view, GATE_SRC, alias);
	gate_rewrite(view, GATE_DST, slot->to);
	return GATE_RETURN;
}

void gate_let_in(struct gate *gate, const struct packet_view *packet)
{
	struct passage passage = {gate, gate->table, packet, 0};
	const struct gate_slot *slot =
		gate->table ? gate_table_port(gate->table, packet->proto, &packet->dst) : NULL;

	if (slot)
		map_in(&passage, slot);
}

enum gate_verdict gate_out(struct gate *gate, void *packet, size_t len, uint64_t now_ns)
{
	struct packet_view view;
	struct passage passage = {gate, gate->table, &view, now_ns};

	if (!gate->table || !packet_parse(packet, len, &view) || view.is_fragment)
		return GATE_DROP;
	if (packet_is_same_ip(view.dst.ip, gate->table->self))
		return gate->table->turns ? turn(&passage) : GATE_DROP;
	const struct gate_alias *alias = gate_aliases_find(&gate->aliases, view.dst.ip);
	if (alias)
		return alias_out(&passage, alias);
	switch (view.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return flow_out(&passage);
	case IPPROTO_ICMP:
		if (view.l4_len < PACKET_ICMP_BYTES)
			return GATE_DROP;
		if (is_icmp_error(&view))
			return icmp_error_out(&passage);
		break;
	default:
		break;
	}
	return packet_is_same_ip(view.src.ip, gate->table->self) ? GATE_PASS : GATE_NO_HOST;
}

bool gate_lets_begin(const struct gate *gate, struct in_addr peer, struct packet_end to)
{
	const struct packet_view syn = {
		.src.ip = peer, .dst = to, .proto = IPPROTO_TCP, .tcp_flags = PACKET_SYN};

	return !gate->allow || allow_judge(gate->allow, &gate->answers, &syn, 0) == ALLOW_PASS;
}

bool gate_is_behind(const struct gate *gate, struct in_addr ip)
{
	return gate->table && is_behind(gate->table, ip);
}

struct in_addr gate_self(const struct gate *gate)
{
	return gate->table ? gate->table->self : (struct in_addr){0};
}
