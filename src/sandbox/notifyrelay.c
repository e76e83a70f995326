/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/notifyrelay - what COMMAND tells the service manager, and what is told of it */
#include "sandbox/notifyrelay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/job.h"
#include "proc/rights.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define FILE_NAME      "notify"
#define MESSAGES_ROUND 16
#define LAST_MS        3000
#define OWN_LAST_MS    1000

/* Until something waits for room. */
static void listen_again(struct notifyrelay *relay)
{
	if (relay->io.on_ready && relay->len == 0 && !relay->own.owes)
		loop_io_add(relay->loop, &relay->io, EPOLLIN);
}

/* --- the courier ---------------------------------------------------------------------------- */

/* Tells what it is handed, in its own name, until there is nobody any more who hands it anything.
 */
__attribute__((noreturn)) static void courier_main(const char *address, int channel, pid_t parent)
{
	char text[SDNOTIFY_MAX];
	ssize_t got;

	prctl(PR_SET_NAME, "nswrap: notify");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(125);
	setsid(); /* signals to the job are not for us */
	job_leave_streams();
	_cleanup_fd_ int manager = sdnotify_open(address);
	const int keep[] = {channel, manager};
	if (manager < 0 || fd_set_nonblock(manager, 0) < 0 || fd_set_nonblock(channel, 0) < 0 ||
		rights_drop_all() < 0 || rights_hide() < 0 || rights_keep_fds(keep, 2) < 0)
		_exit(125);
	/* a change of credentials has cleared it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	do {
		int fd;

		got = fd_recv(channel, text, sizeof(text), &fd, 1, NULL);
		if (got > 0)
			fd_send(manager, text, (size_t)got, &fd, fd >= 0 ? 1 : 0);
		fd_discard(&fd);
	} while (got > 0);
	_exit(0);
}

static int start_courier(struct notifyrelay *relay)
{
	pid_t self = getpid();
	int ends[2];
	struct err err;

	if (fd_pair(ends, SOCK_NONBLOCK, &err) < 0)
		return -err.code;
	pid_t pid = fork();
	if (pid == 0)
		courier_main(relay->address, ends[1], self);
	int result = pid < 0 ? -errno : 0;
	fd_close(&ends[1]);
	if (result < 0) {
		fd_close(&ends[0]);
		return result;
	}
	relay->courier = pid;
	relay->courier_fd = ends[0];
	return 0;
}

void notifyrelay_on_death(struct notifyrelay *relay)
{
	bool has_waited = relay->courier_fd >= 0 && relay->room_io.fd == relay->courier_fd;

	relay->courier = 0;
	fd_close(&relay->courier_fd);
	if (!has_waited)
		return;
	/* what it had no room for is lost with it */
	loop_io_del(relay->loop, &relay->room_io);
	relay->room_io.fd = -1;
	fd_discard(&relay->fd);
	relay->len = 0;
	listen_again(relay);
}

/* --- telling on ----------------------------------------------------------------------------- */

/* Where the message at hand goes, opened if it is not; or -errno. */
static int choose_way(struct notifyrelay *relay)
{
	if (relay->is_commands && relay->manager < 0) {
		relay->manager = sdnotify_open(relay->address);
		if (relay->manager < 0)
			return relay->manager;
	}
	if (!relay->is_commands && relay->courier_fd < 0) {
		int result = start_courier(relay);
		if (result < 0)
			return result;
	}
	return relay->is_commands ? relay->manager : relay->courier_fd;
}

/* Returns -EAGAIN if the message waits for room now, else it is gone. */
static int deliver(struct notifyrelay *relay)
{
	ssize_t result = -ENOTCONN;

	/* the manager may have made its socket anew */
	for (int tries = 0; tries < 2 && result < 0 && result != -EAGAIN; tries++) {
		int way = choose_way(relay);

		result = way < 0 ? way
				 : fd_send(way, relay->text, relay->len, &relay->fd,
					   relay->fd >= 0 ? 1 : 0);
		if (result < 0 && result != -EAGAIN && relay->is_commands)
			fd_close(&relay->manager);
	}
	if (result == -EAGAIN)
		return -EAGAIN;
	if (result < 0)
		log_info("cannot tell the service manager: %s", strerror((int)-result));
	fd_discard(&relay->fd);
	relay->len = 0;
	return 0;
}

static void complain(struct notifyrelay *relay, unsigned what)
{
	unsigned news = what & ~relay->complained;

	relay->complained |= what;
	if (news & SDNOTIFY_FDS)
		log_warning("COMMAND asks the service manager to keep descriptors (FDSTORE=1): "
			    "refused, they are of a network that ends with the sandbox");
	if (news & SDNOTIFY_MAINPID)
		log_info("COMMAND names a main process (MAINPID=): it stays nswrap, which ends "
			 "with COMMAND");
}

/* Read one message of somebody inside. Returns false if there is none. */
static bool read_message(struct notifyrelay *relay)
{
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	pid_t sender = 0;
	unsigned cut;
	ssize_t got = fd_recv_told(
		relay->io.fd, relay->text, sizeof(relay->text), fds, FD_PASS_MAX, &nfds, &sender);

	if (got == -EMSGSIZE) {
		log_info("a message for the service manager was too long");
		return true;
	}
	if (got < 0)
		return false;
	relay->len = sdnotify_cut(relay->text, (size_t)got, &cut);
	complain(relay, cut);
	if (nfds == 1 && sdnotify_is_barrier(relay->text, relay->len))
		relay->fd = fd_take(&fds[0]);
	for (size_t i = 0; i < nfds; i++)
		fd_discard(&fds[i]);
	relay->is_commands = sender == relay->command;
	return true;
}

static void wait_for_room(struct notifyrelay *relay)
{
	loop_io_del(relay->loop, &relay->io);
	relay->room_io.fd = relay->is_commands ? relay->manager : relay->courier_fd;
	loop_io_add(relay->loop, &relay->room_io, EPOLLOUT);
}

/* Nothing waits: as many as one round has time for. */
static void relay_some(struct notifyrelay *relay)
{
	for (int i = 0; i < MESSAGES_ROUND && read_message(relay); i++)
		if (relay->len > 0 && deliver(relay) == -EAGAIN) {
			wait_for_room(relay);
			return;
		}
}

static void on_message(struct loop_io *io, uint32_t events)
{
	(void)events;
	relay_some(container_of(io, struct notifyrelay, io));
}

static void on_room(struct loop_io *io, uint32_t events)
{
	struct notifyrelay *relay = container_of(io, struct notifyrelay, room_io);

	(void)events;
	loop_io_del(relay->loop, io);
	io->fd = -1;
	if (relay->len > 0 && deliver(relay) == -EAGAIN)
		wait_for_room(relay);
	else
		listen_again(relay);
}

/* --- start and end -------------------------------------------------------------------------- */

static void on_own_told(struct sdnotify *own)
{
	listen_again(container_of(own, struct notifyrelay, own));
}

void notifyrelay_begin(struct notifyrelay *relay, const struct places *hidden)
{
	relay->path[0] = '\0';
	if (!relay->address)
		return;
	relay->manager = sdnotify_open(relay->address);
	if (relay->manager < 0) {
		log_warning("NOTIFY_SOCKET=%s: no service manager can be told there: %s",
			relay->address, strerror(-relay->manager));
		relay->address = NULL;
		return;
	}
	relay->own = (struct sdnotify){
		.loop = relay->loop, .address = relay->address, .on_told = on_own_told};
	for (size_t i = 0; relay->hears_command && i < hidden->total; i++) {
		const char *dir = hidden->items[i].path;
		int len = snprintf(relay->path, sizeof(relay->path), "%s/" FILE_NAME, dir);

		if (len < (int)sizeof(relay->path) && access(dir, F_OK) == 0)
			return;
		relay->path[0] = '\0';
	}
}

int notifyrelay_bind(const char *path, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int on = 1;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, errno, "cannot make %s in the sandbox", path);
	return fd_take(&fd);
}

void notifyrelay_hear(struct notifyrelay *relay, int fd, pid_t command)
{
	if (fd < 0)
		return;
	relay->command = command;
	relay->room_io.on_ready = on_room;
	relay->io = (struct loop_io){fd, on_message};
	int result = relay->own.owes ? 0 : loop_io_add(relay->loop, &relay->io, EPOLLIN);
	if (result < 0)
		log_warning(
			"COMMAND cannot be heard by the service manager: %s", strerror(-result));
}

static void tell(struct notifyrelay *relay, enum sdnotify_kind kind, const char *text)
{
	int result = sdnotify_tell(&relay->own, kind, text);

	if (result < 0)
		log_warning("cannot notify the service manager at %s: %s", relay->address,
			strerror(-result));
	/* who floods the manager by us would have all the room that it makes */
	if (relay->own.owes)
		loop_io_del(relay->loop, &relay->io);
}

void notifyrelay_tell_ready(struct notifyrelay *relay)
{
	tell(relay, SDNOTIFY_READY, "READY=1");
}

void notifyrelay_tell_end(struct notifyrelay *relay)
{
	if (!relay->has_told_end)
		tell(relay, SDNOTIFY_STOPPING, "STOPPING=1");
	relay->has_told_end = true;
}

/* The rest, which is read for at most LAST_MS. */
static void tell_last(struct notifyrelay *relay)
{
	const uint64_t end_ns = clock_now_ns() + LAST_MS * NS_PER_MS;

	do {
		while (relay->len > 0 && deliver(relay) == -EAGAIN && clock_now_ns() < end_ns) {
			struct pollfd way = {
				relay->is_commands ? relay->manager : relay->courier_fd, POLLOUT,
				0};

			poll(&way, 1, LAST_MS / 10);
		}
	} while (relay->len == 0 && clock_now_ns() < end_ns && read_message(relay));
}

/* It ends when it has told all that it was handed. */
static void end_courier(struct notifyrelay *relay)
{
	struct clock_wait wait = clock_wait_start(LAST_MS);

	fd_close(&relay->courier_fd);
	while (relay->courier > 0 && waitpid(relay->courier, NULL, WNOHANG) == 0 &&
		clock_wait_go_on(&wait))
		;
	relay->courier = 0;
}

void notifyrelay_end(struct notifyrelay *relay)
{
	sdnotify_end(&relay->own, OWN_LAST_MS);
	if (relay->io.on_ready) {
		tell_last(relay);
		loop_io_del(relay->loop, &relay->io);
		loop_io_del(relay->loop, &relay->room_io);
	}
	end_courier(relay);
	fd_discard(&relay->fd);
	fd_close(&relay->manager);
}
