/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/outbound - TCP from a sandbox to the outside: dialled here, carried by the kernel inside
 */
#include "sandbox/outbound.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>

#include "conn/accept.h"
#include "conn/syns.h"
#include "net/diag.h"
#include "net/netdev.h"
#include "net/refusal.h"
#include "sandbox/asks.h"
#include "util/fd.h"
#include "util/list.h"

struct entry {
	struct acceptor acceptor; /* its descriptor is -1: there is none */
	struct outbound *outbound;
};

struct outbound {
	struct outbound_start start;
	struct syns *syns;
	struct entry entries[2];
	int tap; /* its number inside */
};

/* --- what asks ---------------------------------------------------------------------------- */

static struct dial_target target_of(const struct net_plan *plan, const struct addr *own)
{
	const bool is_four = own->family == AF_INET;
	const struct addr host = is_four ? addr_of4(plan->host, 0) : addr_of6(&plan->host6, 0);
	struct dial_target target = {.addr = *own,
		.source = is_four ? plan->outbound4 : plan->outbound6,
		.is_patient = true};

	/* the guard has seen whether that is allowed */
	if (addr_is_same_ip(own, &host))
		target.addr = is_four ? addr_loopback4(addr_port(own))
				      : addr_of6(&in6addr_loopback, addr_port(own));
	return target;
}

static void on_asked(void *owner, uint8_t *frame, size_t len)
{
	struct outbound *outbound = owner;
	struct syns_packet packet;

	if (asks_read(frame, len, &packet) == 0)
		return;
	struct dial_target target = target_of(outbound->start.plan, &packet.own);
	syns_on_packet(outbound->syns, &packet, &target);
}

/* --- what came of it ---------------------------------------------------------------------- */

static void let_in(void *owner, const struct syns_packet *packet)
{
	struct outbound *outbound = owner;
	uint8_t *frame = packet->bytes;

	memcpy(frame, frame + ETH_ALEN, ETH_ALEN);
	memcpy(frame + ETH_ALEN, plan_ask_mac, ETH_ALEN);
	slirp_stack_send(outbound->start.slirp, frame, packet->len);
}

static void refuse(void *owner, const struct syns_packet *packet, int result)
{
	struct outbound *outbound = owner;
	uint8_t answer[REFUSAL_FRAME_BYTES];
	size_t len = refusal_make(outbound->start.plan, packet->bytes, packet->len, result, answer);

	if (len > 0)
		slirp_stack_send(outbound->start.slirp, answer, len);
}

/* Where nobody can tell, they may. */
static bool is_waiting(void *owner, const struct addr *peer, const struct addr *own)
{
	const struct outbound *outbound = owner;

	return diag_is_connected(outbound->start.guest_diag, peer, own, outbound->tap) != 0;
}

static void on_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	struct outbound *outbound = container_of(acceptor, struct entry, acceptor)->outbound;
	struct addr own;

	/* its own address is the one that was asked for */
	if (addr_get_own(fd, &own) < 0 || !syns_meet(outbound->syns, peer, &own, fd))
		fd_reset(&fd);
}

/* --- start and end ------------------------------------------------------------------------ */

static int open_entry(struct outbound *outbound, size_t i, int listener)
{
	struct entry *entry = &outbound->entries[i];

	*entry = (struct entry){
		.acceptor = {.on_client = on_client, .io.fd = -1}, .outbound = outbound};
	if (listener < 0)
		return 0;
	outbound->tap = netdev_index(listener, NET_TAP_NAME);
	return acceptor_open(&entry->acceptor, outbound->start.context.loop,
		outbound->start.context.budget, listener);
}

struct outbound *outbound_new(const struct outbound_start *start)
{
	static const struct syns_ops ops = {
		.let_in = let_in, .refuse = refuse, .is_waiting = is_waiting, .is_one_peer = true};
	struct outbound *outbound = calloc(1, sizeof(*outbound));

	if (!outbound)
		return NULL;
	outbound->start = *start;
	outbound->syns = syns_new(&outbound->start.context, &ops, outbound);
	int result = outbound->syns ? open_entry(outbound, 0, start->listener4) : -ENOMEM;
	if (result == 0)
		result = open_entry(outbound, 1, start->listener6);
	if (result < 0) {
		outbound_free(outbound);
		errno = -result;
		return NULL;
	}
	slirp_stack_set_asked(start->slirp, plan_ask_mac, on_asked, outbound);
	return outbound;
}

void outbound_free(struct outbound *outbound)
{
	if (!outbound)
		return;
	slirp_stack_set_asked(outbound->start.slirp, NULL, NULL, NULL);
	for (size_t i = 0; i < 2; i++)
		if (outbound->entries[i].outbound && outbound->entries[i].acceptor.io.fd >= 0)
			acceptor_close(&outbound->entries[i].acceptor);
	syns_free(outbound->syns);
	free(outbound);
}
