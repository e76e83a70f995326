/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/systemd - what a service manager that started nswrap has left it: variables and descriptors
 */
#include "cmd/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/log.h"
#include "util/parse.h"

#define PREFIX     "fd:"
#define FIRST_FD   3
#define FDS_MAX    4096
#define FORM       "fd:NAME or fd:NAME:GUEST"
#define NAME_BYTES 256       /* of FileDescriptorName=, with a NUL */
#define NO_NAME    "unknown" /* sd_listen_fds_with_names(3) */

/* Is what comes with the variable @name, a pid, meant for us? */
static bool is_ours(const char *name)
{
	const char *text = getenv(name);
	unsigned long pid;

	return text && parse_uint(text, INT32_MAX, &pid) == 0 && (pid_t)pid == getpid();
}

/* --- LISTEN_FDS ----------------------------------------------------------------------------- */

/* How many there are for us; 0 with @err saying why not. */
static size_t count_given(struct err *err)
{
	const char *text = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	unsigned long count;

	if (!text || !pid)
		err_set(err, EINVAL, "no service manager has handed sockets over (LISTEN_FDS)");
	else if (!is_ours("LISTEN_PID"))
		err_set(err, EINVAL,
			"the sockets of LISTEN_FDS are for process %s (LISTEN_PID), and this is %d",
			PARSE_SHOWN(pid), getpid());
	else if (parse_uint(text, FDS_MAX, &count) < 0 || count == 0)
		err_set(err, EINVAL, "LISTEN_FDS=%s: expected a number from 1 to %d",
			PARSE_SHOWN(text), FDS_MAX);
	else
		return count;
	return 0;
}

/* The name of number @index; not NUL-terminated. */
static const char *given_name(size_t index, int *len)
{
	const char *at = getenv("LISTEN_FDNAMES");

	for (; at && index > 0; index--) {
		at = strchr(at, ':');
		at = at ? at + 1 : NULL;
	}
	if (!at) {
		*len = (int)strlen(NO_NAME);
		return NO_NAME;
	}
	*len = (int)strcspn(at, ":");
	return at;
}

static bool is_named(const struct sandbox_given *given, const char *name)
{
	return strlen(name) == (size_t)given->name_len &&
	       memcmp(given->name, name, (size_t)given->name_len) == 0;
}

static struct sandbox_given make_given(int fd)
{
	struct err none;
	struct sandbox_given given = {.fd = fd};
	size_t count = count_given(&none);

	given.name =
		given_name((size_t)(fd - FIRST_FD) < count ? (size_t)(fd - FIRST_FD) : SIZE_MAX,
			&given.name_len);
	return given;
}

/* Those that @name means, at most @max. Returns how many, or -EINVAL with @err filled. */
static int find_given(const char *name, struct sandbox_given *out, size_t max, struct err *err)
{
	unsigned long number;
	size_t found = 0;

	if (parse_uint(name, INT_MAX, &number) == 0) {
		if (number < FIRST_FD || fcntl((int)number, F_GETFD) < 0)
			return err_set(err, EINVAL, "descriptor %lu is %s", number,
				number < FIRST_FD ? "COMMAND's: expected one from 3 on"
						  : "not open");
		out[0] = make_given((int)number);
		return 1;
	}
	size_t count = count_given(err);
	for (size_t i = 0; i < count && found < max; i++) {
		out[found] = make_given((int)(FIRST_FD + i));
		found += is_named(&out[found], name);
	}
	if (count > 0 && found == 0) {
		const char *names = getenv("LISTEN_FDNAMES");

		return err_set(err, EINVAL, "there is no socket of that name in LISTEN_FDNAMES=%s",
			PARSE_SHOWN(names ? names : ""));
	}
	return found > 0 ? (int)found : -EINVAL;
}

/* --- rules ---------------------------------------------------------------------------------- */

bool systemd_is_given(const char *rule)
{
	return strncmp(rule, PREFIX, strlen(PREFIX)) == 0;
}

static int get_option(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -errno : value;
}

/* A name without a file is shown as in unix(7)'s tools. */
static void show_abstract(struct addr *addr)
{
	if (addr->family == AF_UNIX && addr->local.sun_path[0] == '\0')
		addr->local.sun_path[0] = '@';
}

/* Is it one that clients come to, and where? */
static int read_socket(int fd, struct forward_spec *out, struct err *err)
{
	int type = get_option(fd, SO_TYPE), domain = get_option(fd, SO_DOMAIN);
	bool is_stream = type == SOCK_STREAM;

	if (type < 0)
		return err_set(err, EINVAL, "descriptor %d is no socket", fd);
	if (domain != AF_INET && domain != AF_INET6 && !(domain == AF_UNIX && is_stream))
		return err_set(err, EINVAL,
			"descriptor %d is a socket of another kind: expected TCP, UDP, or a unix "
			"stream socket",
			fd);
	if (!is_stream && type != SOCK_DGRAM)
		return err_set(err, EINVAL, "descriptor %d is neither TCP nor UDP", fd);
	if (is_stream && get_option(fd, SO_ACCEPTCONN) != 1)
		return err_set(err, EINVAL,
			"descriptor %d does not listen: expected a socket of Accept=no", fd);
	out->proto = is_stream ? PROTO_TCP : PROTO_UDP;
	out->given_fd = fd;
	int result = addr_get_own(fd, &out->host);
	if (result < 0)
		return err_sys(err, -result, "descriptor %d has no address", fd);
	show_abstract(&out->host);
	if (domain != AF_UNIX && addr_port(&out->host) == 0)
		return err_set(err, EINVAL, "descriptor %d is bound to no port", fd);
	return 0;
}

/* Without a port for the guest it is that of the socket. */
static int set_guest(struct forward_spec *spec, const char *guest, struct err *err)
{
	if (guest)
		return parse_port(guest, false, &spec->guest_port, err);
	spec->guest_port = addr_port(&spec->host);
	return spec->guest_port != 0
		       ? 0
		       : err_set(err, EINVAL,
				 "a unix socket has no port: expected fd:NAME:GUEST, or a -P");
}

int systemd_add_rules(
	struct forward_list *list, const char *rule, const char *guest, struct err *err)
{
	struct sandbox_given found[SANDBOX_KEEP_FDS_MAX];
	char name[NAME_BYTES];
	const char *at = rule + strlen(PREFIX), *colon = strchr(at, ':');
	size_t len = colon ? (size_t)(colon - at) : strlen(at);

	if (len == 0 || len >= sizeof(name))
		return err_set(err, EINVAL, "no name of a socket: expected " FORM);
	snprintf(name, sizeof(name), "%.*s", (int)len, at);
	int count = find_given(name, found, SANDBOX_KEEP_FDS_MAX, err);
	for (int i = 0; i < count; i++) {
		struct forward_spec spec = {.given_fd = 0};

		if (read_socket(found[i].fd, &spec, err) < 0 ||
			set_guest(&spec, colon ? colon + 1 : guest, err) < 0 ||
			spec_list_add(list, &spec, err) < 0)
			return -EINVAL;
	}
	return count < 0 ? count : 0;
}

/* --- COMMAND's ------------------------------------------------------------------------------ */

int systemd_set_listen_fd(void *target, const char *name, struct err *err)
{
	struct sandbox_service *service = &((struct run_options *)target)->config.service;
	struct sandbox_given found[SANDBOX_KEEP_FDS_MAX];
	int count = find_given(name, found, SANDBOX_KEEP_FDS_MAX, err);

	if (count < 0)
		return count;
	if (service->ngiven + (size_t)count > SANDBOX_KEEP_FDS_MAX)
		return err_set(
			err, EINVAL, "too many sockets: expected at most %d", SANDBOX_KEEP_FDS_MAX);
	memcpy(service->given + service->ngiven, found, (size_t)count * sizeof(*found));
	service->ngiven += (size_t)count;
	return 0;
}

static bool is_led_in(const struct sandbox_config *config, int fd)
{
	for (size_t i = 0; i < config->forwards.count; i++)
		if (config->forwards.items[i].given_fd == fd)
			return true;
	return false;
}

int systemd_check(const struct sandbox_config *config, struct err *err)
{
	const struct sandbox_service *service = &config->service;
	const int end = FIRST_FD + (int)service->ngiven;

	for (size_t i = 0; i < service->ngiven; i++) {
		if (is_led_in(config, service->given[i].fd))
			return err_set(err, EINVAL,
				"--listen-fd: descriptor %d leads in by -p: expected one of both",
				service->given[i].fd);
		for (size_t j = 0; j < i; j++)
			if (service->given[j].fd == service->given[i].fd)
				return err_set(err, EINVAL,
					"--listen-fd: descriptor %d was named before",
					service->given[i].fd);
	}
	for (size_t i = 0; i < config->nkeep_fds; i++)
		if (config->keep_fds[i] >= FIRST_FD && config->keep_fds[i] < end)
			return err_set(err, EINVAL,
				"--keep-fd %d: COMMAND has a socket of --listen-fd there: expected "
				"one from %d on",
				config->keep_fds[i], end);
	return 0;
}

/* --- the start ------------------------------------------------------------------------------ */

/* Their clients would wait for ever. */
static void tell_unused(const struct sandbox_config *config)
{
	struct err none;
	size_t count = count_given(&none);

	for (size_t i = 0; i < count; i++) {
		const struct sandbox_given given = make_given((int)(FIRST_FD + i));
		bool is_used = is_led_in(config, given.fd);

		for (size_t j = 0; j < config->service.ngiven; j++)
			is_used = is_used || config->service.given[j].fd == given.fd;
		if (!is_used && fcntl(given.fd, F_GETFD) >= 0)
			log_warning("nobody takes the socket %.*s of LISTEN_FDS: -p fd:NAME leads "
				    "it in, --listen-fd NAME gives it to COMMAND",
				given.name_len, given.name);
	}
}

void systemd_read(struct run_options *options)
{
	struct sandbox_service *service = &options->config.service;
	unsigned long usec;

	tell_unused(&options->config);
	if (options->tells_nobody)
		return;
	service->notify_socket = getenv("NOTIFY_SOCKET");
	if (service->notify_socket && service->notify_socket[0] == '\0')
		service->notify_socket = NULL;
	service->watchdog_usec = getenv("WATCHDOG_USEC");
	service->is_watchdog_named = is_ours("WATCHDOG_PID");
	/* somebody else's, or none that could be kept to */
	if (service->watchdog_usec &&
		((getenv("WATCHDOG_PID") && !service->is_watchdog_named) ||
			parse_uint(service->watchdog_usec, ULONG_MAX, &usec) < 0 || usec == 0))
		service->watchdog_usec = NULL;
}
