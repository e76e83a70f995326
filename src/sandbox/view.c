/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/view - which files COMMAND sees, and which the net process does */
#include "sandbox/view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/ns.h"
#include "sandbox/etc.h"
#include "sandbox/sshconf.h"
#include "util/fd.h"
#include "util/log.h"

#define NSCD_DIR "/run/nscd"

/*
 * A tmpfs is mounted over one of these for a moment, in our own mount namespace. mount(2) rather
 * than fsmount(2), which the 4.18 kernels of login nodes lack.
 */
static const char *work_dir(void)
{
	static const char *const dirs[] = {"/tmp", "/run", "/mnt", "/usr"};
	size_t i = 0;

	while (i + 1 < sizeof(dirs) / sizeof(dirs[0]) && access(dirs[i], F_OK) < 0)
		i++;
	return dirs[i];
}

/* Mounts made here stay here; those made outside later still come in. */
int view_detach(struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(err, errno, "cannot detach the mounts of the sandbox");
	return 0;
}

static int write_new_file(const char *path, const char *text, size_t len, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	int result = fd_write_all(fd, text, len);
	if (result == 0 && fchmod(fd, mode) < 0)
		result = -errno;
	if (result < 0)
		fd_close(&fd);
	return result < 0 ? result : fd;
}

/* What is shown in the place of a file, or of what the links at its path lead to. */
struct copy {
	const char *path, *text;
	size_t len;
	mode_t mode;
	int target_fd; /* of that file */
};

static int put_copy(const struct copy *copy, const char *source)
{
	char target[64];

	_cleanup_fd_ int fd = write_new_file(source, copy->text, copy->len, copy->mode);
	if (fd < 0)
		return fd;
	snprintf(target, sizeof(target), "/proc/self/fd/%d", copy->target_fd);
	return mount(source, target, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static void put_copies(struct copy *copies, size_t count)
{
	const char *work = work_dir();
	char source[64];
	int result = 0;

	/* before the tmpfs is there: links may lead through its directory */
	for (size_t i = 0; i < count; i++)
		copies[i].target_fd = open(copies[i].path, O_PATH | O_CLOEXEC);
	if (mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4m") < 0)
		result = -errno;
	for (size_t i = 0; i < count; i++) {
		snprintf(source, sizeof(source), "%s/%zu", work, i);
		int put = result < 0 ? result : put_copy(&copies[i], source);
		fd_close(&copies[i].target_fd);
		if (put < 0)
			log_warning("cannot mount over %s: %s; what reads it may fail inside",
				copies[i].path, strerror(-put));
	}
	if (result == 0)
		umount2(work, MNT_DETACH); /* the binds keep the files alive */
}

static void cover_files(const struct init_start *start)
{
	struct copy copies[SSHCONF_FILES_MAX];
	size_t count = 0;

	for (size_t i = 0; i < start->ssh->count; i++) {
		const struct sshconf_file *file = &start->ssh->files[i];

		if (file->path)
			copies[count++] =
				(struct copy){file->path, file->text, file->len, file->mode, -1};
	}
	if (count > 0)
		put_copies(copies, count);
}

/* All of them: another nswrap of the same user looks in places that ours does not make use of. */
static int hide_places(const struct places *hidden, struct err *err)
{
	for (size_t i = 0; i < hidden->total; i++) {
		const char *path = hidden->items[i].path;

		if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0700") < 0 &&
			(errno != ENOENT || i == 0))
			return err_sys(err, errno, "cannot hide %s from the sandbox", path);
	}
	return 0;
}

/* What a PID namespace comes with: a /proc that shows it, and the message queues of its IPC. */
static int mount_for_pids(struct err *err)
{
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(err, errno,
			"cannot mount /proc for --pid (in a container: its own /proc must be unmasked)");
	if (mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 &&
		errno != ENOENT)
		log_info("cannot mount /dev/mqueue: %s", strerror(errno));
	return 0;
}

/*
 * From here on nobody can take a cover off, whatever their capabilities. The kernel locks mounts
 * that were copied into a mount namespace of another user namespace (mount_namespaces(7)). So a
 * child copies them into namespaces of its own, and we go there: its user namespace is below ours,
 * so mounts can still be made, while ours stays the one that owns the network.
 */
static int lock_mounts(struct err *err)
{
	pid_t parent = getpid();
	char cwd[PATH_MAX], path[64];

	if (!getcwd(cwd, sizeof(cwd)))
		cwd[0] = '\0';
	pid_t child = ns_fork(CLONE_NEWUSER | CLONE_NEWNS, err);
	if (child < 0)
		return child;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", child);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = fd < 0 || setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (result < 0)
		return err_sys(err, -result, "cannot lock the mounts of the sandbox");
	/* by its path: a descriptor of the directory would lead to where it was not covered */
	if (chdir(cwd) < 0)
		log_info("the current directory is not in the sandbox; starting in /");
	return 0;
}

static void set_up_etc(const struct init_start *start, int *etc, struct err *err)
{
	char cwd[PATH_MAX];

	*etc = etc_set_up(start->files, work_dir(), err);
	if (*etc < 0)
		log_warning("%s; names may be wrong inside", err->text);
	/* who starts in /etc, or below, is in the host's directory still */
	if (getcwd(cwd, sizeof(cwd)) && strncmp(cwd, "/etc", 4) == 0 && chdir(cwd) < 0)
		log_info("the current directory is not in the sandbox");
}

/* An nscd outside answers for hosts that it knows nothing of, and glibc asks it first. */
static void hide_nscd(void)
{
	if (mount("tmpfs", NSCD_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=4k") < 0 &&
		errno != ENOENT)
		log_info("cannot hide " NSCD_DIR ": %s", strerror(errno));
}

int view_set_up(const struct init_start *start, int *etc, struct err *err)
{
	struct mount_attr nosuid = {.attr_set = MOUNT_ATTR_NOSUID};

	if (view_detach(err) < 0)
		return -err->code;
	cover_files(start);
	set_up_etc(start, etc, err);
	if (start->config->net.has_dns)
		hide_nscd();
	if (start->config->has_pid_ns && mount_for_pids(err) < 0)
		return -err->code;
	if (hide_places(start->hidden, err) < 0)
		return -err->code;
	if (start->config->is_root && lock_mounts(err) < 0)
		return -err->code;
	/* after that, as root may change flags of mounts unless they are locked, too */
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &nosuid, sizeof(nosuid)) < 0)
		log_info("cannot make the mounts nosuid: %s", strerror(errno));
	return 0;
}

int view_empty_root(struct err *err)
{
	const char *work = work_dir();

	if (view_detach(err) < 0)
		return -err->code;
	if (mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=0700") <
			0 ||
		chdir(work) < 0)
		return err_sys(err, errno, "cannot make an empty root");
	/* with both names ".", the old root lands on top of the new one: pivot_root(2) */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot leave the file system");
	return 0;
}
