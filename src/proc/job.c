/* SPDX-License-Identifier: Apache-2.0 */
/* proc/job - how a command and its starter share a shell's job and its terminal */
#include "proc/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proc/tree.h"
#include "util/fd.h"

bool job_passes_on(const struct signalfd_siginfo *info, pid_t command, bool has_own_session)
{
	int sig = (int)info->ssi_signo;

	if (sig == SIGPIPE || sig == SIGTTOU || sig == SIGTTIN)
		return false;
	if (sig == SIGCONT || info->ssi_code != SI_KERNEL || has_own_session || command == 0)
		return true;
	/* a terminal that goes away tells nobody but the leader of its session */
	return sig == SIGHUP && getsid(0) == getpid();
}

bool job_stop_with(pid_t command, int sig, bool has_own_session)
{
	_cleanup_fd_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (terminal < 0 || has_own_session)
		return false;
	pid_t foreground = tcgetpgrp(terminal);
	/* a shell with job control has a group of its own when it is told to `suspend` */
	if (sig == SIGSTOP && foreground != getpgrp() && foreground != getpgid(command))
		return false;
	raise(SIGSTOP);
	return true;
}

bool job_stop(pid_t leader)
{
	while (leader > 0 && getpgid(leader) == getpgrp())
		leader = tree_parent(leader);
	return leader > 0 && getsid(leader) == getsid(0) && kill(0, SIGSTOP) == 0;
}

void job_signal(pid_t command, int sig)
{
	bool is_of_group = sig == SIGCONT || sig == SIGINT || sig == SIGQUIT;

	if (command > 0)
		kill(is_of_group && getpgid(command) == command ? -command : command, sig);
}

struct job_terminal job_terminal_keep(void)
{
	struct job_terminal terminal = {.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY),
		.foreground = getpgrp(),
		.shared = -1};

	if (terminal.fd >= 0 && (tcgetpgrp(terminal.fd) != terminal.foreground ||
					tcgetattr(terminal.fd, &terminal.settings) < 0))
		fd_close(&terminal.fd);
	if (ioctl(terminal.fd, TIOCGETD, &terminal.discipline) < 0)
		terminal.discipline = N_TTY;
	if (ioctl(terminal.fd, TIOCGEXCL, &terminal.is_exclusive) < 0)
		terminal.is_exclusive = 1; /* not known: it stays as it is */
	for (int fd = 0; terminal.fd >= 0 && terminal.shared < 0 && fd <= STDERR_FILENO; fd++)
		if (tcgetpgrp(fd) == terminal.foreground) /* ENOTTY: another terminal */
			terminal.shared = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	terminal.flags = fcntl(terminal.shared, F_GETFL);
	return terminal;
}

static void unlock(const struct job_terminal *terminal)
{
	int now;

	if (ioctl(terminal->fd, TIOCGETD, &now) == 0 && now != terminal->discipline)
		ioctl(terminal->fd, TIOCSETD, &terminal->discipline);
	if (!terminal->is_exclusive)
		ioctl(terminal->fd, TIOCNXCL);
	tcflow(terminal->fd, TCOON); /* Ctrl-Q does not undo a TCOOFF */
	if (terminal->shared >= 0)
		fcntl(terminal->shared, F_SETFL, terminal->flags);
}

void job_terminal_give_back(struct job_terminal *terminal, bool is_killed)
{
	pid_t now = terminal->fd >= 0 ? tcgetpgrp(terminal->fd) : -1;
	bool is_ours = now == terminal->foreground;

	/* a group that lives has it by right: the shell has taken it back */
	if (now > 0 && !is_ours && kill(-now, 0) < 0 && errno == ESRCH)
		is_killed = is_ours = tcsetpgrp(terminal->fd, terminal->foreground) == 0;
	if (is_ours)
		unlock(terminal);
	if (is_ours && is_killed)
		tcsetattr(terminal->fd, TCSANOW, &terminal->settings);
	fd_close(&terminal->fd);
	fd_close(&terminal->shared);
}

void job_leave_streams(void)
{
	_cleanup_fd_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
}
