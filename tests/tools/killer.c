/* SPDX-License-Identifier: Apache-2.0 */
/* tools/killer - run a program and SIGKILL one of its processes as it enters its Nth system call */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * killer ROLE N PROGRAM [ARG...]
 *
 * ROLE is a path down the tree of processes: "0" the program itself, "0.1" its first child, "0.2"
 * its second, "0.1.1" the first child of its first child. Calls are counted from the fork on (the
 * program's: from its exec on), the Nth from 1. stdin is the leash: at its end killer lets go.
 *
 * Prints "started PID", "killed PID" and ends with 0 once that is done, or prints "calls COUNT" and
 * ends with 1 when the leash is cut before the Nth call, or the process has gone. Either way nobody
 * is traced any more and what is left of the program runs on. Its stdin and
 * stdout are /dev/null.
 */
#define PROCESSES_MAX 256
#define ROLE_BYTES    64
#define OPTIONS                                                                                   \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
		PTRACE_O_TRACEEXEC)

struct process {
	pid_t pid;
	unsigned children;
	char role[ROLE_BYTES];
};

struct killer {
	const char *role;
	unsigned long wanted, calls;
	bool is_in_call;
	struct process processes[PROCESSES_MAX];
	size_t count;
};

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(2);
}

static struct process *find(struct killer *killer, pid_t pid)
{
	for (size_t i = 0; i < killer->count; i++)
		if (killer->processes[i].pid == pid)
			return &killer->processes[i];
	return NULL;
}

/* ROLE of the child numbered @number of @parent. */
static void set_role(struct process *process, const struct process *parent, unsigned number)
{
	char role[ROLE_BYTES];

	snprintf(role, sizeof(role), "%.48s.%u", parent->role, number);
	memcpy(process->role, role, sizeof(role));
}

static struct process *add(struct killer *killer, pid_t pid)
{
	if (killer->count == PROCESSES_MAX) {
		fprintf(stderr, "killer: too many processes\n");
		exit(2);
	}
	struct process *process = &killer->processes[killer->count++];
	*process = (struct process){.pid = pid};
	return process;
}

static void resume(const struct killer *killer, const struct process *process, int sig)
{
	bool is_wanted = process && strcmp(process->role, killer->role) == 0;

	if (process)
		ptrace(is_wanted ? PTRACE_SYSCALL : PTRACE_CONT, process->pid, 0, sig);
}

/* The process at @process entered or left a call: is it the one? */
static bool is_the_call(struct killer *killer)
{
	killer->is_in_call = !killer->is_in_call;
	return killer->is_in_call && ++killer->calls == killer->wanted;
}

static void on_event(struct killer *killer, struct process *process, int event)
{
	unsigned long child = 0;

	if (event == PTRACE_EVENT_EXEC && strcmp(process->role, killer->role) == 0)
		killer->is_in_call = true; /* its exit is the next to be seen */
	if (event != PTRACE_EVENT_FORK && event != PTRACE_EVENT_VFORK &&
		event != PTRACE_EVENT_CLONE)
		return;
	if (ptrace(PTRACE_GETEVENTMSG, process->pid, 0, &child) < 0)
		return;
	process->children++;
	struct process *known = find(killer, (pid_t)child);
	if (known) { /* its first stop came before its parent's */
		set_role(known, process, process->children);
		resume(killer, known, 0);
		return;
	}
	known = add(killer, (pid_t)child);
	set_role(known, process, process->children);
}

__attribute__((noreturn)) static void finish_killed(pid_t pid)
{
	kill(pid, SIGKILL);
	printf("killed %d\n", pid);
	exit(0);
}

__attribute__((noreturn)) static void finish_missed(const struct killer *killer)
{
	printf("calls %lu\n", killer->calls);
	exit(1);
}

static void on_stop(struct killer *killer, pid_t pid, int status)
{
	struct process *process = find(killer, pid);
	int sig = WSTOPSIG(status), event = status >> 16;

	if (!process) {
		add(killer, pid);
		return; /* stays stopped until its parent's event names it */
	}
	if (sig == (SIGTRAP | 0x80)) {
		if (is_the_call(killer))
			finish_killed(pid);
		sig = 0;
	} else if (event == PTRACE_EVENT_STOP) {
		if (sig != SIGTRAP) { /* a group stop */
			ptrace(PTRACE_LISTEN, pid, 0, 0);
			return;
		}
		sig = 0;
	} else if (event != 0) {
		on_event(killer, process, event);
		sig = 0;
	}
	resume(killer, process, sig);
}

/* Returns after every change that is there now was handled. */
static void on_child(struct killer *killer)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		struct process *process = find(killer, pid);

		if (WIFSTOPPED(status)) {
			on_stop(killer, pid, status);
			continue;
		}
		if (process && strcmp(process->role, killer->role) == 0)
			finish_missed(killer);
		if (process)
			*process = killer->processes[--killer->count];
	}
	if (pid < 0 && errno == ECHILD)
		finish_missed(killer);
}

static pid_t start(char **argv, const sigset_t *mask)
{
	int gate[2];

	if (pipe(gate) < 0)
		die("pipe");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		char go;

		close(gate[1]);
		if (read(gate[0], &go, 1) != 1)
			_exit(125);
		close(gate[0]);
		int null = open("/dev/null", O_RDWR);
		if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
			die("/dev/null");
		close(null);
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0)
		die("PTRACE_SEIZE");
	if (write(gate[1], "g", 1) != 1)
		die("write");
	close(gate[0]);
	close(gate[1]);
	return pid;
}

int main(int argc, char **argv)
{
	static struct killer killer;
	sigset_t child, before;
	char *end;

	if (argc < 4) {
		fprintf(stderr, "usage: killer ROLE N PROGRAM [ARG...]\n");
		return 2;
	}
	killer.role = argv[1];
	killer.wanted = strtoul(argv[2], &end, 10);
	if (*end != '\0')
		return 2;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		die("signalfd");
	pid_t pid = start(&argv[3], &before);
	strcpy(add(&killer, pid)->role, "0");
	printf("started %d\n", pid);
	fflush(stdout);

	struct pollfd fds[] = {{signals, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	for (;;) {
		struct signalfd_siginfo discard;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die("poll");
		while (read(signals, &discard, sizeof(discard)) > 0)
			;
		on_child(&killer);
		if (fds[1].revents)
			finish_missed(&killer);
	}
}
