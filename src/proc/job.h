/* SPDX-License-Identifier: Apache-2.0 */
/* proc/job - how a command and its starter share a shell's job and its terminal */
#pragma once

#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <termios.h>

/*
 * The command stays in the process group of its starter (unless it got a session of its own), so a
 * signal from the terminal reaches it without us, and a shell sees one job: when the command stops,
 * its starter stops, too.
 */

/*
 * Should this signal be passed on? Not if the terminal sent it to the whole group and there is a
 * command (@command: 0 if not) in it already, nor what is about our own output.
 */
bool job_passes_on(const struct signalfd_siginfo *info, pid_t command, bool has_own_session);

/*
 * @command was stopped by @sig: stop as well, so that the shell takes its terminal back. Only then:
 * without a terminal nobody would continue us. Returns true after we were stopped and continued.
 * The SIGCONT that did it is then pending; it has reached a command in our group as well, which may
 * have been stopped again since: it must not be passed on without looking.
 */
bool job_stop_with(pid_t command, int sig, bool has_own_session);

/*
 * Stop the whole group, as Ctrl-Z does, until it is continued. @leader: the one of it that its
 * starter waits for. False, at once, if nobody would continue it: its starter is of another
 * session.
 */
bool job_stop(pid_t leader);

/*
 * kill(2), if there is a command (0: none). What a terminal sends to groups goes to the group that
 * the command leads, if it does (--new-session, a shell with job control): SIGCONT, SIGINT and
 * SIGQUIT. A shell that waits for a program does not end by a SIGINT that this has not got.
 */
void job_signal(pid_t command, int sig);

/* What a job's terminal was like before the job began. */
struct job_terminal {
	int fd;           /* -1: it has none, or is not in its foreground */
	pid_t foreground; /* our group */
	struct termios settings;
	int discipline, is_exclusive; /* TIOCGETD, TIOCGEXCL */
	int shared, flags; /* the first of our streams that is a terminal, the starter's as well */
};

struct job_terminal job_terminal_keep(void);

/*
 * All has ended; SIGTTOU is blocked. A shell with job control that was killed, or that cannot see
 * our group from its PID namespace, has left the terminal to a group that is gone: whoever reads
 * next would get EIO. Then, or if @is_killed, the command's end was by a signal, the settings are
 * put back as well, as shells do. What no shell would see to is put back in any case: a line
 * discipline that passes nothing, exclusive use, O_NONBLOCK, output that a program has suspended.
 */
void job_terminal_give_back(struct job_terminal *terminal, bool is_killed);

/* stdin and stdout are the command's alone: who reads them must see it close them. */
void job_leave_streams(void);
