/* SPDX-License-Identifier: Apache-2.0 */
/* proc/command - fork and execute a program with the rights of a sandbox */
#include "proc/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/rights.h"
#include "util/fd.h"

struct report {
	enum command_failure failure;
	struct err err;
};

static int set_rights(const struct command *command)
{
	struct statvfs root;

	if (command->run)
		return 0;
	/* see mounts_set_nosuid, which not every kernel can do */
	bool is_nosuid = statvfs("/", &root) == 0 && (root.f_flag & ST_NOSUID);
	if (!command->keeps_caps)
		return rights_drop_command(!is_nosuid);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Is there a file called @name in any directory of PATH that we may look into? */
static bool is_in_path(const char *name)
{
	const char *dir = getenv("PATH");
	char path[PATH_MAX];
	struct stat st;

	while (dir) {
		const char *end = strchrnul(dir, ':');

		snprintf(path, sizeof(path), "%.*s/%s", (int)(end - dir), dir, name);
		if (stat(path, &st) == 0)
			return true;
		dir = *end ? end + 1 : NULL;
	}
	return false;
}

/* execvp(3), but directories of PATH that cannot be entered do not hide that there is no file. */
static int execute(char **argv, char **env)
{
	environ = env; /* its PATH counts */
	execvp(argv[0], argv);
	if (errno == EACCES && !strchr(argv[0], '/') && !is_in_path(argv[0]))
		errno = ENOENT;
	return -errno;
}

/* Everything between fork and exec. Returns only if something fails, with @report filled. */
static void become_command(const struct command *command, int report_fd, struct report *report)
{
	int keep[FD_PASS_MAX];
	size_t nkeep = 0;

	report->failure = COMMAND_SETUP_FAILED;
	if (command->new_session && setsid() < 0) {
		err_sys(&report->err, errno, "cannot make a new session");
		return;
	}
	if (command->chdir && chdir(command->chdir) < 0) {
		err_sys(&report->err, errno, "cannot change to directory %s", command->chdir);
		return;
	}
	while (nkeep < command->nkeep_fds && nkeep < FD_PASS_MAX - 1) {
		keep[nkeep] = command->keep_fds[nkeep];
		/* shells hand such descriptors over without close-on-exec, but be sure */
		fcntl(keep[nkeep], F_SETFD, 0);
		nkeep++;
	}
	keep[nkeep++] = report_fd;
	int result = set_rights(command);
	if (result == 0)
		result = rights_keep_fds(keep, nkeep);
	if (result < 0) {
		err_sys(&report->err, -result, "cannot drop the rights of the command");
		return;
	}
	/* after the capabilities: a change of them may clear it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setrlimit(RLIMIT_NOFILE, &command->nofile);
	sigprocmask(SIG_SETMASK, &command->mask, NULL);
	if (command->run) {
		close(report_fd);
		environ = command->env;
		_exit(command->run(command->told));
	}
	result = execute(command->argv, command->env);
	report->failure = COMMAND_EXEC_FAILED;
	err_sys(&report->err, -result, "cannot execute %s", command->argv[0]);
}

pid_t command_spawn(const struct command *command, enum command_failure *failure, struct err *err)
{
	int ends[2];
	struct report report = {0};

	*failure = COMMAND_SETUP_FAILED;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	_cleanup_fd_ int report_read = ends[0];
	pid_t pid = fork();
	if (pid < 0) {
		close(ends[1]);
		return err_sys(err, errno, "cannot fork");
	}
	if (pid == 0) {
		become_command(command, ends[1], &report);
		fd_write_all(ends[1], &report, sizeof(report));
		_exit(125);
	}
	close(ends[1]);
	/* exec closes the other end; so does a death before it, which waitid will tell */
	ssize_t got = fd_read_all(report_read, &report, sizeof(report));
	if (got != sizeof(report)) {
		*failure = COMMAND_OK;
		return pid;
	}
	waitpid(pid, NULL, 0);
	*failure = report.failure;
	return err_set(err, report.err.code, "%s", report.err.text);
}

int command_failure_status(enum command_failure failure, int code)
{
	if (failure != COMMAND_EXEC_FAILED)
		return 125;
	return code == ENOENT ? 127 : 126;
}

int command_exit_status(int code, int status)
{
	return code == CLD_EXITED ? status : 128 + status;
}
