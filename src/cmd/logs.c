/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/logs - print what a sandbox in the background said */
#include "cmd/logs.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/habits.h"
#include "cmd/output.h"
#include "control/control.h"
#include "sandbox/logfile.h"
#include "util/fd.h"
#include "util/parse.h"

#define CHUNK_BYTES 65536
#define LOOK_MS     100
#define SHOWN_NAMES 5
#define NAMES_BYTES 256
#define END_MS      1000 /* the last line comes when all else has gone */

struct logs_request {
	bool follows, has_lines;
	unsigned long lines;
};

#define AT(field) offsetof(struct logs_request, field)

static int set_lines(void *target, const char *value, struct err *err)
{
	struct logs_request *request = target;

	request->has_lines = true;
	return parse_uint(value, INT_MAX, &request->lines) == 0
		       ? 0
		       : err_set(err, EINVAL, "%s: expected how many lines from the end",
				 PARSE_QUOTED(value));
}

static const struct option_def options[] = {
	{'f', "follow", NULL, "go on until the sandbox ends", option_set_true, AT(follows)},
	{'n', "lines", "N", "only the last N lines of what is there", set_lines, 0},
	{.name = NULL},
};

/* --- where ---------------------------------------------------------------------------------- */

/* The path of the log of one that runs: 1, 0 if none of that name does, or -errno with @err. */
static int ask_running(const char *name, char *path, struct err *err)
{
	_cleanup_fd_ int sock = cmd_connect(REGISTRY_SANDBOX, name, err);
	json_t *status;

	if (sock < 0)
		return sock == -ENOENT ? 0 : sock;
	int result = control_call(
		sock, "sandbox", json_pack("{s:s}", "op", "status"), &status, NULL, err);
	if (result < 0)
		return result == -EPIPE ? 0 : result;
	const char *log = output_member(status, "log", NULL);
	result = snprintf(path, PATH_MAX, "%s", log ? log : "") < PATH_MAX ? 1 : -ENAMETOOLONG;
	json_decref(status);
	return log ? result
		   : err_set(err, ENOENT,
			     "\"%s\" has no log: it was started without -d, or its log could not be "
			     "made",
			     name);
}

/* "there are logs of a and b", of those that ended too; @place may have none. */
static void describe_logs(const char *place, char *out, size_t cap_bytes)
{
	GDir *dir = g_dir_open(place, 0, NULL);
	const char *name;
	size_t used = 0, count = 0;

	snprintf(out, cap_bytes, "there is none");
	while (dir && (name = g_dir_read_name(dir)) && count <= SHOWN_NAMES && used < cap_bytes) {
		if (name[0] == '.')
			continue;
		if (count++ == SHOWN_NAMES)
			used += (size_t)snprintf(out + used, cap_bytes - used, " and more");
		else
			used += (size_t)snprintf(out + used, cap_bytes - used, "%s%s",
				used == 0 ? "there are logs of " : ", ", PARSE_SHOWN(name));
	}
	if (dir)
		g_dir_close(dir);
}

/* The directory of the log; *@runs: there is more to come. Returns a descriptor or -errno. */
static int find(const char *name, bool *runs, struct err *err)
{
	char path[PATH_MAX], place[PATH_MAX], logs[NAMES_BYTES];
	int result = ask_running(name, path, err);

	*runs = result > 0;
	if (result == 0 && (result = logfile_place(place, err)) == 0 &&
		snprintf(path, sizeof(path), "%s/%s/log", place, name) >= PATH_MAX)
		result = err_set(err, ENAMETOOLONG, "the path of the log is too long");
	if (result < 0)
		return result;
	*strrchr(path, '/') = '\0';
	int dir_fd = logfile_open(path);
	if (dir_fd == -ENOENT) {
		if (*runs)
			snprintf(logs, sizeof(logs), "it was removed");
		else
			describe_logs(place, logs, sizeof(logs));
		return err_set(err, ENOENT,
			"there is no log of \"%s\": expected the name of a sandbox that was "
			"started with -d (%s; looked in %s)",
			name, logs, path);
	}
	return dir_fd < 0 ? err_sys(err, -dir_fd, "cannot read the log in %s", path) : dir_fd;
}

/* --- printing ------------------------------------------------------------------------------- */

static int append(GString *text, int fd)
{
	char data[CHUNK_BYTES];
	ssize_t got;

	while (fd >= 0 && (got = read(fd, data, sizeof(data))) != 0) {
		if (got < 0)
			return -errno;
		g_string_append_len(text, data, got);
	}
	return 0;
}

/* Where the last @lines of @text begin. */
static size_t tail_of(const GString *text, unsigned long lines)
{
	size_t at = text->len;

	if (lines == 0)
		return at;
	if (at > 0 && text->str[at - 1] == '\n')
		at--;
	for (; at > 0; at--)
		if (text->str[at - 1] == '\n' && --lines == 0)
			break;
	return at;
}

/* What @text has goes to stdout, and it is empty then. */
static int put(GString *text, size_t from, struct err *err)
{
	int result = fd_write_all(STDOUT_FILENO, text->str + from, text->len - from);

	g_string_truncate(text, 0);
	return result < 0 ? err_sys(err, -result, "cannot write to stdout") : 0;
}

static int follow(int dir_fd, int *fd, GString *text, struct err *err)
{
	bool is_over = false;

	while (!is_over) {
		/* looked at before reading: nothing comes behind it */
		is_over = logfile_is_over(dir_fd, 0);
		do {
			logfile_rewind(*fd);
			int result = append(text, *fd);
			if (result < 0)
				return err_sys(err, -result, "cannot read the log");
			if (put(text, 0, err) < 0)
				return -err->code;
		} while (logfile_turn(dir_fd, fd));
		if (!is_over)
			poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

static int print(int dir_fd, bool runs, const struct logs_request *request, struct err *err)
{
	_cleanup_fd_ int old = -1, now = -1;

	if (!runs)
		logfile_is_over(dir_fd, END_MS);
	int result = logfile_open_both(dir_fd, &old, &now);
	GString *text = g_string_new("");
	if (result == 0)
		result = append(text, old);
	if (result == 0)
		result = append(text, now);
	if (result == -EINVAL)
		result = err_set(err, EINVAL, "cannot read the log: it is no regular file");
	else if (result < 0)
		result = err_sys(err, -result, "cannot read the log");
	else
		result = put(text, request->has_lines ? tail_of(text, request->lines) : 0, err);
	if (result == 0 && request->follows)
		result = follow(dir_fd, &now, text, err);
	g_string_free(text, TRUE);
	return result;
}

static int run(const struct cmd_call *call)
{
	struct logs_request request = {0};
	struct err err = {0};
	char *name;
	bool runs;
	int count = cmd_operands(options, habits_logs, call, &request, &name, 1, &err);

	if (count == 0)
		count = err_set(&err, EINVAL,
			"a SANDBOX is missing: expected nswrap logs SANDBOX, one that was started "
			"with -d");
	if (count < 0 || registry_check_name(REGISTRY_SANDBOX, name, &err) < 0)
		return cmd_usage_error(&err);
	_cleanup_fd_ int dir_fd = find(name, &runs, &err);
	return dir_fd < 0 || print(dir_fd, runs, &request, &err) < 0 ? cmd_failed(&err) : 0;
}

const struct subcommand logs_subcommand = {
	.name = "logs",
	.synopsis = "logs SANDBOX [-f] [-n LINES]",
	.summary = "print what a sandbox in the background (-d) said",
	.options = options,
	.run = run,
};
