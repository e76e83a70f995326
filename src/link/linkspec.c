/* SPDX-License-Identifier: Apache-2.0 */
/* link/linkspec - read a LINK, the words that say how two ends of nswrap come together */
#include "link/linkspec.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/parse.h"

#define FD_MAX (1UL << 20)

static int read_command(const char *text, struct linkspec *out, struct err *err)
{
	g_autoptr(GError) error = NULL;

	if (g_shell_parse_argv(text, NULL, &out->argv, &error))
		return 0;
	if (g_error_matches(error, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING))
		return err_set(err, EINVAL, "exec: names no command: expected exec:COMMAND");
	return err_set(err, EINVAL, "exec:%s is no command line: expected pairs of quotes",
		PARSE_SHOWN(text));
}

static int read_path(const char *text, struct linkspec *out, struct err *err)
{
	size_t len = strlen(text);

	if (len == 0)
		return err_set(
			err, EINVAL, "%s names no socket: expected a path behind it", out->text);
	if (len > ADDR_PATH_MAX)
		return err_set(err, ENAMETOOLONG,
			"the path %s is too long for a socket: expected at most %zu bytes",
			PARSE_QUOTED(text), ADDR_PATH_MAX);
	out->addr.local.sun_family = AF_UNIX;
	memcpy(out->addr.local.sun_path, text, len + 1);
	return 0;
}

static int read_tcp(const char *text, struct linkspec *out, struct err *err)
{
	struct err why;

	if (listen_parse(text, 0, &out->at, &why) < 0)
		return err_set(err, EINVAL, "%s: %s", PARSE_SHOWN(out->text), why.text);
	if (out->at.port == 0)
		return err_set(err, EINVAL,
			"%s has no port: expected HOST:PORT behind tcp:", PARSE_SHOWN(out->text));
	if (!out->at.host[0])
		return err_set(err, EINVAL, "%s names no host: expected tcp:HOST:PORT",
			PARSE_SHOWN(out->text));
	return 0;
}

static int read_listen_tcp(const char *text, struct linkspec *out, struct err *err)
{
	struct err why;

	if (listen_parse_own(text, &out->addr, &why) < 0)
		return err_set(err, EINVAL, "%s: %s", PARSE_SHOWN(out->text), why.text);
	if (addr_port(&out->addr) == 0)
		return err_set(err, EINVAL,
			"%s: port 0 is none that others know: expected 1 to 65535",
			PARSE_SHOWN(out->text));
	return 0;
}

static int read_fds(const char *text, struct linkspec *out, struct err *err)
{
	unsigned long fds[2];
	char first[24];
	const char *comma = strchr(text, ',');
	size_t len = comma ? (size_t)(comma - text) : strlen(text);

	if (len < sizeof(first)) {
		memcpy(first, text, len);
		first[len] = '\0';
		if (parse_uint(first, FD_MAX, &fds[0]) == 0 &&
			parse_uint(comma ? comma + 1 : first, FD_MAX, &fds[1]) == 0) {
			out->fds[0] = (int)fds[0];
			out->fds[1] = (int)fds[1];
			return 0;
		}
	}
	return err_set(err, EINVAL,
		"fd:%s: expected fd:N, or fd:N,M, with the numbers of open descriptors",
		PARSE_SHOWN(text));
}

static int read_stdio(const char *text, struct linkspec *out, struct err *err)
{
	if (text[0])
		return err_set(
			err, EINVAL, "%s is no LINK: " LINKSPEC_EXPECTED, PARSE_QUOTED(out->text));
	out->fds[0] = STDIN_FILENO;
	out->fds[1] = STDOUT_FILENO;
	return 0;
}

static const struct form {
	const char *prefix;
	int (*read)(const char *text, struct linkspec *out, struct err *err);
} forms[] = {
	[LINKSPEC_EXEC] = {"exec:", read_command},
	[LINKSPEC_TCP] = {"tcp:", read_tcp},
	[LINKSPEC_UNIX] = {"unix:", read_path},
	[LINKSPEC_LISTEN_TCP] = {"listen-tcp:", read_listen_tcp},
	[LINKSPEC_LISTEN_UNIX] = {"listen-unix:", read_path},
	[LINKSPEC_FDS] = {"fd:", read_fds},
	[LINKSPEC_STDIO] = {"-", read_stdio},
};

int linkspec_parse(const char *text, struct linkspec *out, struct err *err)
{
	for (size_t kind = 0; kind < sizeof(forms) / sizeof(forms[0]); kind++) {
		size_t len = strlen(forms[kind].prefix);

		if (strncmp(text, forms[kind].prefix, len) != 0)
			continue;
		*out = (struct linkspec){.kind = (enum linkspec_kind)kind, .text = text};
		return forms[kind].read(text + len, out, err);
	}
	return err_set(err, EINVAL, "%s is no LINK: " LINKSPEC_EXPECTED, PARSE_QUOTED(text));
}

void linkspec_fini(struct linkspec *spec)
{
	g_strfreev(spec->argv);
	*spec = (struct linkspec){0};
}

bool linkspec_listens(const struct linkspec *spec)
{
	return spec->kind == LINKSPEC_LISTEN_TCP || spec->kind == LINKSPEC_LISTEN_UNIX;
}

bool linkspec_is_once(const struct linkspec *spec)
{
	return spec->kind == LINKSPEC_FDS || spec->kind == LINKSPEC_STDIO;
}

/* What the loop cannot wait for is no stream: files, directories, /dev/null. */
static bool can_be_waited_for(int fd)
{
	_cleanup_fd_ int epoll = epoll_create1(EPOLL_CLOEXEC);

	return epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){0}) == 0;
}

int linkspec_check_fds(const struct linkspec *spec, struct err *err)
{
	static const int wrong_way[] = {O_WRONLY, O_RDONLY};

	for (size_t i = 0; linkspec_is_once(spec) && i < 2; i++) {
		const int fd = spec->fds[i], mode = fcntl(fd, F_GETFL);

		if (!fd_is_open(fd))
			return err_set(
				err, EINVAL, "%s: descriptor %d is not open", spec->text, fd);
		if (!can_be_waited_for(fd))
			return err_set(err, EINVAL,
				"%s: descriptor %d is a file: expected a pipe or a socket",
				spec->text, fd);
		if ((mode & O_ACCMODE) == wrong_way[i])
			return err_set(err, EINVAL,
				"%s: descriptor %d cannot be %s: expected a socket, or fd:N,M with "
				"the end of a pipe that is read and one that is written",
				spec->text, fd, i == 0 ? "read" : "written");
	}
	return 0;
}

int linkspec_check_key(const struct linkspec *spec, bool has_key, struct err *err)
{
	bool is_open = (spec->kind == LINKSPEC_TCP && !listen_is_local(&spec->at)) ||
		       (spec->kind == LINKSPEC_LISTEN_TCP && !addr_is_loopback(&spec->addr));

	if (!is_open || has_key)
		return 0;
	return err_set(err, EINVAL,
		"%s is a link that others can reach: expected --key-file FILE with it, or a "
		"loopback address, unix:PATH or exec:ssh ...",
		PARSE_SHOWN(spec->text));
}
