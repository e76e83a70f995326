/* SPDX-License-Identifier: Apache-2.0 */
/* dns/nameserver - answers DNS queries that come to sockets that it is given */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/forwarder.h"
#include "dns/query.h"
#include "dns/reply.h"
#include "util/budget.h"
#include "util/loop.h"

/*
 * How it works
 *
 * Each query is shown to the owner, who answers it, now or later, or leaves it to the forwarder.
 * One that cannot be read is refused. What comes over UDP and cannot be served now is dropped: who
 * asked asks again. The same query over UDP again, while it is under way, is one.
 *
 * Of FORWARDER_QUERIES_MAX questions that wait, those of one address are at most half of what the
 * others leave: no flood of names that nobody answers keeps others from theirs.
 *
 * Over TCP queries may be pipelined and are answered as answers come (dns/pipeline). While there
 * are NAMESERVER_CLIENTS_MAX connections the one that has been idle longest makes room, or one of
 * the address that has most of them.
 */
#define NAMESERVER_CLIENTS_MAX 128
#define NAMESERVER_SOCKETS_MAX 8

struct nameserver;

/* A query that was asked; the name server's, until it is answered. */
struct nameserver_question;

struct nameserver_ops {
	/*
	 * What becomes of @query? 0: @out has the answer; -ENOENT: the forwarder is asked;
	 * -EINPROGRESS: the owner will call nameserver_answer, nameserver_pass or
	 * nameserver_forward, and @query stays until then; another -errno: SERVFAIL. @out is all
	 * zero, and what it points to must stay until the owner returns to the loop.
	 */
	int (*on_query)(void *owner, struct nameserver_question *question,
		const struct query *query, struct reply *out);
};

/* @loop, @budget and @forwarder (NULL: what is left to it is refused) stay the caller's. Returns
 * NULL with errno set. */
struct nameserver *nameserver_new(struct loop *loop, struct budget *budget,
	struct forwarder *forwarder, const struct nameserver_ops *ops, void *owner);

/* Ends all connections; sockets of nameserver_add_udp stay the caller's. The owner must have
 * forgotten the questions that it had. NULL is allowed. */
void nameserver_free(struct nameserver *nameserver);

/* Serve a bound, nonblocking UDP socket, bound to one address. It must stay until
 * nameserver_del_udp. Returns 0 or -errno: -ENOSPC past NAMESERVER_SOCKETS_MAX. */
int nameserver_add_udp(struct nameserver *nameserver, int fd);
/* Answers over UDP have @max_bytes at most, DNS_UDP_BYTES or more, whatever clients take: what goes
 * over there in one piece. */
void nameserver_set_udp_max(struct nameserver *nameserver, size_t max_bytes);

/* Queries that came over @fd are forgotten when they are answered. */
void nameserver_del_udp(struct nameserver *nameserver, int fd);

/* Serve a client, a connected, nonblocking stream socket, which is the name server's from now on
 * and counted by it in the budget. It is one of those of @peer, whatever the socket says. */
void nameserver_add_client(struct nameserver *nameserver, int fd, const struct addr *peer);

/* Once for each question that on_query has said -EINPROGRESS to, not from within it. */
void nameserver_answer(struct nameserver_question *question, const struct reply *reply);
/* The same by the answer of another server to the bytes of nameserver_message; any bytes. */
void nameserver_pass(struct nameserver_question *question, const uint8_t *answer, size_t len);
void nameserver_forward(struct nameserver_question *question);

/* May one more question of that address wait for others? An owner whose answers take time asks. */
bool nameserver_may_wait(const struct nameserver_question *question);

/* The query as it came. */
const uint8_t *nameserver_message(const struct nameserver_question *question, size_t *len);
