/* SPDX-License-Identifier: Apache-2.0 */
/* nswrap.h - sandboxes of nswrap, and another machine's network, for programs: libnswrap(3) */
#ifndef NSWRAP_NSWRAP_H
#define NSWRAP_NSWRAP_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * The library starts the program nswrap and talks to it over sockets; it has no state besides the
 * objects below, and handles no signal and prints nothing. The program is $NSWRAP, or nswrap of
 * $PATH. Its processes are no children of the caller's: no SIGCHLD comes, and no wait of the
 * caller's is disturbed; but for a caller that is process 1 or a subreaper, whose they are then:
 * SIGCHLD comes, and the functions that stop something reap its process, or the caller may.
 * Descriptors that are returned are close-on-exec, and the caller's.
 *
 * Functions that can fail return NULL, or a negative errno value, and fill @error, which may be
 * NULL. Times are in milliseconds, -1: for ever.
 *
 * Threads: different objects can be used at once. Of one object, nswrap_dial and nswrap_listen can
 * be called by several threads at once; nothing else, and nothing while it is stopped.
 */
struct nswrap_error {
	int code; /* an errno value: ECHILD: the helper failed, see text; EPIPE: it, or the link,
		     has ended; ETIMEDOUT, ECONNREFUSED, ...; 0: none */
	char text[508]; /* one line */
};

/* Of the library, such as "0.4.0". */
const char *nswrap_version(void);

/* --- a sandbox: what `nswrap run` does ---------------------------------------------------- */

struct nswrap_sandbox;

/*
 * Start @command (which ends with NULL) in its own network. @options: words of nswrap(1) in front
 * of it, such as {"-p", "0:80", NULL}, or NULL; not --detach, --info-fd, --ready-fd, --alive-fd and
 * --log-fd. @stdio: descriptors for the command's stdin, stdout and stderr, which stay the
 * caller's; one that is -1, and NULL for all three, is /dev/null. Returns when the command runs and
 * the ports of the forwards are known, or NULL. It ends when this process has ended, however that
 * came, and all that it has forked.
 */
struct nswrap_sandbox *nswrap_sandbox_start(const char *const *options, const char *const *command,
	const int *stdio, int timeout_ms, struct nswrap_error *error);

/* Its name, for nswrap ps, exec and so on; and the pid of its first process. */
const char *nswrap_sandbox_name(const struct nswrap_sandbox *sandbox);
pid_t nswrap_sandbox_pid(const struct nswrap_sandbox *sandbox);

/*
 * The port of the host that leads to @guest_port; @protocol: "tcp" or "udp". Returns it, or
 * -ENOENT: there is no such forward.
 */
int nswrap_sandbox_port(const struct nswrap_sandbox *sandbox, const char *protocol, int guest_port);

/* Wait until a guest port of a forward listens, or at once if there is none. Returns 0 or -errno.
 */
int nswrap_sandbox_ready(
	struct nswrap_sandbox *sandbox, int timeout_ms, struct nswrap_error *error);

/* Wait for the end. Returns 0 with *@status as a shell has it: 128+n for signal n; or -errno. */
int nswrap_sandbox_wait(
	struct nswrap_sandbox *sandbox, int timeout_ms, int *status, struct nswrap_error *error);

/* SIGTERM and others are passed on to the command, as nswrap(1) has it. Returns 0 or -errno. */
int nswrap_sandbox_signal(struct nswrap_sandbox *sandbox, int signal);

/* End it, by force if it takes more than @timeout_ms, and free it. NULL is allowed. */
void nswrap_sandbox_stop(struct nswrap_sandbox *sandbox, int timeout_ms);

/* --- another machine's network ------------------------------------------------------------ */

/*
 * A link joins an entrance and an exit: a stream in both directions, or a socket that keeps
 * messages apart. It is two descriptors, or the same number twice, which belong to the library from
 * then on, also when it fails. An end may as well be `nswrap exit` or `nswrap --via`
 * (nswrap-exit(1)).
 */
struct nswrap_exit;
struct nswrap_entrance;

/*
 * Lend this machine's network, as nswrap exit does. @expose: what may be reached, as --expose has
 * it, ends with NULL; NULL: its default. Returns when it serves.
 */
struct nswrap_exit *nswrap_exit_start(
	int in_fd, int out_fd, const char *const *expose, struct nswrap_error *error);

/* Wait for its end. Returns 0, -ETIMEDOUT, or -EPIPE: the link broke, or could not be used. */
int nswrap_exit_wait(struct nswrap_exit *exit, int timeout_ms, struct nswrap_error *error);
void nswrap_exit_stop(struct nswrap_exit *exit); /* NULL is allowed */

/* The other end. Returns at once when it can be used; the exit may come later. */
struct nswrap_entrance *nswrap_entrance_start(int in_fd, int out_fd, struct nswrap_error *error);
void nswrap_entrance_stop(struct nswrap_entrance *entrance); /* NULL is allowed */

#define NSWRAP_NONBLOCK 1 /* a flag: the descriptor is nonblocking */

/*
 * Connect to @host, an address or a name that the exit's resolver knows, through the entrance.
 * @protocol: "tcp" or "udp". Returns a connected socket, an ordinary one, or -errno: -ECONNREFUSED
 * as the exit met it, -ETIMEDOUT, -EPIPE. It is of no more use when the entrance is stopped.
 */
int nswrap_dial(struct nswrap_entrance *entrance, const char *protocol, const char *host, int port,
	int timeout_ms, int flags, struct nswrap_error *error);

/*
 * A socket of the entrance's own network that is bound to @host (NULL: any) and @port (0: one that
 * is free), and listens (TCP). Who dials through the same entrance reaches it; nobody from the exit
 * does. One of UDP may send to everybody beyond the exit. Returns it or -errno.
 */
int nswrap_listen(struct nswrap_entrance *entrance, const char *protocol, const char *host,
	int port, int flags, struct nswrap_error *error);

/* --- links that are no descriptors -------------------------------------------------------- */

struct nswrap_pump;

/*
 * Called by two threads of the library's, which take no signals. @read and @write return what they
 * have moved, which may be less than @len, 0 at the end, -1 when it broke; they may wait. @close is
 * called once, by who stops the pump, and must make both return; it may be NULL if they never wait.
 */
struct nswrap_pump_ops {
	ssize_t (*read)(void *context, void *bytes, size_t len);
	ssize_t (*write)(void *context, const void *bytes, size_t len);
	void (*close)(void *context);
};

/* Returns a pump, and in *@fd a descriptor that is a link, or NULL. */
struct nswrap_pump *nswrap_pump_start(
	const struct nswrap_pump_ops *ops, void *context, int *fd, struct nswrap_error *error);
/* Stop what uses its link first. NULL is allowed. */
void nswrap_pump_stop(struct nswrap_pump *pump);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
