/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/logfile - what a sandbox in the background says, kept in files of the user's */
#include "sandbox/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/places.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define NOW        "log"
#define OLD        "log.1"
#define TOLD       "told"
#define LOCK_MS    1000 /* the one before may still be at its last line */
#define NOTE_BYTES 512
#define TURNS_MAX  64 /* in a row while somebody looks */

int logfile_place(char *out, struct err *err)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool is_set = state && state[0] == '/';
	int len = is_set ? snprintf(out, PATH_MAX, "%s/nswrap/logs", state)
			 : snprintf(out, PATH_MAX, "%s/.local/state/nswrap/logs", home ? home : "");
	struct stat info;

	/* sudo may leave us the home of another: nothing of ours is to be made there */
	if (!is_set &&
		(!home || home[0] != '/' || stat(home, &info) < 0 || info.st_uid != geteuid()))
		return err_set(err, ENOENT,
			"there is no home directory of yours (HOME): set XDG_STATE_HOME to a "
			"directory of yours");
	return len < PATH_MAX ? 0 : err_set(err, ENAMETOOLONG, "the path of the logs is too long");
}

/* A new one with a log in it, locked, under a name of its own: @path is its template. */
static int make(char *path, struct logfile *out)
{
	if (!mkdtemp(path))
		return -errno;
	out->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->dir_fd < 0 || flock(out->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	out->fd = openat(out->dir_fd, NOW, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	/* a disk may be full, which only a write says */
	if (out->fd < 0 || write(out->fd, "\n", 1) != 1 || ftruncate(out->fd, 0) < 0)
		return -errno;
	return 0;
}

/* Put what is at @from into the place of what @name had before. */
static int replace(int place_fd, const char *from, const char *name)
{
	_cleanup_fd_ int old =
		openat(place_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result = old < 0 ? 0 : fd_lock(old, LOCK_MS);

	if (result < 0)
		return result;
	if (old >= 0) {
		unlinkat(old, NOW, 0);
		unlinkat(old, OLD, 0);
		unlinkat(old, TOLD, 0);
	}
	return renameat(AT_FDCWD, from, place_fd, name) < 0 ? -errno : 0;
}

int logfile_create(
	const char *place, const char *name, struct logfile *out, char *path, struct err *err)
{
	char fresh[PATH_MAX];

	*out = (struct logfile){.dir_fd = -1, .fd = -1};
	if (snprintf(path, PATH_MAX, "%s/%s/" NOW, place, name) >= PATH_MAX ||
		snprintf(fresh, sizeof(fresh), "%s/.new-XXXXXX", place) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "the path of the log is too long");
	if (g_mkdir_with_parents(place, 0700) < 0)
		return err_sys(err, errno, "cannot make the directory %s", place);
	_cleanup_fd_ int place_fd = places_open_private(AT_FDCWD, place);
	if (place_fd < 0)
		return err_sys(err, -place_fd, "cannot use the directory %s", place);
	int result = make(fresh, out);
	if (result == 0)
		result = replace(place_fd, fresh, name);
	if (result == 0)
		return 0;
	if (out->dir_fd >= 0)
		unlinkat(out->dir_fd, NOW, 0);
	rmdir(fresh);
	logfile_close(out);
	if (result == -EAGAIN)
		return err_set(err, EAGAIN, "another sandbox of that name writes to %s", path);
	return err_sys(err, -result, "cannot make %s", path);
}

static void rotate(struct logfile *log)
{
	/* there is none if it could not be made the last time */
	if (renameat(log->dir_fd, NOW, log->dir_fd, OLD) < 0 && errno != ENOENT)
		return;
	int fd = openat(log->dir_fd, NOW,
		O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return; /* the old one goes on growing, and it is tried again */
	fd_close(&log->fd);
	log->fd = fd;
	log->size = 0;
}

/* Returns 0, or -errno when not all of it was written. */
static int append(struct logfile *log, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = write(log->fd, data, len);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return sent < 0 ? -errno : -EIO;
		log->size += sent;
		log->breaks = data[sent - 1] != '\n';
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

void logfile_write(struct logfile *log, const char *data, size_t len)
{
	if (log->fd < 0)
		return;
	if (log->size > 0 && log->size + (off_t)len > LOGFILE_BYTES)
		rotate(log);
	off_t before = log->size;
	int result = append(log, data, len);
	/* after the first time not some of it: that would not be told from all */
	if (result < 0 && log->is_missing && ftruncate(log->fd, before) == 0) {
		log->size = before;
		log->breaks = false;
	}
	if (result < 0 && !log->is_missing)
		logfile_note(log, "output is missing here: %s", strerror(-result));
	log->is_missing = result < 0;
}

void logfile_note(struct logfile *log, const char *format, ...)
{
	char text[NOTE_BYTES / 2], line[NOTE_BYTES];
	va_list args;

	if (log->fd < 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size_t len = (size_t)snprintf(line, sizeof(line), "\n" LOG_PREFIX "%s\n", text);
	size_t skip = log->breaks ? 0 : 1;
	if (append(log, line + skip, len - skip) == 0 || log->size < NOTE_BYTES)
		return;
	/* no room: it is worth more than the last words in front of it */
	log->size -= NOTE_BYTES;
	if (ftruncate(log->fd, log->size) == 0)
		append(log, line, len);
}

void logfile_resume(struct logfile *log)
{
	struct stat info;
	char last = '\n';

	/* COMMAND may have put anything there: nothing that lets us wait, and no other file */
	log->fd = openat(log->dir_fd, NOW,
		O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (log->fd < 0 || fstat(log->fd, &info) < 0)
		return;
	if (!S_ISREG(info.st_mode)) {
		rotate(log);
		return;
	}
	log->size = info.st_size;
	if (info.st_size > 0 && pread(log->fd, &last, 1, info.st_size - 1) == 1)
		log->breaks = last != '\n';
}

void logfile_close(struct logfile *log)
{
	fd_close(&log->fd);
	fd_close(&log->dir_fd);
}

/* --- reading ------------------------------------------------------------------------------ */

int logfile_open(const char *dir)
{
	return places_open_private(AT_FDCWD, dir);
}

static int open_one(int dir_fd, const char *name)
{
	_cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat info;

	if (fd < 0 || fstat(fd, &info) < 0)
		return -errno;
	return S_ISREG(info.st_mode) ? fd_take(&fd) : -EINVAL;
}

static bool is_at(int dir_fd, const char *name, int fd)
{
	struct stat now, ours;

	if (fstatat(dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return fd < 0;
	return fd >= 0 && fstat(fd, &ours) == 0 && now.st_ino == ours.st_ino;
}

int logfile_open_both(int dir_fd, int *old, int *now)
{
	int result = -ELOOP;

	for (int i = 0; i < TURNS_MAX; i++) {
		*old = open_one(dir_fd, OLD);
		*now = open_one(dir_fd, NOW);
		/* no turn in between */
		if (is_at(dir_fd, OLD, *old))
			return *now < 0 ? *now : 0;
		if (*old < 0 && *old != -ENOENT)
			result = *old; /* it stays so */
		fd_close(old);
		fd_close(now);
	}
	return result;
}

bool logfile_is_over(int dir_fd, unsigned timeout_ms)
{
	bool is_over = fd_lock(dir_fd, timeout_ms) == 0;

	if (is_over)
		flock(dir_fd, LOCK_UN);
	return is_over;
}

/* The words of sandbox/detach: "nswrap: ended with status 3", "nswrap: ended by signal 9 (Killed)".
 * @line may be cut in parts. */
static bool parse_end(char *line, int *status)
{
	static const char with_status[] = LOG_PREFIX "ended with status ";
	static const char by_signal[] = LOG_PREFIX "ended by signal ";
	bool is_signal = strncmp(line, by_signal, strlen(by_signal)) == 0;
	char *number = line + strlen(is_signal ? by_signal : with_status);
	unsigned long value;

	if (!is_signal && strncmp(line, with_status, strlen(with_status)) != 0)
		return false;
	char *behind = number + strspn(number, "0123456789");
	if (is_signal ? strncmp(behind, " (", 2) != 0 : *behind)
		return false;
	*behind = '\0';
	if (parse_uint(number, is_signal ? NSIG - 1 : UINT8_MAX, &value) < 0)
		return false;
	*status = (int)value + (is_signal ? 128 : 0);
	return true;
}

bool logfile_end(int dir_fd, int *status)
{
	_cleanup_fd_ int fd = open_one(dir_fd, NOW);
	char text[NOTE_BYTES + 1] = "";
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	off_t from = size > NOTE_BYTES ? size - NOTE_BYTES : 0;
	ssize_t got = fd >= 0 ? pread(fd, text, NOTE_BYTES, from) : -1;

	if (got <= 0 || text[got - 1] != '\n')
		return false;
	text[got - 1] = '\0';
	char *line = memrchr(text, '\n', (size_t)got - 1);
	return parse_end(line ? line + 1 : text, status);
}

void logfile_note_told(int dir_fd)
{
	_cleanup_fd_ int told = openat(
		dir_fd, TOLD, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	(void)told;
}

bool logfile_is_told(int dir_fd)
{
	return faccessat(dir_fd, TOLD, F_OK, 0) == 0;
}

void logfile_rewind(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct stat info;

	if (at >= NOTE_BYTES && fstat(fd, &info) == 0 && info.st_size < at)
		lseek(fd, at - NOTE_BYTES, SEEK_SET);
}

/* Was something written to it after it was read to its end? */
static bool has_more(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct stat info;

	return at >= 0 && fstat(fd, &info) == 0 && info.st_size > at;
}

bool logfile_turn(int dir_fd, int *fd)
{
	int old, now;

	if (is_at(dir_fd, NOW, *fd))
		return false;
	if (has_more(*fd))
		return true;
	if (logfile_open_both(dir_fd, &old, &now) < 0)
		return false;
	/* a reader that was slow has another whole one before it */
	bool was_last = old < 0 || is_at(dir_fd, OLD, *fd);
	fd_close(fd);
	*fd = was_last ? now : old;
	fd_close(was_last ? &old : &now);
	return true;
}
