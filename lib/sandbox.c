/* SPDX-License-Identifier: Apache-2.0 */
/* lib/sandbox - a sandbox of the caller's, known by what nswrap says of it on --info-fd */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "helper.h"

#define LINE_MAX_BYTES 65536

struct forward {
	char protocol[4];
	int guest_port, host_port; /* host_port 0: a unix socket */
};

struct nswrap_sandbox {
	struct nsw_helper helper;
	int info_fd;  /* nonblocking; -1: at its end */
	int alive_fd; /* closed with us, whatever ends us: then the sandbox ends */
	char *line;   /* what came of one that is not whole */
	size_t len;
	char name[256];
	pid_t pid;
	struct forward *forwards;
	size_t nforwards;
	bool is_started, is_ready, has_ended;
	int status;
};

/* --- events ------------------------------------------------------------------------------- */

static void add_forward(struct nswrap_sandbox *sandbox, const json_t *event)
{
	const char *protocol = json_string_value(json_object_get(event, "proto"));
	struct forward *more =
		reallocarray(sandbox->forwards, sandbox->nforwards + 1, sizeof(*sandbox->forwards));

	if (!more || !protocol)
		return;
	sandbox->forwards = more;
	struct forward *forward = &more[sandbox->nforwards++];
	*forward = (struct forward){
		.guest_port = (int)json_integer_value(json_object_get(event, "guest_port")),
		.host_port = (int)json_integer_value(json_object_get(event, "host_port"))};
	strncpy(forward->protocol, protocol, sizeof(forward->protocol) - 1);
}

static void take_event(struct nswrap_sandbox *sandbox, const char *line, size_t len)
{
	json_t *event = json_loadb(line, len, 0, NULL);
	const char *what = json_string_value(json_object_get(event, "event"));
	const char *name = json_string_value(json_object_get(event, "name"));

	if (what && strcmp(what, "forward") == 0) {
		add_forward(sandbox, event);
	} else if (what && strcmp(what, "started") == 0) {
		if (name)
			strncpy(sandbox->name, name, sizeof(sandbox->name) - 1);
		sandbox->pid = (pid_t)json_integer_value(json_object_get(event, "pid"));
		sandbox->is_started = true;
		sandbox->is_ready = sandbox->is_ready || sandbox->nforwards == 0;
	} else if (what && strcmp(what, "guest-listening") == 0) {
		sandbox->is_ready = true;
	} else if (what && strcmp(what, "exited") == 0) {
		sandbox->has_ended = true;
		sandbox->status = (int)json_integer_value(json_object_get(event, "status"));
	}
	json_decref(event);
}

static void take_lines(struct nswrap_sandbox *sandbox)
{
	char *end;

	while ((end = memchr(sandbox->line, '\n', sandbox->len))) {
		take_event(sandbox, sandbox->line, (size_t)(end - sandbox->line));
		size_t used = (size_t)(end - sandbox->line) + 1;
		memmove(sandbox->line, end + 1, sandbox->len -= used);
	}
	if (sandbox->len == LINE_MAX_BYTES)
		sandbox->len = 0; /* no event of ours */
}

/* Read events until *@done. Returns 0, -ETIMEDOUT, -EPIPE at their end, or -errno. */
static int read_until(struct nswrap_sandbox *sandbox, const bool *done, int timeout_ms)
{
	int64_t deadline = nsw_deadline(timeout_ms);

	while (!*done) {
		struct pollfd fds[] = {
			{sandbox->info_fd, POLLIN, 0}, {sandbox->helper.pidfd, POLLIN, 0}};
		if (sandbox->info_fd < 0)
			return -EPIPE;
		int ready = poll(fds, 2, nsw_left_ms(deadline));
		if (ready == 0)
			return -ETIMEDOUT;
		ssize_t got = ready < 0 ? -1
					: read(sandbox->info_fd, sandbox->line + sandbox->len,
						  LINE_MAX_BYTES - sandbox->len);
		/* who was forked meanwhile may have the other end, too */
		if (got < 0 && errno == EAGAIN && fds[1].revents)
			got = 0;
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (got == 0) {
			close(sandbox->info_fd);
			sandbox->info_fd = -1;
		} else if (got > 0) {
			sandbox->len += (size_t)got;
			take_lines(sandbox);
		}
	}
	return 0;
}

/* --- start -------------------------------------------------------------------------------- */

/* The library has its own use for these, or could not end what they start. */
static const char *const refused[] = {
	"-d", "--detach", "--info-fd", "--ready-fd", "--alive-fd", "--log-fd", "--"};

static int check(const char *const *options, const char *const *command, const int *stdio,
	struct nswrap_error *error)
{
	if (!command || !command[0] || !*command[0])
		return nsw_fault(error, EINVAL, "a command is missing");
	for (; options && *options; options++)
		for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
			size_t len = strcspn(*options, "=");
			if (strlen(refused[i]) == len && memcmp(*options, refused[i], len) == 0)
				return nsw_fault(error, EINVAL,
					"%s is not for sandboxes of the library", refused[i]);
		}
	for (int i = 0; stdio && i < 3; i++)
		if (stdio[i] < -1 || (stdio[i] >= 0 && fcntl(stdio[i], F_GETFD) < 0))
			return nsw_fault(error, EBADF, "descriptor %d is not open", stdio[i]);
	return 0;
}

static size_t count_of(const char *const *words)
{
	size_t count = 0;

	while (words && words[count])
		count++;
	return count;
}

/* nswrap run --info-fd 3 --log-fd 4 --alive-fd 5 OPTIONS -- COMMAND; NULL: no memory. */
static const char **make_argv(const char *const *options, const char *const *command)
{
	static const char *const ours[] = {
		"run", "--no-config", "-q", "--info-fd", "3", "--log-fd", "4", "--alive-fd", "5"};
	const size_t nours = sizeof(ours) / sizeof(ours[0]);
	size_t noptions = count_of(options), ncommand = count_of(command);
	const char **argv = calloc(nours + noptions + ncommand + 2, sizeof(*argv));

	if (!argv)
		return NULL;
	memcpy(argv, ours, sizeof(ours));
	if (noptions > 0)
		memcpy(argv + nours, options, noptions * sizeof(*argv));
	argv[nours + noptions] = "--";
	memcpy(argv + nours + noptions + 1, command, ncommand * sizeof(*argv));
	return argv;
}

static int start(struct nswrap_sandbox *sandbox, const char *const *argv, const int *stdio,
	struct nswrap_error *error)
{
	int info[2], alive[2];

	if (pipe2(info, O_CLOEXEC) < 0)
		return nsw_fault_sys(error, errno, "cannot make a pipe");
	fcntl(info[0], F_SETFL, O_NONBLOCK);
	sandbox->info_fd = info[0];
	if (pipe2(alive, O_CLOEXEC) < 0) {
		int result = nsw_fault_sys(error, errno, "cannot make a pipe");
		close(info[1]);
		return result;
	}
	sandbox->alive_fd = alive[1];
	const struct nsw_start how = {.argv = argv,
		.fds = {stdio ? stdio[0] : -1, stdio ? stdio[1] : -1, stdio ? stdio[2] : -1,
			info[1], -1, alive[0]},
		.nfds = 6,
		.words_at = 4};
	int result = nsw_helper_start(&sandbox->helper, &how, error);
	close(info[1]);
	close(alive[0]);
	return result;
}

struct nswrap_sandbox *nswrap_sandbox_start(const char *const *options, const char *const *command,
	const int *stdio, int timeout_ms, struct nswrap_error *error)
{
	nsw_fault_none(error);
	if (check(options, command, stdio, error) < 0)
		return NULL;
	struct nswrap_sandbox *sandbox = calloc(1, sizeof(*sandbox));
	const char **argv = make_argv(options, command);
	int result = -ENOMEM;

	if (sandbox) {
		sandbox->helper = (struct nsw_helper){.pidfd = -1, .words_fd = -1};
		sandbox->info_fd = sandbox->alive_fd = -1;
		sandbox->line = malloc(LINE_MAX_BYTES);
	}
	if (!sandbox || !argv || !sandbox->line)
		nsw_fault_sys(error, ENOMEM, "cannot start a sandbox");
	else
		result = start(sandbox, argv, stdio, error);
	free(argv);
	if (result == 0) {
		result = read_until(sandbox, &sandbox->is_started, timeout_ms);
		if (result == -ETIMEDOUT)
			nsw_fault(error, ETIMEDOUT, "the sandbox has not started in time");
		else if (result < 0)
			nsw_helper_fault(&sandbox->helper, ECHILD,
				"nswrap has ended before the sandbox was there", error);
	}
	if (result == 0)
		return sandbox;
	nswrap_sandbox_stop(sandbox, 5000);
	return NULL;
}

/* --- while it runs ------------------------------------------------------------------------ */

const char *nswrap_sandbox_name(const struct nswrap_sandbox *sandbox)
{
	return sandbox ? sandbox->name : "";
}

pid_t nswrap_sandbox_pid(const struct nswrap_sandbox *sandbox)
{
	return sandbox ? sandbox->pid : -1;
}

int nswrap_sandbox_port(const struct nswrap_sandbox *sandbox, const char *protocol, int guest_port)
{
	for (size_t i = 0; sandbox && protocol && i < sandbox->nforwards; i++) {
		const struct forward *forward = &sandbox->forwards[i];
		if (forward->guest_port == guest_port && forward->host_port > 0 &&
			strcmp(forward->protocol, protocol) == 0)
			return forward->host_port;
	}
	return -ENOENT;
}

int nswrap_sandbox_ready(struct nswrap_sandbox *sandbox, int timeout_ms, struct nswrap_error *error)
{
	nsw_fault_none(error);
	if (!sandbox)
		return nsw_fault(error, EINVAL, "no sandbox");
	int result = read_until(sandbox, &sandbox->is_ready, timeout_ms);
	if (result == -ETIMEDOUT)
		return nsw_fault(error, ETIMEDOUT, "no forwarded port listens in time");
	return result < 0 ? nsw_helper_fault(&sandbox->helper, EPIPE,
				    "the sandbox has ended before a forwarded port listened", error)
			  : 0;
}

int nswrap_sandbox_wait(
	struct nswrap_sandbox *sandbox, int timeout_ms, int *status, struct nswrap_error *error)
{
	nsw_fault_none(error);
	if (!sandbox)
		return nsw_fault(error, EINVAL, "no sandbox");
	int result = read_until(sandbox, &sandbox->has_ended, timeout_ms);
	if (result == -ETIMEDOUT)
		return nsw_fault(error, ETIMEDOUT, "the sandbox has not ended in time");
	if (result < 0)
		return nsw_helper_fault(
			&sandbox->helper, ECHILD, "nswrap was ended, nobody knows how", error);
	if (status)
		*status = sandbox->status;
	return 0;
}

int nswrap_sandbox_signal(struct nswrap_sandbox *sandbox, int number)
{
	return sandbox ? nsw_helper_signal(&sandbox->helper, number) : -EINVAL;
}

void nswrap_sandbox_stop(struct nswrap_sandbox *sandbox, int timeout_ms)
{
	if (!sandbox)
		return;
	nsw_helper_stop(&sandbox->helper, SIGTERM, timeout_ms);
	if (sandbox->info_fd >= 0)
		close(sandbox->info_fd);
	if (sandbox->alive_fd >= 0)
		close(sandbox->alive_fd);
	free(sandbox->line);
	free(sandbox->forwards);
	free(sandbox);
}
