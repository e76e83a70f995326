/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/defaults - options of run that need not be typed: from a file, and from NSWRAP_OPTIONS */
#include "cmd/defaults.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/habits.h"
#include "util/fd.h"
#include "util/option.h"
#include "util/parse.h"

#define VARIABLE   "NSWRAP_OPTIONS"
#define FILE_BYTES 65536
#define WORDS_MAX  4096

/* Add the options in @text, if there are any. 0, or -errno with @err. */
static int add(struct defaults *defaults, const char *name, const char *text, struct err *err)
{
	/* in front of the words stands what is argv[0] elsewhere */
	char *line = g_strconcat("nswrap ", text, NULL), **words = NULL;
	GError *error = NULL;
	int count = 0, result = 0;

	if (!g_shell_parse_argv(line, &count, &words, &error))
		result =
			err_set(err, EINVAL, "%s: %s: a quote is not closed, or nothing follows \\",
				name, PARSE_SHOWN(text));
	else if (count > WORDS_MAX)
		result = err_set(err, EINVAL, "%s: too many words", name);
	if (result == 0 && count > 1) {
		defaults->items =
			g_renew(struct defaults_source, defaults->items, defaults->count + 1);
		defaults->items[defaults->count++] = (struct defaults_source){
			g_strdup(name), g_strstrip(g_strdup(text)), g_steal_pointer(&words)};
	}
	g_strfreev(words);
	g_clear_error(&error);
	g_free(line);
	return result;
}

/* May what is in the open file be believed? */
static int check_file(int fd, const char *path, struct err *err)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return err_sys(err, errno, "%s: cannot look at it", path);
	if (!S_ISREG(info.st_mode))
		return err_set(err, EINVAL, "%s: expected a file", path);
	if (info.st_uid != geteuid() && info.st_uid != 0)
		return err_set(err, EPERM,
			"%s: it belongs to uid %u: expected it to be yours; --no-config passes over it",
			path, (unsigned)info.st_uid);
	if (info.st_mode & 022)
		return err_set(err, EPERM,
			"%s: others can write it: expected chmod go-w; --no-config passes over it",
			path);
	return 0;
}

/* The text of the file, or NULL: there is none, or with @err it cannot be read. */
static char *read_text(const char *path, struct err *err)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat info;
	char *text = NULL;
	size_t len = 0;
	const int code = errno;

	/* a link that leads nowhere was meant to be one */
	if (fd < 0 && (code == ENOENT || code == ENOTDIR) && lstat(path, &info) < 0)
		return NULL;
	if (fd < 0) {
		err_sys(err, code, "%s: cannot open it; --no-config passes over it", path);
		return NULL;
	}
	if (check_file(fd, path, err) < 0)
		return NULL;
	text = fd_read_text(fd, FILE_BYTES, &len);
	if (!text) {
		err_sys(err, errno, "%s: cannot read it", path);
		return NULL;
	}
	if (len < FILE_BYTES && strlen(text) == len)
		return text;
	err_set(err, EINVAL, "%s: expected a text of less than %d bytes", path, FILE_BYTES);
	free(text);
	return NULL;
}

static int read_lines(struct defaults *defaults, const char *path, char *text, struct err *err)
{
	char *rest = text, *line;
	int result = 0;

	for (unsigned number = 1; result == 0 && (line = strsep(&rest, "\n")); number++) {
		char *name = g_strdup_printf("%s:%u", path, number);

		line[strcspn(line, "\r")] = '\0';
		result = add(defaults, name, line, err);
		g_free(name);
	}
	return result;
}

/* As the XDG Base Directory Specification says: what is not absolute does not count. */
static char *file_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && config[0] == '/')
		return g_strconcat(config, "/nswrap/config", NULL);
	return home && home[0] == '/' ? g_strconcat(home, "/.config/nswrap/config", NULL) : NULL;
}

static int read_file(struct defaults *defaults, struct err *err)
{
	char *path = file_path(), *text;

	*err = (struct err){0};
	text = path ? read_text(path, err) : NULL;
	int result = text ? read_lines(defaults, path, text, err) : -err->code;
	g_free(text);
	g_free(path);
	return result;
}

int defaults_read(struct defaults *defaults, struct err *err)
{
	const char *variable = getenv(VARIABLE);
	struct defaults later = {0};
	int result = variable ? add(&later, VARIABLE, variable, err) : 0;

	if (result == 0 &&
		!(later.count &&
			g_strv_contains((const char *const *)later.items[0].words, "--no-config")))
		result = read_file(defaults, err);
	if (result == 0 && later.count > 0)
		result = add(defaults, VARIABLE, variable, err);
	defaults_free(&later);
	return result;
}

void defaults_free(struct defaults *defaults)
{
	for (size_t i = 0; i < defaults->count; i++) {
		g_free(defaults->items[i].name);
		g_free(defaults->items[i].text);
		g_strfreev(defaults->items[i].words);
	}
	g_free(defaults->items);
	*defaults = (struct defaults){0};
}

static int apply(const struct defaults_source *source, struct run_options *options, struct err *err)
{
	bool is_file = strcmp(source->name, VARIABLE) != 0;
	int count = (int)g_strv_length(source->words);
	struct err reason;

	options->from = source->name;
	options->no_config = false;
	int next = option_parse_with(
		run_options_table, habits_run, count, source->words, options, &reason);
	if (next == -ECANCELED)
		return err_set(err, EINVAL, "%s: --help is for the command line", source->name);
	if (next < 0)
		return err_set(err, EINVAL, "%s: %s", source->name, reason.text);
	if (next < count)
		return err_set(err, EINVAL, "%s: %s: expected options as on the command line alone",
			source->name, PARSE_QUOTED(source->words[next]));
	if (options->shell_command)
		return err_set(err, EINVAL, "%s: -c is for the command line", source->name);
	if (options->no_config && is_file)
		return err_set(err, EINVAL, "%s: --no-config is for the command line and " VARIABLE,
			source->name);
	return 0;
}

int defaults_apply(const struct defaults *defaults, struct run_options *options, struct err *err)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < defaults->count; i++)
		result = apply(&defaults->items[i], options, err);
	options->from = NULL;
	if (result == 0)
		result = run_options_pair(options, err);
	options->ndefault_rules = options->nrules;
	return result;
}
