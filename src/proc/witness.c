/* SPDX-License-Identifier: Apache-2.0 */
/* proc/witness - has a signal reached the command already, by its group or by its cgroup? */
#include "proc/witness.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "proc/clone.h"
#include "proc/job.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"

/* systemd looks for the processes of a cgroup and signals one by one */
#define HOLD_MS 50
/* for its answer, as it may not have run yet; by the clock we could have been late ourselves */
#define LOOKS_MAX 200
#define LOOK_MS   10
#define KILL_MS   1000
#define ASKING    SIGRTMAX /* dequeued behind all of those that are held, signal(7) */
#define ANSWER    0        /* no signal's number */

#define STACK_BYTES     (32 << 10)
#define STACK_ALIGNMENT 16
#define THREAD_BYTES    (256 << 10)

/* What a witness is told. */
struct task {
	int fd;
	bool has_own_session;
	pid_t parent;
};

/* One in our memory, for as long as who starts it waits. */
struct beginning {
	struct task task;
	pid_t pid;   /* its own; -1 */
	sem_t begun; /* @pid is known, and the rest needed no more */
};

/* A shell stops and continues what is before the next signal, in that order. */
static bool is_held(int sig)
{
	return sig > 0 && sig < WITNESS_SIGNALS && sig != SIGCONT && sig != SIGTSTP;
}

/*
 * To a session of its own. What is pending came with our group, where the command is not: a ^C that
 * comes between the fork and here, and would pass for one that the command has.
 */
static void leave_group(const sigset_t *all)
{
	const struct timespec at_once = {0};

	setsid();
	while (sigtimedwait(all, NULL, &at_once) > 0)
		;
}

/* In our memory nothing here may take a lock or allocate. */
__attribute__((noreturn)) static void testify(const struct task *task)
{
	const int fd = task->fd;
	sigset_t all;

	sigfillset(&all);
	if (task->has_own_session)
		leave_group(&all);
	prctl(PR_SET_NAME, "nswrap: witness"); /* from now on it tells what comes */
	job_leave_streams();
	dup2(STDOUT_FILENO, STDERR_FILENO); /* null by now */
	if (rights_keep_fds(&fd, 1) < 0)
		_exit(125);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == task->parent) {
		int sig = sigwaitinfo(&all, NULL);
		uint8_t number = sig == ASKING ? ANSWER : (uint8_t)sig;

		if (sig > 0 && (is_held(sig) || sig == ASKING) && write(fd, &number, 1) < 0)
			break;
	}
	_exit(0);
}

static int run(void *task)
{
	testify(task);
}

/*
 * Nearly all that a witness costs by fork(2) is a copy of our memory. So it shares that, and has
 * the errno and the stack of a thread, which waits for ever: not by CLONE_VFORK, as a process with
 * a thread that waits so is not seen to stop.
 *
 * Both have our rights, too: a task without them would open our memory, and what can be done with
 * that, to all who have none (ptrace(2)).
 */
static void *stand_by(void *told)
{
	struct beginning *beginning = told;
	struct task task = beginning->task;
	char stack[STACK_BYTES] __attribute__((aligned(STACK_ALIGNMENT)));
	pid_t pid = clone(run, stack + sizeof(stack), CLONE_VM | SIGCHLD, &task);

	beginning->pid = pid;
	sem_post(&beginning->begun);
	while (pid > 0)
		pause();
	return NULL;
}

/* Returns the witness, or -1. */
static pid_t begin_in_our_memory(const struct task *task)
{
	struct beginning beginning = {.task = *task, .pid = -1};
	pthread_attr_t attr;
	pthread_t thread;

	sem_init(&beginning.begun, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, stand_by, &beginning) == 0)
		while (sem_wait(&beginning.begun) < 0)
			;
	pthread_attr_destroy(&attr);
	sem_destroy(&beginning.begun);
	return beginning.pid;
}

/* The same. */
static pid_t begin_by_fork(const struct task *task)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (rights_drop_all() < 0 || rights_hide() < 0)
		_exit(125);
	testify(task);
}

static void on_told(struct loop_io *io, uint32_t events)
{
	struct witness *witness = container_of(io, struct witness, io);
	uint8_t numbers[64];
	ssize_t count;

	(void)events;
	while ((count = read(io->fd, numbers, sizeof(numbers))) > 0)
		for (ssize_t i = 0; i < count; i++)
			if (numbers[i] == ANSWER)
				witness->answers++;
			else if (numbers[i] < WITNESS_SIGNALS)
				witness->signals[numbers[i]].seen_ns = loop_now_ns(witness->loop);
	if (count == 0)
		loop_io_del(witness->loop, io);
}

/*
 * Returns false when it is too early: on a busy machine the witness has not run since, and what it
 * would tell is pending. So it is asked, and answers behind that.
 */
static bool decide(struct witness *witness, int sig)
{
	uint64_t came_ns = witness->signals[sig].came_ns, seen_ns = witness->signals[sig].seen_ns;
	bool has_reached = seen_ns + HOLD_MS * NS_PER_MS >= came_ns && seen_ns > 0;
	unsigned long question = witness->signals[sig].question;

	if (!has_reached && witness->pid > 0 && witness->signals[sig].looks++ < LOOKS_MAX &&
		(question == 0 || question > witness->answers)) {
		if (question == 0 && kill(witness->pid, ASKING) == 0)
			witness->signals[sig].question = ++witness->questions;
		return false;
	}
	witness->signals[sig].came_ns = witness->signals[sig].seen_ns = 0;
	witness->signals[sig].question = witness->signals[sig].looks = 0;
	witness->on_signal(witness->owner, sig, witness->signals[sig].sender, has_reached);
	return true;
}

static void on_time(struct loop_timer *timer)
{
	struct witness *witness = container_of(timer, struct witness, timer);

	const uint64_t now_ns = loop_now_ns(witness->loop);
	uint64_t next_ms = 0;

	on_told(&witness->io, 0);
	for (int sig = 1; sig < WITNESS_SIGNALS; sig++) {
		uint64_t came_ns = witness->signals[sig].came_ns;
		uint64_t left_ms = clock_ms_until(came_ns + HOLD_MS * NS_PER_MS, now_ns);

		if (came_ns != 0 && left_ms == 0 && !decide(witness, sig))
			left_ms = LOOK_MS;
		if (left_ms != 0 && came_ns != 0 && (next_ms == 0 || left_ms < next_ms))
			next_ms = left_ms;
	}
	if (next_ms > 0)
		loop_timer_set(witness->loop, timer, next_ms);
}

void witness_start(
	struct witness *witness, struct loop *loop, bool has_own_session, bool shares_memory)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	witness->loop = loop;
	witness->has_own_session = has_own_session;
	witness->timer.on_expired = on_time;
	witness->io = (struct loop_io){ends[0], on_told};
	const struct task task = {ends[1], has_own_session, getpid()};
	if (loop_io_add(loop, &witness->io, EPOLLIN) < 0)
		witness->pid = -1;
	else if (shares_memory && CLONE_CAN_SHARE)
		witness->pid = begin_in_our_memory(&task);
	else
		witness->pid = begin_by_fork(&task);
	close(ends[1]);
	if (witness->pid < 0)
		witness_stop(witness);
}

/* What reaches the witness reaches @command as well, or did while it was there. */
static bool is_beside(const struct witness *witness, pid_t command)
{
	pid_t group = witness->has_own_session ? command : getpgid(witness->pid);
	pid_t now = command > 0 ? getpgid(command) : 0;

	return now == group || now < 0;
}

bool witness_hold(struct witness *witness, int sig, pid_t sender, pid_t command)
{
	if (witness->pid <= 0 || !is_held(sig) || !is_beside(witness, command))
		return false;
	if (witness->signals[sig].came_ns != 0)
		return true; /* two that come so close are one, as for the kernel */
	witness->signals[sig].came_ns = loop_now_ns(witness->loop);
	witness->signals[sig].sender = sender;
	if (!loop_timer_is_armed(&witness->timer))
		loop_timer_set(witness->loop, &witness->timer, HOLD_MS);
	return true;
}

bool witness_holds(const struct witness *witness, int sig)
{
	return witness->signals[sig].came_ns != 0;
}

bool witness_on_death(struct witness *witness, pid_t pid)
{
	if (pid != witness->pid)
		return false;
	witness->pid = 0;
	return true;
}

void witness_stop(struct witness *witness)
{
	if (witness->loop) {
		loop_timer_cancel(witness->loop, &witness->timer);
		loop_io_del(witness->loop, &witness->io);
	}
	fd_close(&witness->io.fd);
	if (witness->pid > 0)
		tree_kill_child(witness->pid, KILL_MS);
	witness->pid = 0;
}
