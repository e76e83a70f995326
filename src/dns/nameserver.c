/* SPDX-License-Identifier: Apache-2.0 */
/* dns/nameserver - answers DNS queries that come to sockets that it is given */
#include "dns/nameserver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/pipeline.h"
#include "util/addr.h"
#include "util/list.h"

#define UDP_BURST       32   /* queries a wake-up */
#define UDP_QUERY_BYTES 4096 /* longer ones are none */
#define UDP_ANSWER_MAX  4096 /* unless something else is said */

struct udp_socket {
	struct loop_io io;
	struct nameserver *nameserver;
};

struct client {
	struct pipeline pipeline;
	struct nameserver *nameserver;
	struct addr peer;
	struct list link;
};

struct nameserver {
	struct loop *loop;
	struct budget *budget;
	struct forwarder *forwarder;
	const struct nameserver_ops *ops;
	void *owner;
	struct udp_socket sockets[NAMESERVER_SOCKETS_MAX]; /* io.fd is -1: free */
	struct list clients;                               /* who has asked last is the last one */
	size_t nclients;
	size_t udp_max;
	struct list questions;
	uint8_t bytes[DNS_MESSAGE_MAX]; /* a query that comes, and an answer that goes */
};

struct nameserver_question {
	struct nameserver *nameserver;
	struct list link;
	struct client *client;  /* over TCP; NULL: over UDP, or it has gone */
	struct udp_socket *udp; /* NULL: over TCP, or it is not served any more */
	struct addr peer;
	struct forwarder_query forwarded;
	struct query query;
	size_t len;
	uint8_t message[];
};

static size_t answer_max(const struct nameserver_question *question)
{
	if (!question->udp)
		return DNS_MESSAGE_MAX;
	size_t max = question->nameserver->udp_max;
	return question->query.udp_max < max ? question->query.udp_max : max;
}

static void free_question(struct nameserver_question *question)
{
	forwarder_cancel(&question->forwarded);
	list_del(&question->link);
	free(question);
}

/* @len is 0: there is no answer. */
static void finish(struct nameserver_question *question, const uint8_t *answer, size_t len)
{
	if (question->client && len > 0)
		pipeline_send(&question->client->pipeline, answer, len);
	else if (question->client)
		pipeline_skip(&question->client->pipeline);
	else if (question->udp && len > 0)
		sendto(question->udp->io.fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL,
			&question->peer.any, addr_len(&question->peer));
	free_question(question);
}

static void refuse(struct nameserver_question *question, enum dns_rcode rcode)
{
	uint8_t *bytes = question->nameserver->bytes;

	finish(question, bytes, reply_refuse(question->message, question->len, rcode, bytes));
}

void nameserver_answer(struct nameserver_question *question, const struct reply *reply)
{
	uint8_t *bytes = question->nameserver->bytes;
	ssize_t len =
		reply_make(&question->query, question->message, reply, bytes, answer_max(question));

	if (len > 0)
		finish(question, bytes, (size_t)len);
	else
		refuse(question, DNS_SERVFAIL);
}

void nameserver_pass(struct nameserver_question *question, const uint8_t *answer, size_t len)
{
	uint8_t *bytes = question->nameserver->bytes;

	if (len < question->query.question_end || len > DNS_MESSAGE_MAX) {
		refuse(question, DNS_SERVFAIL);
		return;
	}
	if (len > answer_max(question)) {
		finish(question, bytes, reply_cut(&question->query, answer, bytes));
		return;
	}
	finish(question, answer, len);
}

static void on_forwarded(
	struct forwarder_query *forwarded, int result, const uint8_t *answer, size_t len)
{
	struct nameserver_question *question =
		container_of(forwarded, struct nameserver_question, forwarded);

	if (result == 0)
		nameserver_pass(question, answer, len);
	else
		refuse(question, DNS_SERVFAIL);
}

bool nameserver_may_wait(const struct nameserver_question *question)
{
	size_t own = 0, others = 0;

	list_each (at, &question->nameserver->questions) {
		const struct nameserver_question *other =
			container_of(at, struct nameserver_question, link);

		if (addr_is_same_ip(&other->peer, &question->peer))
			own++;
		else
			others++;
	}
	return others + 2 * own <= FORWARDER_QUERIES_MAX;
}

void nameserver_forward(struct nameserver_question *question)
{
	struct nameserver *nameserver = question->nameserver;
	int result = -ENOENT;

	if (nameserver->forwarder && !nameserver_may_wait(question)) {
		result = -EAGAIN;
	} else if (nameserver->forwarder) {
		question->forwarded.on_answer = on_forwarded;
		result = forwarder_start(nameserver->forwarder, &question->forwarded,
			question->message, question->len, question->query.question_end,
			question->client);
	}
	if (result == -EAGAIN && question->udp)
		finish(question, NULL, 0);
	else if (result < 0)
		refuse(question, result == -ENOENT ? DNS_REFUSED : DNS_SERVFAIL);
}

const uint8_t *nameserver_message(const struct nameserver_question *question, size_t *len)
{
	*len = question->len;
	return question->message;
}

/* Who asks again over UDP has not heard yet. */
static bool is_under_way(const struct nameserver *nameserver, const struct udp_socket *udp,
	const struct addr *peer, const uint8_t *message, size_t len)
{
	list_each (at, &nameserver->questions) {
		const struct nameserver_question *question =
			container_of(at, struct nameserver_question, link);

		if (question->udp == udp && question->len == len &&
			memcmp(question->message, message, len) == 0 &&
			addr_equal(&question->peer, peer))
			return true;
	}
	return false;
}

/* Returns NULL without memory. */
static struct nameserver_question *new_question(
	struct nameserver *nameserver, const uint8_t *message, size_t len)
{
	struct nameserver_question *question = calloc(1, sizeof(*question) + len);

	if (!question)
		return NULL;
	question->nameserver = nameserver;
	question->len = len;
	memcpy(question->message, message, len);
	list_add_last(&nameserver->questions, &question->link);
	return question;
}

static void ask_owner(struct nameserver_question *question)
{
	struct nameserver *nameserver = question->nameserver;
	struct reply reply = {0};
	int result = query_parse(question->message, question->len, &question->query);

	if (result != DNS_OK) {
		if (result < 0)
			finish(question, NULL, 0);
		else
			refuse(question, (enum dns_rcode)result);
		return;
	}
	result = nameserver->ops->on_query(nameserver->owner, question, &question->query, &reply);
	if (result == 0)
		nameserver_answer(question, &reply);
	else if (result == -ENOENT)
		nameserver_forward(question);
	else if (result != -EINPROGRESS)
		refuse(question, DNS_SERVFAIL);
}

static void on_readable(struct loop_io *io, uint32_t events)
{
	struct udp_socket *udp = container_of(io, struct udp_socket, io);
	struct nameserver *nameserver = udp->nameserver;

	(void)events;
	for (int i = 0; i < UDP_BURST && io->fd >= 0; i++) {
		struct addr peer = {0};
		socklen_t peer_len = sizeof(peer);
		ssize_t len = recvfrom(io->fd, nameserver->bytes, UDP_QUERY_BYTES,
			MSG_DONTWAIT | MSG_TRUNC, &peer.any, &peer_len);

		if (len < 0)
			return;
		if (len > UDP_QUERY_BYTES ||
			is_under_way(nameserver, udp, &peer, nameserver->bytes, (size_t)len))
			continue;
		struct nameserver_question *question =
			new_question(nameserver, nameserver->bytes, (size_t)len);
		if (!question)
			continue;
		question->udp = udp;
		question->peer = peer;
		ask_owner(question);
	}
}

void nameserver_set_udp_max(struct nameserver *nameserver, size_t max_bytes)
{
	nameserver->udp_max = max_bytes < UDP_ANSWER_MAX ? max_bytes : UDP_ANSWER_MAX;
}

int nameserver_add_udp(struct nameserver *nameserver, int fd)
{
	for (size_t i = 0; i < NAMESERVER_SOCKETS_MAX; i++) {
		struct udp_socket *udp = &nameserver->sockets[i];

		if (udp->io.fd >= 0)
			continue;
		udp->io = (struct loop_io){.fd = fd, .on_ready = on_readable};
		int result = loop_io_add(nameserver->loop, &udp->io, EPOLLIN);
		if (result < 0)
			udp->io.fd = -1;
		return result;
	}
	return -ENOSPC;
}

/* Questions of @client or @udp have nobody to be answered to. Those that only the forwarder knows
 * are gone. */
static void orphan(
	struct nameserver *nameserver, const struct client *client, const struct udp_socket *udp)
{
	list_each_safe (at, following, &nameserver->questions) {
		struct nameserver_question *question =
			container_of(at, struct nameserver_question, link);

		if (question->client != client || question->udp != udp)
			continue;
		if (question->forwarded.forwarder) {
			free_question(question);
			continue;
		}
		question->client = NULL;
		question->udp = NULL;
	}
}

void nameserver_del_udp(struct nameserver *nameserver, int fd)
{
	for (size_t i = 0; i < NAMESERVER_SOCKETS_MAX; i++) {
		struct udp_socket *udp = &nameserver->sockets[i];

		if (udp->io.fd != fd)
			continue;
		loop_io_del(nameserver->loop, &udp->io);
		udp->io.fd = -1;
		orphan(nameserver, NULL, udp);
	}
}

static void on_message(struct pipeline *pipeline, const uint8_t *message, size_t len)
{
	struct client *client = container_of(pipeline, struct client, pipeline);
	struct nameserver *nameserver = client->nameserver;
	struct nameserver_question *question = new_question(nameserver, message, len);

	list_del(&client->link);
	list_add_last(&nameserver->clients, &client->link);
	if (!question) {
		pipeline_skip(pipeline);
		return;
	}
	question->client = client;
	question->peer = client->peer;
	ask_owner(question);
}

static void free_client(struct client *client)
{
	struct nameserver *nameserver = client->nameserver;

	orphan(nameserver, client, NULL);
	list_del(&client->link);
	nameserver->nclients--;
	budget_give(nameserver->budget, 1);
	free(client);
}

static void on_end(struct pipeline *pipeline)
{
	free_client(container_of(pipeline, struct client, pipeline));
}

static size_t count_clients(const struct nameserver *nameserver, const struct addr *source)
{
	size_t count = 0;

	list_each (at, &nameserver->clients) {
		const struct client *client = container_of(at, struct client, link);

		count += addr_is_same_ip(&client->peer, source);
	}
	return count;
}

/* The client that has been idle longest is ended; if all wait for answers, the one that waits
 * longest of the address that has most of them, if it has more than @source. */
static void make_room(struct nameserver *nameserver, const struct addr *source)
{
	size_t most = count_clients(nameserver, source);
	struct client *found = NULL;

	list_each (at, &nameserver->clients) {
		struct client *client = container_of(at, struct client, link);
		bool is_idle = pipeline_is_idle(&client->pipeline);
		size_t count = is_idle ? SIZE_MAX : count_clients(nameserver, &client->peer);

		if (count <= most)
			continue;
		most = count;
		found = client;
	}
	if (!found)
		return;
	pipeline_close(&found->pipeline);
	free_client(found);
}

void nameserver_add_client(struct nameserver *nameserver, int fd, const struct addr *peer)
{
	struct client *client = NULL;

	if (nameserver->nclients >= NAMESERVER_CLIENTS_MAX)
		make_room(nameserver, peer);
	if (nameserver->nclients < NAMESERVER_CLIENTS_MAX)
		client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return;
	}
	client->nameserver = nameserver;
	client->peer = *peer;
	client->pipeline.on_message = on_message;
	client->pipeline.on_end = on_end;
	if (pipeline_open(&client->pipeline, nameserver->loop, fd) < 0) {
		free(client);
		return;
	}
	budget_take(nameserver->budget, 1);
	nameserver->nclients++;
	list_add_last(&nameserver->clients, &client->link);
}

struct nameserver *nameserver_new(struct loop *loop, struct budget *budget,
	struct forwarder *forwarder, const struct nameserver_ops *ops, void *owner)
{
	struct nameserver *nameserver = calloc(1, sizeof(*nameserver));

	if (!nameserver)
		return NULL;
	nameserver->loop = loop;
	nameserver->budget = budget;
	nameserver->forwarder = forwarder;
	nameserver->ops = ops;
	nameserver->owner = owner;
	nameserver->udp_max = UDP_ANSWER_MAX;
	list_init(&nameserver->clients);
	list_init(&nameserver->questions);
	for (size_t i = 0; i < NAMESERVER_SOCKETS_MAX; i++) {
		nameserver->sockets[i].io.fd = -1;
		nameserver->sockets[i].nameserver = nameserver;
	}
	return nameserver;
}

void nameserver_free(struct nameserver *nameserver)
{
	if (!nameserver)
		return;
	for (size_t i = 0; i < NAMESERVER_SOCKETS_MAX; i++)
		if (nameserver->sockets[i].io.fd >= 0)
			nameserver_del_udp(nameserver, nameserver->sockets[i].io.fd);
	list_each_safe (at, following, &nameserver->clients) {
		struct client *client = container_of(at, struct client, link);

		pipeline_close(&client->pipeline);
		free_client(client);
	}
	/* what the owner had */
	list_each_safe (question, after, &nameserver->questions) {
		free_question(container_of(question, struct nameserver_question, link));
	}
	free(nameserver);
}
