/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/estate - what an agent has bound outlives it, for the next one */
#include "mesh/agent/estate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "control/identity.h"
#include "mesh/agent/vault.h"
#include "proc/tree.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/unixsock.h"

#define ANSWER_MS  5000 /* it does nothing that takes long, on a host that is overloaded */
#define AGAIN_MS   200
#define TAKEN_MS   500 /* it has an agent, which should be about to end */
#define NO_LUCK_MS 30000
#define SETTLE_MS  5000

struct estate_found {
	enum proto proto;
	struct addr addr;
	int fd;
};

static bool is_there(const struct estate *estate)
{
	return estate->io.fd >= 0;
}

/* --- its end ------------------------------------------------------------------------------ */

static void forget_found(struct estate *estate)
{
	for (size_t i = 0; i < estate->nfound; i++)
		fd_close(&estate->found[i].fd);
	free(estate->found);
	estate->found = NULL;
	estate->nfound = 0;
}

static void hang_up(struct estate *estate)
{
	loop_timer_cancel(estate->loop, &estate->retry);
	loop_timer_cancel(estate->loop, &estate->settle);
	forget_found(estate);
	if (is_there(estate))
		loop_io_del(estate->loop, &estate->io);
	fd_close(&estate->io.fd);
}

/* It does not do what it is there for, or has ended: there will be another one. */
static void lose(struct estate *estate, unsigned retry_ms)
{
	struct err err;

	if (estate->pid > 0) {
		tree_kill_child(estate->pid, ANSWER_MS);
	} else if (is_there(estate) && identity_kill(estate->io.fd, ANSWER_MS, &err) < 0) {
		log_debug("keeper: %s", err.text);
	}
	estate->pid = 0;
	hang_up(estate);
	loop_timer_set(estate->loop, &estate->retry, retry_ms);
}

static void on_hung_up(struct loop_io *io, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR))
		lose(container_of(io, struct estate, io), AGAIN_MS);
}

/* --- its beginning ------------------------------------------------------------------------ */

/* Returns 0, or -errno: it has no more room, or ends. */
static int note_found(struct estate *estate, const struct vault_message *message, int fd)
{
	struct estate_found *found =
		reallocarray(estate->found, estate->nfound + 1, sizeof(*found));

	if (!found) {
		fd_close(&fd);
		return -ENOMEM;
	}
	estate->found = found;
	found[estate->nfound++] =
		(struct estate_found){(enum proto)message->proto, message->addr, fd};
	return 0;
}

/* Learn what is kept. Returns 0 or -errno: @sock is closed. */
static int meet(struct estate *estate, int sock)
{
	const struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
	struct vault_message message = {0};
	int fd, result;

	estate->io = (struct loop_io){sock, on_hung_up};
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	result = fd_set_nonblock(sock, 0);
	while (result == 0 && message.op != VAULT_END) {
		result = fd_recv_one(sock, &message, sizeof(message), &fd);
		if (result == 0 && fd >= 0)
			result = note_found(estate, &message, fd);
	}
	if (result == 0)
		result = loop_io_add(estate->loop, &estate->io, 0); /* EPOLLHUP comes unasked */
	if (result == 0)
		return 0;
	forget_found(estate);
	fd_close(&estate->io.fd);
	return result;
}

/* The one of the last agent. Returns 0 or -errno: -EBUSY: it has an agent, or there is none. */
static int find(struct estate *estate)
{
	_cleanup_fd_ int sock = unixsock_connect(estate->dir_fd, estate->name, SOCK_SEQPACKET);
	struct err err;

	if (sock < 0)
		return sock;
	int result = identity_check(sock, &err);
	if (result < 0)
		return result;
	_cleanup_fd_ int spare = fcntl(sock, F_DUPFD_CLOEXEC, 3);
	result = meet(estate, fd_take(&sock));
	if (result == -EPIPE || result == -ECONNRESET)
		return -EBUSY;
	/* it hangs, or is of another version */
	if (result < 0 && identity_kill(spare, ANSWER_MS, &err) < 0)
		log_debug("keeper: %s", err.text);
	return result;
}

static int start(struct estate *estate)
{
	int ends[2];
	struct err err;

	if (fd_pair(ends, 0, &err) < 0)
		return -err.code;
	estate->pid = vault_start(ends[1], estate->dir_fd, estate->name);
	fd_close(&ends[1]);
	if (estate->pid > 0)
		return meet(estate, ends[0]);
	int result = estate->pid;
	estate->pid = 0;
	fd_close(&ends[0]);
	return result;
}

static int tell(struct estate *estate, const struct vault_message *message, int fd)
{
	int result = fd_send_one(estate->io.fd, message, sizeof(*message), fd);

	if (result < 0)
		lose(estate, AGAIN_MS);
	return result;
}

/* @result: of having found or started one. Returns it, or what came of telling it. */
static int settle_in(struct estate *estate, int result)
{
	const struct vault_message stay = {.op = VAULT_STAY, .seconds = estate->stay_s};

	if (result == 0)
		return tell(estate, &stay, -1);
	log_info("what is listened at is not kept for the next agent: %s", strerror(-result));
	lose(estate, NO_LUCK_MS);
	return result;
}

/* What is not ours yet is asked for until it is: no other one can keep the same. */
static bool is_taken(struct estate *estate, int found)
{
	if (found == -EBUSY)
		loop_timer_set(estate->loop, &estate->retry, TAKEN_MS);
	return found == -EBUSY;
}

static void try_it(struct estate *estate)
{
	int result = find(estate);

	if (is_taken(estate, result))
		return;
	if (settle_in(estate, result < 0 ? start(estate) : result) == 0)
		estate->tell_all(estate->owner);
}

static void on_settle_time(struct loop_timer *timer)
{
	estate_settle(container_of(timer, struct estate, settle));
}

static void on_retry(struct loop_timer *timer)
{
	struct estate *estate = container_of(timer, struct estate, retry);

	try_it(estate);
	estate_settle(estate);
}

void estate_begin(struct estate *estate, int dir_fd, const char *identity, uint16_t stay_s)
{
	char name[sizeof(estate->name)];

	snprintf(name, sizeof(name), "keeper-%s", identity ? identity : "");
	if (!identity || dir_fd < 0 || stay_s != estate->stay_s || strcmp(name, estate->name) != 0)
		estate_end(estate);
	if (!identity || dir_fd < 0 || stay_s == 0 || estate->stay_s > 0)
		return;
	estate->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	estate->stay_s = stay_s;
	estate->retry.on_expired = on_retry;
	estate->settle.on_expired = on_settle_time;
	memcpy(estate->name, name, sizeof(name));
	/* if there is none, one is started when there is something for it */
	int result = find(estate);
	if (!is_taken(estate, result) && (result < 0 || settle_in(estate, 0) == 0))
		estate->tell_all(estate->owner);
}

/* --- what is kept ------------------------------------------------------------------------- */

int estate_take(struct estate *estate, enum proto proto, const struct addr *addr)
{
	for (size_t i = 0; i < estate->nfound; i++) {
		struct estate_found *found = &estate->found[i];

		if (found->proto != proto || !addr_equal(&found->addr, addr))
			continue;
		int fd = found->fd;
		*found = estate->found[--estate->nfound];
		return fd;
	}
	return -1;
}

void estate_settle_later(struct estate *estate)
{
	if (estate->nfound > 0)
		loop_timer_set(estate->loop, &estate->settle, SETTLE_MS);
}

void estate_settle(struct estate *estate)
{
	while (estate->nfound > 0) {
		struct estate_found last = estate->found[--estate->nfound];

		fd_close(&last.fd);
		estate_remove(estate, last.proto, &last.addr);
	}
	forget_found(estate);
}

void estate_add(struct estate *estate, enum proto proto, const struct addr *addr, int fd)
{
	const struct vault_message keep = {.op = VAULT_KEEP, .proto = proto, .addr = *addr};

	if (estate->stay_s > 0 && !is_there(estate) && !loop_timer_is_armed(&estate->retry))
		settle_in(estate, start(estate)); /* it is the first one */
	if (is_there(estate))
		tell(estate, &keep, fd);
}

void estate_remove(struct estate *estate, enum proto proto, const struct addr *addr)
{
	struct vault_message message = {.op = VAULT_DROP, .proto = proto, .addr = *addr};

	if (is_there(estate) && tell(estate, &message, -1) == 0 &&
		fd_recv_one(estate->io.fd, &message, sizeof(message), NULL) < 0)
		lose(estate, AGAIN_MS);
}

/* --- the agent's end ---------------------------------------------------------------------- */

void estate_let_go(struct estate *estate)
{
	if (estate->stay_s == 0)
		return;
	hang_up(estate);
	fd_close(&estate->dir_fd);
	estate->stay_s = 0;
}

void estate_end(struct estate *estate)
{
	const struct vault_message leave = {.op = VAULT_LEAVE};

	if (is_there(estate) && tell(estate, &leave, -1) == 0) {
		struct pollfd end = {.fd = estate->io.fd};

		if (poll(&end, 1, ANSWER_MS) <= 0 || estate->pid > 0)
			lose(estate, 0);
	}
	if (estate->stay_s > 0)
		estate_let_go(estate);
}
