/* SPDX-License-Identifier: Apache-2.0 */
/* proc/command - start a program, and hear why it could not be started */
#include "proc/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/clone.h"
#include "proc/rights.h"
#include "util/fd.h"
#include "util/log.h"

#define LISTEN_FIRST    3
#define STACK_BYTES     (1 << 20)
#define STACK_ALIGNMENT 16
#define SETUP_STATUS    125 /* of a child that could not become the program */

struct report {
	enum command_failure failure;
	struct err err;
};

static int set_rights(enum command_rights rights)
{
	struct statvfs root;

	if (rights == COMMAND_KEEPS_ALL)
		return 0;
	if (rights == COMMAND_KEEPS_CAPS)
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
	/* see sandbox/view, which not every kernel can do */
	return rights_drop_command(!(statvfs("/", &root) == 0 && (root.f_flag & ST_NOSUID)));
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
static int execute(const char *program, char *const *argv)
{
	execvp(program, argv);
	if (errno == EACCES && !strchr(program, '/') && !is_in_path(program))
		errno = ENOENT;
	return -errno;
}

/* All of them are out of the way before the first one is put in its place. */
static int place_listen_fds(const struct command *command, int *report_fd)
{
	const int end = LISTEN_FIRST + (int)command->nlisten_fds;
	int moved[COMMAND_LISTEN_MAX];

	if (command->nlisten_fds == 0)
		return 0;
	if (*report_fd < end)
		*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, end);
	for (size_t i = 0; i < command->nlisten_fds; i++) {
		moved[i] = fcntl(command->listen_fds[i], F_DUPFD_CLOEXEC, end);
		if (moved[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < command->nlisten_fds; i++)
		if (dup2(moved[i], LISTEN_FIRST + (int)i) < 0)
			return -errno;
	return 0;
}

/* Close all descriptors but the streams, the kept ones and that of the report. */
static int keep_fds(const struct command *command, int report_fd)
{
	int keep[FD_PASS_MAX];
	size_t nkeep = 0;

	while (nkeep < command->nlisten_fds) {
		keep[nkeep] = LISTEN_FIRST + (int)nkeep;
		nkeep++;
	}
	for (size_t i = 0; i < command->nkeep_fds && nkeep < FD_PASS_MAX - 1; i++) {
		keep[nkeep] = command->keep_fds[i];
		/* shells hand such descriptors over without close-on-exec, but be sure */
		fcntl(keep[nkeep], F_SETFD, 0);
		nkeep++;
	}
	keep[nkeep++] = report_fd;
	return rights_keep_fds(keep, nkeep);
}

/* SIGTTOU is blocked. */
static int take_terminal(void)
{
	_cleanup_fd_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	return setpgid(0, 0) < 0 || terminal < 0 || tcsetpgrp(terminal, getpgrp()) < 0 ? -errno : 0;
}

/* Returns 0 or -errno with @err filled. */
static int set_up(const struct command *command, int *report_fd, pid_t parent, struct err *err)
{
	if (command->first_chdir && chdir(command->first_chdir) < 0)
		log_info("the current directory is not in the sandbox; starting in /");
	for (int i = 0; command->streams && i < 3; i++)
		/* one that is there already would keep its close-on-exec (cmd_begin) */
		if (dup2(command->streams[i], i) < 0 || fcntl(i, F_SETFD, 0) < 0)
			return err_sys(err, errno, "cannot set the streams of the command");
	if (command->new_session && setsid() < 0)
		return err_sys(err, errno, "cannot make a new session");
	if (command->terminal > 0 && ioctl(command->terminal, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "cannot give a terminal to the command");
	if (command->takes_terminal && take_terminal() < 0)
		return err_sys(err, errno, "cannot lend the terminal to the command");
	if (command->chdir && chdir(command->chdir) < 0)
		return err_sys(err, errno, "cannot change to directory %s", command->chdir);
	int result = set_rights(command->rights);
	if (result == 0)
		result = place_listen_fds(command, report_fd);
	if (result == 0)
		result = keep_fds(command, *report_fd);
	if (result < 0)
		return err_sys(err, -result, "cannot drop the rights of the command");
	if (command->confine && (result = confine_self(command->confine)) < 0)
		return err_sys(err, -result, "cannot confine the command");
	prctl(PR_SET_CHILD_SUBREAPER, command->is_subreaper);
	/* after the capabilities: a change of them may clear it, prctl(2) */
	prctl(PR_SET_PDEATHSIG, command->death_signal, 0, 0, 0);
	pid_t now = getppid();
	if (command->death_signal != 0 && now != parent && now != 0) /* 0: of another namespace */
		_exit(SETUP_STATUS);
	setrlimit(RLIMIT_NOFILE, &command->nofile);
	if (command->restores_pipe)
		signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &command->mask, NULL);
	return 0;
}

/* Programs compare them with getpid(2), which is another number in a PID namespace. */
static void write_pids(char *const *variables)
{
	for (; variables && *variables; variables++)
		snprintf(strchr(*variables, '=') + 1, COMMAND_PID_BYTES, "%d", getpid());
}

/* Everything between fork and exec. Returns only if something fails, with @report filled. */
static void become_command(
	const struct command *command, int *report_fd, pid_t parent, struct report *report)
{
	report->failure = COMMAND_SETUP_FAILED;
	if (set_up(command, report_fd, parent, &report->err) < 0)
		return;
	if (command->env)
		environ = command->env; /* its PATH counts */
	write_pids(command->pid_variables);
	if (!command->argv) {
		close(*report_fd);
		_exit(command->run(command->told));
	}
	const char *program = command->program ? command->program : command->argv[0];
	int result = execute(program, command->argv);
	report->failure = COMMAND_EXEC_FAILED;
	err_sys(&report->err, -result, "cannot execute %s", program);
}

struct child {
	const struct command *command;
	int report_fd;
	pid_t parent;
};

static int child_main(void *told)
{
	struct child *child = told;
	struct report report = {0};

	become_command(child->command, &child->report_fd, child->parent, &report);
	fd_write_all(child->report_fd, &report, sizeof(report));
	_exit(SETUP_STATUS);
}

/*
 * The child has our memory, and we stand still, until it executes the program: no page is copied.
 * What it changes there is what its stack holds, the environment, and what malloc(3) gave it.
 */
static pid_t fork_sharing(struct child *child)
{
	char **env = environ;
	size_t bytes = STACK_BYTES;

	/* execvp(3) has a copy on the stack when the program is a script without a "#!" */
	for (char *const *arg = child->command->argv; *arg; arg++)
		bytes += sizeof(*arg);
	char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return -1;
	char *top = stack + bytes / STACK_ALIGNMENT * STACK_ALIGNMENT;
	pid_t pid = clone(child_main, top, CLONE_VM | CLONE_VFORK | SIGCHLD, child);
	int code = errno;
	munmap(stack, bytes);
	environ = env;
	errno = code;
	return pid;
}

pid_t command_start(const struct command *command, int *report, struct err *err)
{
	struct child child = {.command = command, .parent = getpid()};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	child.report_fd = ends[1];
	pid_t pid = command->shares_memory && CLONE_CAN_SHARE ? fork_sharing(&child) : fork();
	if (pid == 0)
		child_main(&child);
	int result = pid < 0 ? err_sys(err, errno, "cannot fork") : pid;
	close(ends[1]);
	if (pid < 0)
		close(ends[0]);
	else
		*report = ends[0];
	return result;
}

enum command_failure command_hear(int report, struct err *err)
{
	struct report told = {0};

	/* exec closes the other end; so does a death before it */
	if (fd_read_all(report, &told, sizeof(told)) != sizeof(told))
		return COMMAND_OK;
	*err = told.err;
	return told.failure;
}

pid_t command_spawn(const struct command *command, enum command_failure *failure, struct err *err)
{
	_cleanup_fd_ int report = -1;
	pid_t pid = command_start(command, &report, err);

	*failure = pid < 0 ? COMMAND_SETUP_FAILED : command_hear(report, err);
	if (*failure == COMMAND_OK || pid < 0)
		return pid;
	waitpid(pid, NULL, 0);
	return -err->code;
}

int command_failure_status(enum command_failure failure, int code)
{
	if (failure != COMMAND_EXEC_FAILED)
		return SETUP_STATUS;
	return code == ENOENT ? 127 : 126;
}

int command_exit_status(int code, int status)
{
	return code == CLD_EXITED ? status : 128 + status;
}
