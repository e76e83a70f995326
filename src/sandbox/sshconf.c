/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/sshconf - the files of root's that ssh(1) would refuse to include inside */
#include "sandbox/sshconf.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/log.h"

#define KEYWORD   "include"
#define DEPTH_MAX 16 /* of ssh, readconf.c */

/* What is being read: @dir is where relative names are looked up. */
struct reader {
	struct sshconf *conf;
	uid_t owner;
	const char *dir;
	unsigned depth;
};

static void read_pattern(const struct reader *reader, const char *pattern);

char **sshconf_include(char *line)
{
	char **words = NULL;

	line += strspn(line, " \t");
	if (strncasecmp(line, KEYWORD, strlen(KEYWORD)) != 0)
		return NULL;
	char *rest = line + strlen(KEYWORD);
	if (strspn(rest, " \t=\"") == 0)
		return NULL;
	rest += strspn(rest, " \t");
	if (*rest == '=')
		rest++;
	rest[strcspn(rest, "\r\n")] = '\0';
	return g_shell_parse_argv(rest, NULL, &words, NULL) ? words : NULL;
}

static void read_lines(const struct reader *reader, const char *text)
{
	char **lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		char **patterns = sshconf_include(*line);

		for (char **pattern = patterns; pattern && *pattern; pattern++)
			read_pattern(reader, *pattern);
		g_strfreev(patterns);
	}
	g_strfreev(lines);
}

static bool was_read(const struct sshconf *conf, const struct stat *st)
{
	for (size_t i = 0; i < conf->count; i++)
		if (conf->files[i].device == st->st_dev && conf->files[i].inode == st->st_ino)
			return true;
	return false;
}

/* The text, NUL-terminated, for free(); NULL if it cannot be had. */
static char *read_text(int fd, size_t *len)
{
	char *text = fd_read_text(fd, SSHCONF_BYTES_MAX + 1, len);

	if (!text || *len <= SSHCONF_BYTES_MAX)
		return text;
	free(text);
	return NULL;
}

/* Takes @text over. */
static void keep(const struct reader *reader, const struct stat *st, const char *path, char *text,
	size_t len)
{
	struct sshconf *conf = reader->conf;
	struct sshconf_file *file = &conf->files[conf->count++];

	*file = (struct sshconf_file){.device = st->st_dev, .inode = st->st_ino};
	if (st->st_uid == reader->owner && conf->copied_bytes + len <= SSHCONF_BYTES_MAX)
		file->path = strdup(path);
	if (!file->path) {
		free(text);
		return;
	}
	file->text = text;
	file->len = len;
	file->mode = (st->st_mode & 0777) | S_IRUSR;
	conf->copied_bytes += len;
}

static void read_file(const struct reader *reader, const char *path)
{
	struct reader below = *reader;
	struct stat st;
	size_t len;

	/* a FIFO must not hold us up */
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || was_read(reader->conf, &st))
		return;
	char *text = reader->conf->count < SSHCONF_FILES_MAX ? read_text(fd, &len) : NULL;
	if (!text) {
		log_info("%s is not looked at for ssh", path);
		return;
	}
	char *copy = strdup(text); /* the other one is kept, or gone */
	keep(reader, &st, path, text, len);
	below.depth++;
	if (copy && below.depth <= DEPTH_MAX)
		read_lines(&below, copy);
	free(copy);
}

static void read_pattern(const struct reader *reader, const char *pattern)
{
	glob_t found = {0};
	char *full = pattern[0] == '/' || pattern[0] == '~'
			     ? strdup(pattern)
			     : g_strdup_printf("%s/%s", reader->dir, pattern);

	if (full && glob(full, GLOB_TILDE, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			read_file(reader, found.gl_pathv[i]);
	globfree(&found);
	free(full);
}

void sshconf_read(const struct sshconf_roots *roots, struct sshconf *out)
{
	struct reader system = {out, roots->owner, roots->system_dir, 0};
	struct reader user = {out, roots->owner, roots->user_dir, 0};

	out->count = 0;
	out->copied_bytes = 0;
	read_pattern(&user, "config");
	read_pattern(&system, "ssh_config");
}

void sshconf_free(struct sshconf *conf)
{
	for (size_t i = 0; i < conf->count; i++) {
		free(conf->files[i].path);
		free(conf->files[i].text);
	}
	conf->count = 0;
}
