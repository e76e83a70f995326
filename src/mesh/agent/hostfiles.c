/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/hostfiles - the names of a mesh in the files of a plain host */
#include "mesh/agent/hostfiles.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mesh/agent/author.h"
#include "mesh/agent/inplace.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define ETC_HOSTS STATEDIR_HOSTS
#define BACKUP    ETC_HOSTS ".nswrap-backup"
#define TEMPLATE  ETC_HOSTS ".nswrap-XXXXXX"
#define END_MS    5000     /* a file system may not answer for ever */
#define BACKEND   "nip.io" /* answers NAME.A.B.C.D.nip.io with A.B.C.D */

/* --- lines -------------------------------------------------------------------------------- */

/* A name that is one word of a hosts file. */
static bool is_word(const char *name)
{
	return name[0] && !strpbrk(name, " \t#");
}

/* All of the mesh for a hosts file; for free(3), or NULL. */
static char *hosts_lines(const struct mesh_config *config)
{
	char *lines = NULL, ip[INET_ADDRSTRLEN];
	size_t len;
	FILE *out = open_memstream(&lines, &len);

	for (size_t i = 0; out && i < config->nnames; i++)
		if (is_word(config->names[i].name))
			fprintf(out, "%s %s\n",
				inet_ntop(AF_INET, &config->names[i].ip, ip, sizeof(ip)),
				config->names[i].name);
	if (out && fclose(out) == 0)
		return lines;
	free(lines);
	return NULL;
}

/* Those of @text that glibc can read: it ends at a line without a blank. */
static void keep_aliases(FILE *out, char *text)
{
	char *rest = NULL, *fields = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *name = strtok_r(line, " \t\r", &fields);
		const char *alias = name ? strtok_r(NULL, " \t\r", &fields) : NULL;

		if (alias && name[0] != '#' && !strtok_r(NULL, " \t\r", &fields))
			fprintf(out, "%s %s\n", name, alias);
	}
}

/* What the user had in $HOSTALIASES. */
static void add_users_aliases(FILE *out)
{
	const char *path = getenv("HOSTALIASES");
	struct marked_text text = {NULL, 0}, rest = {NULL, 0};

	if (!path || !path[0])
		return;
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	int result = fd < 0 ? -errno : inplace_read(fd, &text);
	/* it may be ours: what other agents have there is theirs */
	if (result == 0)
		result = marked_cut(&text, MARKED_REST, NULL, NULL, &rest);
	if (result == 0) {
		rest.bytes[rest.len] = '\0'; /* there is room: marked_cut makes one more */
		keep_aliases(out, rest.bytes);
	} else if (result != -ENOENT) {
		log_info("cannot read $HOSTALIASES, %s: %s", path, strerror(-result));
	}
	free(rest.bytes);
	free(text.bytes);
}

/* For a file that $HOSTALIASES names, hostname(7): the names without dots; or NULL. */
static char *alias_lines(const struct mesh_config *config)
{
	char *lines = NULL, ip[INET_ADDRSTRLEN];
	size_t len;
	FILE *out = open_memstream(&lines, &len);

	for (size_t i = 0; out && i < config->nnames; i++)
		if (is_word(config->names[i].name) && !strchr(config->names[i].name, '.'))
			fprintf(out, "%s %s." BACKEND "\n", config->names[i].name,
				inet_ntop(AF_INET, &config->names[i].ip, ip, sizeof(ip)));
	if (out)
		add_users_aliases(out); /* behind ours: the first one counts */
	if (out && fclose(out) == 0)
		return lines;
	free(lines);
	return NULL;
}

/* --- /etc/hosts --------------------------------------------------------------------------- */

/* As it is before there is a block in it, with its mode and owner. */
static int back_up(const struct marked_text *text)
{
	char made[] = TEMPLATE;
	struct stat info;
	_cleanup_fd_ int fd = mkostemp(made, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int result = fd_write_all(fd, text->bytes, text->len);
	if (result == 0 && stat(ETC_HOSTS, &info) == 0 &&
		(fchown(fd, info.st_uid, info.st_gid) < 0 || fchmod(fd, info.st_mode & 0777) < 0))
		result = -errno;
	if (result == 0 && rename(made, BACKUP) < 0)
		result = -errno;
	if (result < 0)
		unlink(made);
	return result;
}

static bool is_others(void *owner, const struct marked_author *author)
{
	const struct hostfiles *files = owner;

	return !marked_is_same(author, &files->self) && !author_is_over(author, &files->self);
}

static int change_hosts(void *owner, const struct marked_text *old, struct marked_text *new)
{
	struct hostfiles *files = owner;
	int result = marked_cut(old, MARKED_ALL, is_others, files, new);

	if (result < 0 || !files->lines)
		return result;
	if (marked_count(old) == 0 && (result = back_up(old)) < 0)
		log_info("no backup of %s: %s", ETC_HOSTS, strerror(-result));
	return marked_add(new, &files->self, files->lines);
}

/* Once for the same trouble. */
static void tell(struct err *told, const struct err *err, const char *what)
{
	if (strcmp(told->text, err->text) != 0)
		log_warning("%s; %s", err->text, what);
	*told = *err;
}

static void edit_hosts(struct hostfiles *files)
{
	struct err err = {0};
	int result = inplace_edit(ETC_HOSTS, change_hosts, files, &err);

	if (result < 0)
		tell(&files->etc_told, &err, "the names of the mesh are not in it");
	else
		files->etc_told.text[0] = '\0';
	files->is_in_etc = result >= 0 ? files->lines != NULL : files->is_in_etc;
	if (result > 0)
		log_info("wrote to %s", ETC_HOSTS);
	if (stat(ETC_HOSTS, &files->seen) < 0)
		files->seen = (struct stat){.st_ino = 0};
}

static void look(struct hostfiles *files)
{
	struct stat now = {.st_ino = 0};

	if (stat(ETC_HOSTS, &now) == 0 &&
		(now.st_ino != files->seen.st_ino || now.st_dev != files->seen.st_dev ||
			now.st_size != files->seen.st_size ||
			now.st_mtim.tv_sec != files->seen.st_mtim.tv_sec ||
			now.st_mtim.tv_nsec != files->seen.st_mtim.tv_nsec))
		edit_hosts(files);
}

/* One that an agent has left which was killed: whether we may write it or not. */
static void sweep_hosts(struct hostfiles *files)
{
	_cleanup_fd_ int fd = open(ETC_HOSTS, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct marked_text text = {NULL, 0};
	struct err err;

	if (fd >= 0 && inplace_read(fd, &text) == 0 && marked_count(&text) > 0)
		inplace_edit(ETC_HOSTS, change_hosts, files, &err);
	free(text.bytes);
}

static void configure_hosts(struct hostfiles *files, char *lines)
{
	free(files->lines);
	files->lines = lines;
	if (lines || files->is_in_etc)
		edit_hosts(files);
	else if (!files->has_begun)
		sweep_hosts(files);
}

/* --- all of it ---------------------------------------------------------------------------- */

static void configure_dir(struct hostfiles *files, const struct mesh_config *config)
{
	char *hosts, *aliases, *path;
	struct err err = {0};

	if (config->state_dir_disable) {
		statedir_remove(&files->dir, &files->self);
		return;
	}
	path = statedir_expand(config->state_dir_path, &err);
	hosts = hosts_lines(config);
	aliases = alias_lines(config);
	if (path && (!hosts || !aliases))
		err_sys(&err, ENOMEM, "cannot write %s", path);
	else if (path)
		statedir_write(&files->dir, path, &files->self, hosts, aliases, &err);
	if (err.code != 0)
		tell(&files->dir_told, &err, "the names of the mesh are not all in files");
	else
		files->dir_told.text[0] = '\0';
	free(path);
	free(hosts);
	free(aliases);
}

static void leave(struct hostfiles *files)
{
	statedir_remove(&files->dir, &files->self);
	configure_hosts(files, NULL);
	files->has_begun = false;
}

static void become(struct hostfiles *files, const struct mesh_config *config)
{
	struct marked_author self = author_self(config->me);

	/* at another address the lines of the former one are nobody's */
	if (files->has_begun && !marked_is_same(&self, &files->self))
		leave(files);
	files->self = self;
	configure_dir(files, config);
	configure_hosts(files, config->write_etc_hosts ? hosts_lines(config) : NULL);
	files->has_begun = true;
}

/* --- the thread --------------------------------------------------------------------------- */

static void *work(void *owner)
{
	struct hostfiles *files = owner;

	if (files->is_end)
		leave(files);
	else if (files->is_look)
		look(files);
	else
		become(files, &files->job);
	return NULL;
}

static void on_look(struct loop_timer *timer);

/* The thread is done, or there was none. */
static void finish(struct hostfiles *files)
{
	files->is_working = false;
	config_free(&files->job);
	files->job = (struct mesh_config){.names = NULL};
	files->timer.on_expired = on_look;
	if (files->is_in_etc)
		loop_timer_set(files->loop, &files->timer, HOSTFILES_LOOK_MS);
	else
		loop_timer_cancel(files->loop, &files->timer);
}

static void on_join(struct loop_timer *timer)
{
	struct hostfiles *files = container_of(timer, struct hostfiles, join);

	if (pthread_tryjoin_np(files->thread, NULL) == 0)
		finish(files);
	else
		loop_timer_set(files->loop, timer, HOSTFILES_JOIN_MS);
}

static void start_work(struct hostfiles *files)
{
	sigset_t all, before;

	files->join.on_expired = on_join;
	/* signals of the process stay with the loop's thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&files->thread, NULL, work, files);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	files->is_working = code == 0;
	if (code == 0) {
		loop_timer_set(files->loop, &files->join, HOSTFILES_JOIN_MS);
		return;
	}
	work(files);
	finish(files);
}

static void on_look(struct loop_timer *timer)
{
	struct hostfiles *files = container_of(timer, struct hostfiles, timer);

	if (files->is_working)
		return; /* its end sets the timer again */
	files->is_look = true;
	start_work(files);
}

static void on_due(struct loop_timer *timer)
{
	struct hostfiles *files = container_of(timer, struct hostfiles, due);

	if (files->is_working) {
		loop_timer_set(files->loop, timer, HOSTFILES_JOIN_MS);
		return;
	}
	files->is_look = false;
	files->job = files->wanted;
	files->wanted = (struct mesh_config){.names = NULL};
	start_work(files);
}

/* --- in the loop -------------------------------------------------------------------------- */

void hostfiles_configure(struct hostfiles *files, const struct mesh_config *config)
{
	config_free(&files->wanted);
	if (config_fill(&files->wanted, config) < 0) {
		files->wanted = (struct mesh_config){.names = NULL};
		loop_timer_cancel(files->loop, &files->due);
		log_warning("the names of the mesh are not in files: %s", strerror(ENOMEM));
		return;
	}
	files->due.on_expired = on_due;
	if (!loop_timer_is_armed(&files->due))
		loop_timer_set(files->loop, &files->due, HOSTFILES_DELAY_MS);
}

/* Returns false when the thread is not done in time. */
static bool await_thread(struct hostfiles *files)
{
	for (struct clock_wait wait = clock_wait_start(END_MS);
		files->is_working && pthread_tryjoin_np(files->thread, NULL) != 0;)
		if (!clock_wait_go_on(&wait))
			return false;
	files->is_working = false;
	return true;
}

void hostfiles_end(struct hostfiles *files)
{
	bool is_done = await_thread(files);

	if (is_done && files->has_begun) {
		files->is_end = true;
		start_work(files);
		is_done = await_thread(files);
	}
	if (files->loop) {
		loop_timer_cancel(files->loop, &files->due);
		loop_timer_cancel(files->loop, &files->join);
		loop_timer_cancel(files->loop, &files->timer);
	}
	files->is_working = files->has_begun = false;
	config_free(&files->wanted);
	files->wanted = (struct mesh_config){.names = NULL};
	if (is_done) {
		config_free(&files->job);
		files->job = (struct mesh_config){.names = NULL};
	} else {
		log_warning("the names of the mesh stay in files that cannot be had");
	}
}
