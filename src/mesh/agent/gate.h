/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/gate - what may cross between the mesh and the namespace, and what is rewritten there
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/config.h"
#include "net/packet.h"
#include "util/addr.h"

/*
 * How it works
 *
 * No packet from the mesh is trusted. It must be a well-formed, unfragmented IPv4 packet to the
 * agent's own address, or into a network that the rules name, from an address that cannot be one of
 * this namespace's own: of 127.0.0.0/8 only addresses of members count. Source routes are refused:
 * they lead to other addresses. What follows is about the agent's own address.
 *
 * TCP: what begins a connection (SYN without ACK or RST) or belongs to none (neither ACK nor RST)
 * must be for a port that is open; the rest is the kernel's business. UDP: for a port that is open,
 * or an answer to what was sent to that address and port from here (a table that forgets). ICMP:
 * echo, and errors about what was sent from here to another host, of which those about a packet to
 * a member must come from that member. What is well-formed and will not be let in is to be answered
 * by the owner, unless its answer would say more of what is here than that.
 *
 * A port may be mapped: packets to it lead to another local address and port, such as 127.0.0.1:80,
 * and what comes back from there gets the mapped source again. Both ways are stateless, checksums
 * are adjusted (RFC 1624), errors in ICMP are translated as well. So a server inside a sandbox is
 * reached without a relay, at the kernel's speed, sees its client's real address, and refuses by
 * itself. No socket is bound for it that would stand in the program's way.
 *
 * Of two ports that lead to one place the second one has its clients seen by aliases there
 * (gate_aliases), so that answers leave from the port that was asked. A program of the namespace
 * that asks for a port of the agent's own address comes to the gate, too, if the stack sees to
 * that: it is led to the port's place by an alias, and back (GATE_RETURN).
 *
 * A port may be held: the packet that begins a connection is given to the owner, who lets it in
 * later (GATE_HOLD).
 *
 * What a host may not begin here (gate_allow) is refused before all that.
 *
 * What the rules say nothing of at the agent's own address may be the owner's (leads_on): TCP is
 * held, datagrams are GATE_TAKE, as in a network.
 *
 * In a network, from which members' addresses and those of this namespace are left out, every TCP
 * port is held for members, and datagrams and echo requests are the owner's (GATE_TAKE); else of
 * ICMP errors pass, about what was sent from that very address. What comes from there may go out to
 * members.
 */
enum gate_action {
	GATE_OPEN,     /* the namespace's own server */
	GATE_MAP,      /* to target_ip:target_port */
	GATE_HOLD_SYN, /* the owner decides on each TCP connection; UDP: as GATE_OPEN */
};

struct gate_port {
	enum proto proto;
	uint16_t port; /* host order */
	enum gate_action action;
	struct in_addr target_ip;
	uint16_t target_port; /* 0 unless it is mapped: at self:port; else served there by the owner
			       */
};

/* All addresses that are like @ip where @mask has ones. */
struct gate_network {
	struct in_addr ip, mask;
};

struct gate_rules {
	struct in_addr self;
	const struct in_addr *members; /* VIPs of all hosts; self may be among them */
	size_t nmembers;
	const struct gate_port *ports;
	size_t nports;
	/* Ports that are not listed are open, too (unless another one is mapped to that place), and
	 * so is what is neither TCP nor UDP nor ICMP. */
	bool any_port;
	const struct gate_network *networks; /* what is to be reached behind this host */
	size_t nnetworks;
	struct in_addr alias_net; /* of the stack, for aliases; 0: it has none */
	bool turns;               /* packets of the namespace to self may come */
	bool leads_on; /* ports that are not listed are the owner's, for members; any_port is off */
};

enum gate_verdict {
	GATE_PASS,
	GATE_DROP,
	/* begins a TCP connection to a held port, or, out, to a host without a stack: SYN without
	 * ACK, RST and FIN */
	GATE_HOLD,
	/* in: UDP to a port of the owner's, or UDP or an echo request into a network; packets of
	 * streams (stream/ferry), from members, and errors about those */
	GATE_TAKE,
	GATE_RETURN, /* out: it is for the namespace itself; deliver it there */
	/* nobody will ever answer it: somebody has to say so (exit/answer) */
	GATE_REFUSE,      /* the port is not open; of TCP only what begins a connection */
	GATE_NOT_ALLOWED, /* in: its sender may not begin that here */
	GATE_NO_PROTOCOL, /* nothing of its protocol is open */
	/* in: it is for another address; out: it comes from one that the mesh does not know */
	GATE_NO_HOST,
};

struct gate; /* everything is dropped until gate_configure */

/* Returns NULL with errno set. */
struct gate *gate_new(void);
void gate_free(struct gate *gate);

/* Tell when nobody listens where port @port is mapped to. */
void gate_on_refused(struct gate *gate,
	void (*on_refused)(void *owner, uint8_t proto, uint16_t port, struct packet_end place),
	void *owner);

/*
 * Replace all rules; what is known of UDP stays. Of two ports with the same number and protocol the
 * first one counts; so it does of two that lead to the same place (self:port for what is not
 * mapped) where there are no aliases.
 * Returns 0 or -ENOMEM (nothing changed then).
 */
int gate_configure(struct gate *gate, const struct gate_rules *rules);

/* From now on @list says who may begin something with @self (mesh/allow); none: everybody. Returns
 * 0 or -ENOMEM (nothing changed then). */
int gate_allow(
	struct gate *gate, struct in_addr self, const struct mesh_allowed *list, size_t count);

/*
 * A packet from the mesh, and one from the namespace to the mesh; may be rewritten in place if it
 * passes. @view is of the packet as it came, whatever the verdict; unless it is GATE_DROP, all of
 * it is filled.
 */
enum gate_verdict gate_in(
	struct gate *gate, void *packet, size_t len, uint64_t now_ns, struct packet_view *view);
enum gate_verdict gate_out(struct gate *gate, void *packet, size_t len, uint64_t now_ns);

/* A packet that was held is let in after all: it may be rewritten. */
void gate_let_in(struct gate *gate, const struct packet_view *packet);

/*
 * What the namespace begins with hosts that have no stack is GATE_HOLD on its way out. What of that
 * is led in (gate_lead_in) comes from an alias to @mouth, a port of the agent's own address where
 * the owner listens, and so does the rest of that connection; gate_find_led says who asked there
 * for what. 0: there is no such port. Not led in (false): there is none, or no alias left.
 */
struct gate_streams {
	/* has it none (stream/ferry)? */
	bool (*is_streamed)(void *owner, struct in_addr ip);
	/* is there a connection, or one that begins, to @to? */
	bool (*is_used)(void *owner, struct packet_end to);
};

void gate_lead_streams(
	struct gate *gate, uint16_t mouth, const struct gate_streams *streams, void *owner);
bool gate_lead_in(struct gate *gate, const struct packet_view *packet);
bool gate_find_led(const struct gate *gate, struct packet_end seen, struct packet_end *to);

/* May a member begin a connection to @to, as allow has it? Is @ip behind this host? */
bool gate_lets_begin(const struct gate *gate, struct in_addr peer, struct packet_end to);
bool gate_is_behind(const struct gate *gate, struct in_addr ip);

/* The agent's own address; 0: none yet. */
struct in_addr gate_self(const struct gate *gate);
