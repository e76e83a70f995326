/* SPDX-License-Identifier: Apache-2.0 */
/* dns/forwarder - passes DNS queries to the servers that are to be asked, as they came */
#include "dns/forwarder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dns/query.h"
#include "dns/response.h"
#include "util/clock.h"
#include "util/fd.h"

#define HEADER_BYTES 12

struct server {
	struct addr addr;
	uint64_t silent_until_ns;
};

struct forwarder {
	struct loop *loop;
	struct budget *budget;
	struct server servers[FORWARDER_SERVERS_MAX];
	size_t nservers;
	struct list queries;
	size_t under_way;
	uint8_t answer[DNS_MESSAGE_MAX];
};

static void try_next(struct forwarder_query *query);

struct forwarder *forwarder_new(struct loop *loop, struct budget *budget)
{
	struct forwarder *forwarder = calloc(1, sizeof(*forwarder));

	if (!forwarder)
		return NULL;
	forwarder->loop = loop;
	forwarder->budget = budget;
	list_init(&forwarder->queries);
	return forwarder;
}

void forwarder_free(struct forwarder *forwarder)
{
	free(forwarder);
}

void forwarder_set_servers(struct forwarder *forwarder, const struct addr *servers, size_t count)
{
	forwarder->nservers = count < FORWARDER_SERVERS_MAX ? count : FORWARDER_SERVERS_MAX;
	for (size_t i = 0; i < forwarder->nservers; i++)
		forwarder->servers[i] = (struct server){.addr = servers[i]};
	list_each (at, &forwarder->queries) {
		struct forwarder_query *query = container_of(at, struct forwarder_query, link);

		query->asked = query->refused = 0;
		query->server = FORWARDER_SERVERS_MAX; /* what is asked is none of these */
	}
}

/* Nobody is asked any more. */
static void end_try(struct forwarder_query *query)
{
	struct loop *loop = query->forwarder->loop;

	if (query->io.fd >= 0) {
		loop_io_del(loop, &query->io);
		fd_close(&query->io.fd);
	}
	ask_cancel(&query->ask);
	loop_timer_cancel(loop, &query->timer);
	loop_task_cancel(loop, &query->task);
}

void forwarder_cancel(struct forwarder_query *query)
{
	struct forwarder *forwarder = query->forwarder;

	if (!forwarder)
		return;
	end_try(query);
	list_del(&query->link);
	forwarder->under_way--;
	budget_give(forwarder->budget, 1);
	free(query->message);
	free(query->refusal);
	query->message = query->refusal = NULL;
	query->forwarder = NULL;
}

/* The answer gets the query's own id and letters. */
static void finish(struct forwarder_query *query, int result, uint8_t *answer, size_t len)
{
	uint8_t *refusal = query->refusal;

	query->refusal = NULL;
	if (answer) { /* it fits, so it is as long as the question */
		memcpy(answer, query->id, sizeof(query->id));
		memcpy(answer + HEADER_BYTES, query->message + HEADER_BYTES,
			query->question_end - HEADER_BYTES);
	}
	forwarder_cancel(query);
	query->on_answer(query, result, answer, len);
	free(refusal);
}

static void give_up(struct forwarder_query *query, int result)
{
	if (query->refusal)
		finish(query, 0, query->refusal, query->refusal_len);
	else
		finish(query, result, NULL, 0);
}

/* The server says that it will not, or cannot be asked, or nobody is helped by what it says. */
static void note_refusal(struct forwarder_query *query, int error)
{
	query->last_error = error;
	if (query->server < FORWARDER_SERVERS_MAX)
		query->refused |= 1U << query->server;
}

static void on_refusal(struct forwarder_query *query, int error)
{
	note_refusal(query, error);
	end_try(query);
	try_next(query);
}

static void note_silence(struct forwarder_query *query, uint64_t until_ns)
{
	if (query->server < query->forwarder->nservers)
		query->forwarder->servers[query->server].silent_until_ns = until_ns;
}

/* @answer fits and may be changed. */
static void on_server_answer(struct forwarder_query *query, uint8_t *answer, size_t len)
{
	enum dns_rcode rcode = response_rcode(answer);

	note_silence(query, 0);
	if (rcode != DNS_SERVFAIL && rcode != DNS_NOTIMP && rcode != DNS_REFUSED) {
		finish(query, 0, answer, len);
		return;
	}
	free(query->refusal);
	query->refusal = malloc(len);
	query->refusal_len = len;
	if (query->refusal)
		memcpy(query->refusal, answer, len);
	on_refusal(query, -ECONNREFUSED);
}

static void on_readable(struct loop_io *io, uint32_t events)
{
	struct forwarder_query *query = container_of(io, struct forwarder_query, io);
	struct forwarder *forwarder = query->forwarder;

	(void)events;
	ssize_t len = recv(io->fd, forwarder->answer, sizeof(forwarder->answer), 0);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len < 0) { /* a router's or the server's ICMP */
		on_refusal(query, -errno);
		return;
	}
	if (!response_fits(forwarder->answer, (size_t)len, query->message, query->question_end))
		return;
	if (query->wants_whole && response_is_cut(forwarder->answer))
		on_refusal(query, -EMSGSIZE);
	else
		on_server_answer(query, forwarder->answer, (size_t)len);
}

static void on_tcp_done(struct ask *ask, int result, const uint8_t *answer, size_t len)
{
	struct forwarder_query *query = container_of(ask, struct forwarder_query, ask);
	struct forwarder *forwarder = query->forwarder;

	if (result == 0) {
		memcpy(forwarder->answer, answer, len);
		on_server_answer(query, forwarder->answer, len);
		return;
	}
	if (result == -ETIMEDOUT)
		note_silence(query, loop_now_ns(forwarder->loop) + FORWARDER_SILENT_MS * NS_PER_MS);
	else
		note_refusal(query, result);
	end_try(query);
	try_next(query);
}

static void on_expired(struct loop_timer *timer)
{
	struct forwarder_query *query = container_of(timer, struct forwarder_query, timer);
	struct forwarder *forwarder = query->forwarder;

	note_silence(query, loop_now_ns(forwarder->loop) + FORWARDER_SILENT_MS * NS_PER_MS);
	end_try(query);
	try_next(query);
}

/* The first server that was not asked in this round, those last that were silent. Returns false if
 * there is none left. */
static bool choose_server(struct forwarder_query *query)
{
	const struct forwarder *forwarder = query->forwarder;
	unsigned out = query->asked | query->refused;
	uint64_t now_ns = loop_now_ns(forwarder->loop);

	for (int wants_silent = 0; wants_silent < 2; wants_silent++)
		for (unsigned i = 0; i < forwarder->nservers; i++) {
			bool is_silent = forwarder->servers[i].silent_until_ns > now_ns;

			if (!(out & 1U << i) && is_silent == (wants_silent == 1)) {
				query->server = i;
				query->asked |= 1U << i;
				return true;
			}
		}
	return false;
}

/* Returns 0 or -errno. */
static int ask_server(struct forwarder_query *query, uint64_t now_ns)
{
	struct forwarder *forwarder = query->forwarder;
	const struct addr *addr = &forwarder->servers[query->server].addr;
	uint64_t left_ms = clock_ms_until(query->deadline_ns, now_ns);
	uint64_t try_ms = query->is_tcp ? FORWARDER_TRY_TCP_MS : FORWARDER_TRY_MS;
	uint16_t id = query_random_id();
	int type = (query->is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	_cleanup_fd_ int fd = socket(addr->family, type, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &addr->any, addr_len(addr)) < 0 && errno != EINPROGRESS)
		return -errno;
	memcpy(query->message, &id, sizeof(id));
	if (try_ms > left_ms)
		try_ms = left_ms;
	if (query->is_tcp)
		return ask_start(&query->ask, forwarder->loop, fd_take(&fd), query->message,
			query->len, (unsigned)try_ms);
	if (send(fd, query->message, query->len, MSG_NOSIGNAL) < 0)
		return -errno;
	query->io.fd = fd;
	int result = loop_io_add(forwarder->loop, &query->io, EPOLLIN);
	if (result < 0) {
		query->io.fd = -1;
		return result;
	}
	fd_take(&fd);
	loop_timer_set(forwarder->loop, &query->timer, try_ms);
	return 0;
}

/* Ask the next server, or give up. */
static void try_next(struct forwarder_query *query)
{
	uint64_t now_ns = clock_now_ns();

	while (now_ns < query->deadline_ns) {
		if (!choose_server(query)) {
			query->asked = 0; /* another round, of those that have not refused */
			bool has_one = choose_server(query);
			if (!has_one && query->is_tcp && !query->refusal) {
				/* nobody takes connections: some servers have UDP only */
				query->is_tcp = false;
				query->refused = 0;
				has_one = choose_server(query);
			}
			if (!has_one) {
				give_up(query, query->last_error);
				return;
			}
		}
		int result = ask_server(query, now_ns);
		if (result == 0)
			return;
		note_refusal(query, result);
	}
	give_up(query, -ETIMEDOUT);
}

/* From the loop, so that nobody is called back from forwarder_start. */
static void on_start(struct loop_task *task)
{
	try_next(container_of(task, struct forwarder_query, task));
}

int forwarder_start(struct forwarder *forwarder, struct forwarder_query *query,
	const uint8_t *message, size_t len, size_t question_end, bool is_tcp)
{
	if (forwarder->nservers == 0)
		return -ENOENT;
	if (forwarder->under_way >= FORWARDER_QUERIES_MAX || !budget_has_room(forwarder->budget, 1))
		return -EAGAIN;
	query->message = malloc(len);
	if (!query->message)
		return -ENOMEM;
	memcpy(query->message, message, len);
	memcpy(query->id, message, sizeof(query->id));
	query->len = len;
	query->question_end = question_end;
	query->is_tcp = query->wants_whole = is_tcp;
	query->asked = query->refused = 0;
	query->server = FORWARDER_SERVERS_MAX;
	query->last_error = -ETIMEDOUT;
	query->refusal = NULL;
	query->io = (struct loop_io){.fd = -1, .on_ready = on_readable};
	query->timer.on_expired = on_expired;
	query->task.on_run = on_start;
	query->ask.on_done = on_tcp_done;
	query->deadline_ns = clock_now_ns() + FORWARDER_DEADLINE_MS * NS_PER_MS;
	query->forwarder = forwarder;
	list_add_last(&forwarder->queries, &query->link);
	forwarder->under_way++;
	budget_take(forwarder->budget, 1);
	loop_task_add(forwarder->loop, &query->task);
	return 0;
}
