/* SPDX-License-Identifier: Apache-2.0 */
/* conn/lookup - the addresses of a host name, without waiting for them */
#include "conn/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lookup {
	struct loop *loop;
	struct loop_io io; /* jobs that are done come out here, as pointers */
	int done_fd;       /* and go in here */
	atomic_uint users; /* the threads, and who may call lookup_free; the last one frees it */
	struct list jobs;  /* oldest first */
	unsigned running;
};

/* A name that is looked up or waits for a thread. */
struct job {
	struct lookup *lookup;
	struct list link; /* this, `queries` and `is_running` are the loop's alone */
	struct list queries;
	bool is_running;
	int result;
	struct lookup_answer answer;
	char name[];
};

static void leave(struct lookup *lookup)
{
	struct job *job;

	if (atomic_fetch_sub(&lookup->users, 1) > 1)
		return;
	while (read(lookup->io.fd, &job, sizeof(job)) == sizeof(job))
		free(job);
	close(lookup->io.fd);
	close(lookup->done_fd);
	free(lookup);
}

/* --- in a thread ------------------------------------------------------------------------------ */

static int result_of(int eai)
{
	switch (eai) {
	case 0:
		return 0;
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -ENOENT;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return errno > 0 ? -errno : -EIO;
	default:
		return -EAGAIN;
	}
}

static void fill_answer(struct lookup_answer *answer, const struct addrinfo *list)
{
	for (; list && answer->count < LOOKUP_ADDRS_MAX; list = list->ai_next)
		if ((list->ai_family == AF_INET || list->ai_family == AF_INET6) &&
			list->ai_addrlen <= sizeof(answer->addrs[0]))
			memcpy(&answer->addrs[answer->count++], list->ai_addr, list->ai_addrlen);
}

static void *run_job(void *arg)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct job *job = arg;
	struct lookup *lookup = job->lookup;
	struct addrinfo *list = NULL;

	job->result = result_of(getaddrinfo(job->name, NULL, &hints, &list));
	if (job->result == 0) {
		fill_answer(&job->answer, list);
		freeaddrinfo(list);
		if (job->answer.count == 0)
			job->result = -ENOENT;
	}
	/* there is room for more jobs than threads */
	if (write(lookup->done_fd, &job, sizeof(job)) < 0)
		abort();
	leave(lookup);
	return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */

static int start_job(struct job *job)
{
	struct lookup *lookup = job->lookup;
	sigset_t all, before;
	pthread_t thread;

	atomic_fetch_add(&lookup->users, 1);
	/* signals of the process stay with the loop's thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&thread, NULL, run_job, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0) {
		leave(lookup);
		return -code;
	}
	pthread_detach(thread);
	job->is_running = true;
	lookup->running++;
	return 0;
}

static struct job *job_new(struct lookup *lookup, const char *name)
{
	size_t len = strlen(name) + 1;
	struct job *job = calloc(1, sizeof(*job) + len);

	if (!job)
		return NULL;
	job->lookup = lookup;
	memcpy(job->name, name, len);
	list_init(&job->queries);
	list_add_last(&lookup->jobs, &job->link);
	return job;
}

static void job_free(struct job *job)
{
	list_del(&job->link);
	free(job);
}

/* Tell everyone who asks for it, and forget it; who asks again from there gets a fresh look-up. */
static void answer_all(struct job *job)
{
	const struct lookup_answer *answer = job->result == 0 ? &job->answer : NULL;

	list_del(&job->link);
	while (!list_is_empty(&job->queries)) {
		struct lookup_query *query = list_first(&job->queries, struct lookup_query, link);

		lookup_cancel(query);
		query->on_answer(query, job->result, answer);
	}
	free(job);
}

/* Names that wait for a thread have their turn; those that nobody wants any more are forgotten. */
static void start_waiting(struct lookup *lookup)
{
	struct list *at = lookup->jobs.next;

	while (at != &lookup->jobs && lookup->running < LOOKUP_THREADS) {
		struct job *job = container_of(at, struct job, link);

		at = at->next;
		if (job->is_running)
			continue;
		if (list_is_empty(&job->queries)) {
			job_free(job);
			continue;
		}
		job->result = start_job(job);
		if (job->result < 0) {
			answer_all(job);
			at = lookup->jobs.next;
		}
	}
}

static void on_done(struct loop_io *io, uint32_t events)
{
	struct lookup *lookup = container_of(io, struct lookup, io);
	struct job *job;

	(void)events;
	if (read(io->fd, &job, sizeof(job)) != sizeof(job))
		return;
	lookup->running--;
	answer_all(job);
	start_waiting(lookup);
}

struct lookup *lookup_new(struct loop *loop)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int ends[2];

	if (!lookup)
		return NULL;
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(lookup);
		return NULL;
	}
	lookup->loop = loop;
	lookup->io = (struct loop_io){ends[0], on_done};
	lookup->done_fd = ends[1];
	lookup->users = 1;
	list_init(&lookup->jobs);
	int result = loop_io_add(loop, &lookup->io, EPOLLIN);
	if (result < 0) {
		leave(lookup);
		errno = -result;
		return NULL;
	}
	return lookup;
}

void lookup_free(struct lookup *lookup)
{
	if (!lookup)
		return;
	loop_io_del(lookup->loop, &lookup->io);
	list_each_safe (at, following, &lookup->jobs) {
		struct job *job = container_of(at, struct job, link);

		if (!job->is_running)
			job_free(job);
	}
	leave(lookup);
}

static struct job *find(const struct lookup *lookup, const char *name)
{
	list_each (at, &lookup->jobs) {
		struct job *job = container_of(at, struct job, link);

		if (strcmp(job->name, name) == 0)
			return job;
	}
	return NULL;
}

int lookup_start(struct lookup *lookup, const char *name, struct lookup_query *query)
{
	struct job *job = find(lookup, name);

	if (!job) {
		job = job_new(lookup, name);
		if (!job)
			return -ENOMEM;
		int result = lookup->running < LOOKUP_THREADS ? start_job(job) : 0;
		if (result < 0) {
			job_free(job);
			return result;
		}
	}
	list_add_last(&job->queries, &query->link);
	return 0;
}

void lookup_cancel(struct lookup_query *query)
{
	list_del(&query->link);
}
