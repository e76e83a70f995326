/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/vault - the process that has a plain host's ports as well, "nswrap: keeper" */
#include "mesh/agent/vault.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/identity.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/unixsock.h"

#define PAUSE_MS   20
#define PATIENCE_S 2 /* with an agent that does not read */

struct kept {
	struct vault_message is;
	int fd;
};

struct vault {
	int control, dir_fd, listen_fd, signal_fd; /* control -1: there is no agent */
	struct unixsock_id id;
	struct kept *list;
	size_t count, room;
	uint32_t stay_s;
	uint64_t end_ns; /* then */
};

/* --- what is kept ------------------------------------------------------------------------- */

static struct kept *find(struct vault *vault, const struct vault_message *is)
{
	for (size_t i = 0; i < vault->count; i++)
		if (vault->list[i].is.proto == is->proto &&
			addr_equal(&vault->list[i].is.addr, &is->addr))
			return &vault->list[i];
	return NULL;
}

static void drop(struct vault *vault, const struct vault_message *is)
{
	struct kept *kept = find(vault, is);

	if (!kept)
		return;
	fd_close(&kept->fd);
	*kept = vault->list[--vault->count];
}

/* Without memory it is not kept. */
static void keep(struct vault *vault, const struct vault_message *is, int fd)
{
	drop(vault, is);
	if (vault->count == vault->room) {
		size_t room = vault->room * 2 + 64;
		struct kept *list = reallocarray(vault->list, room, sizeof(*list));

		if (!list) {
			fd_close(&fd);
			return;
		}
		vault->list = list;
		vault->room = room;
	}
	vault->list[vault->count++] = (struct kept){*is, fd};
}

/* --- the agent ---------------------------------------------------------------------------- */

static void lose_agent(struct vault *vault)
{
	fd_close(&vault->control);
	vault->end_ns = clock_now_ns() + vault->stay_s * NS_PER_S;
}

__attribute__((noreturn)) static void end(struct vault *vault)
{
	unixsock_remove(vault->dir_fd, &vault->id);
	while (vault->count > 0) /* before the agent sees the end of its socket */
		fd_close(&vault->list[--vault->count].fd);
	_exit(0);
}

static void on_message(struct vault *vault)
{
	struct vault_message message;
	_cleanup_fd_ int fd = -1;

	int result = fd_recv_one(vault->control, &message, sizeof(message), &fd);

	/* it died with an answer of ours unread, which is told before what it said last */
	if (result == -ECONNRESET)
		return;
	if (result < 0)
		lose_agent(vault);
	else if (message.op == VAULT_KEEP && fd >= 0)
		keep(vault, &message, fd_take(&fd));
	else if (message.op == VAULT_STAY)
		vault->stay_s = message.seconds;
	else if (message.op == VAULT_LEAVE)
		end(vault);
	if (vault->control < 0 || message.op != VAULT_DROP)
		return;
	drop(vault, &message);
	if (fd_send_one(vault->control, &message, sizeof(message), -1) < 0)
		lose_agent(vault);
}

static void tell_all(struct vault *vault)
{
	struct vault_message last = {.op = VAULT_END};
	int result = 0;

	for (size_t i = 0; result == 0 && i < vault->count; i++)
		result = fd_send_one(vault->control, &vault->list[i].is, sizeof(vault->list[i].is),
			vault->list[i].fd);
	if (result == 0)
		result = fd_send_one(vault->control, &last, sizeof(last), -1);
	if (result < 0)
		lose_agent(vault);
}

static bool has_agent(const struct vault *vault)
{
	struct pollfd control = {.fd = vault->control};

	/* what it said last may still be there to be read */
	return vault->control >= 0 &&
	       (poll(&control, 1, 0) <= 0 || !(control.revents & (POLLHUP | POLLERR)));
}

static void on_client(struct vault *vault)
{
	_cleanup_fd_ int fd = accept4(vault->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct err err;

	if (fd < 0)
		clock_pause_ms(PAUSE_MS); /* for want of descriptors it can be read all the time */
	if (fd < 0 || has_agent(vault) || identity_check(fd, &err) < 0)
		return;
	while (vault->control >= 0) /* what the dead one said last */
		on_message(vault);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	vault->control = fd_take(&fd);
	tell_all(vault);
}

/* --- the process -------------------------------------------------------------------------- */

__attribute__((noreturn)) static void serve(struct vault *vault)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = vault->control, .events = POLLIN},
			{.fd = vault->listen_fd, .events = POLLIN},
			{.fd = vault->signal_fd, .events = POLLIN},
		};
		bool is_alone = vault->control < 0;
		uint64_t left_ms = clock_ms_until(vault->end_ns, clock_now_ns());

		if (is_alone && left_ms == 0)
			end(vault);
		if (poll(fds, 3, is_alone ? (int)left_ms : -1) < 0 && errno != EINTR)
			end(vault);
		if (fds[2].revents)
			end(vault);
		if (fds[0].revents)
			on_message(vault);
		if (fds[1].revents)
			on_client(vault);
	}
}

__attribute__((noreturn)) static void run(int control, int dir_fd, const char *name)
{
	struct vault vault = {.control = control, .dir_fd = dir_fd};
	const int keep_open[] = {control, dir_fd};
	sigset_t ending, all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "nswrap: keeper");
	setsid();
	job_leave_streams();
	dup2(STDOUT_FILENO, STDERR_FILENO); /* null by now */
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	if (rights_keep_fds(keep_open, 2) < 0)
		_exit(125);
	vault.signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);
	vault.listen_fd = unixsock_listen(dir_fd, name, SOCK_SEQPACKET, &vault.id);
	if (vault.signal_fd < 0 || vault.listen_fd < 0)
		_exit(125);
	if (rights_drop_all() < 0 || rights_hide() < 0)
		end(&vault);
	tell_all(&vault);
	serve(&vault);
}

pid_t vault_start(int control, int dir_fd, const char *name)
{
	pid_t pid = fork();

	if (pid == 0)
		run(control, dir_fd, name);
	return pid < 0 ? -errno : pid;
}
