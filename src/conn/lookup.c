/* SPDX-License-Identifier: Apache-2.0 */
/* conn/lookup - the addresses of a host name, without waiting for them */
#include "conn/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "util/fd.h"
#include "util/list.h"

/* What a thread works on; its own until it is in the mailbox. */
struct job {
	struct mailbox *mailbox;
	struct asked *asked; /* only for the loop */
	struct job *next;
	int result;
	struct lookup_answer answer;
	char name[];
};

struct mailbox {
	pthread_mutex_t lock;
	int event_fd;
	struct job *done;
	unsigned threads;
	bool is_abandoned; /* nobody reads it; the last thread frees it */
};

/* A name that is looked up or waits for a thread. */
struct asked {
	struct list link;
	struct list queries;
	bool is_running;
	const char *name; /* behind the struct */
};

struct lookup {
	struct loop *loop;
	struct loop_io io;
	struct mailbox *mailbox;
	struct list names; /* oldest first */
	unsigned running;
};

static void mailbox_free(struct mailbox *mailbox)
{
	fd_close(&mailbox->event_fd);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
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
	struct mailbox *mailbox = job->mailbox;
	struct addrinfo *list = NULL;

	job->result = result_of(getaddrinfo(job->name, NULL, &hints, &list));
	if (job->result == 0) {
		fill_answer(&job->answer, list);
		freeaddrinfo(list);
		if (job->answer.count == 0)
			job->result = -ENOENT;
	}
	pthread_mutex_lock(&mailbox->lock);
	mailbox->threads--;
	bool is_abandoned = mailbox->is_abandoned, is_last = mailbox->threads == 0;
	if (!is_abandoned) {
		job->next = mailbox->done;
		mailbox->done = job;
		/* cannot block: the counter is far from its end */
		eventfd_write(mailbox->event_fd, 1);
	}
	pthread_mutex_unlock(&mailbox->lock);
	if (is_abandoned)
		free(job);
	if (is_abandoned && is_last)
		mailbox_free(mailbox);
	return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */

/* Signals of the process stay with the loop's thread. */
static int start_thread(struct job *job)
{
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = pthread_create(&thread, NULL, run_job, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code == 0)
		pthread_detach(thread);
	return -code;
}

static int start_job(struct lookup *lookup, struct asked *asked)
{
	struct mailbox *mailbox = lookup->mailbox;
	size_t len = strlen(asked->name) + 1;
	struct job *job = calloc(1, sizeof(*job) + len);

	if (!job)
		return -ENOMEM;
	job->mailbox = mailbox;
	job->asked = asked;
	memcpy(job->name, asked->name, len);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->threads++;
	pthread_mutex_unlock(&mailbox->lock);
	int result = start_thread(job);
	if (result < 0) {
		pthread_mutex_lock(&mailbox->lock);
		mailbox->threads--;
		pthread_mutex_unlock(&mailbox->lock);
		free(job);
		return result;
	}
	asked->is_running = true;
	lookup->running++;
	return 0;
}

static struct asked *asked_new(struct lookup *lookup, const char *name)
{
	size_t len = strlen(name) + 1;
	struct asked *asked = calloc(1, sizeof(*asked) + len);

	if (!asked)
		return NULL;
	asked->name = memcpy(asked + 1, name, len);
	list_init(&asked->queries);
	list_add_last(&lookup->names, &asked->link);
	return asked;
}

static void asked_free(struct asked *asked)
{
	list_del(&asked->link);
	free(asked);
}

/* Tell everyone who asks for it, and forget it; who asks again from there gets a fresh look-up. */
static void answer_all(struct asked *asked, int result, const struct lookup_answer *answer)
{
	list_del(&asked->link);
	while (!list_is_empty(&asked->queries)) {
		struct lookup_query *query = list_first(&asked->queries, struct lookup_query, link);

		lookup_cancel(query);
		query->on_answer(query, result, answer);
	}
	free(asked);
}

/* Names that wait for a thread have their turn; those that nobody wants any more are forgotten. */
static void start_waiting(struct lookup *lookup)
{
	struct list *at = lookup->names.next;

	while (at != &lookup->names && lookup->running < LOOKUP_THREADS) {
		struct asked *asked = container_of(at, struct asked, link);

		at = at->next;
		if (asked->is_running)
			continue;
		if (list_is_empty(&asked->queries)) {
			asked_free(asked);
			continue;
		}
		int result = start_job(lookup, asked);
		if (result < 0) {
			answer_all(asked, result, NULL);
			at = lookup->names.next;
		}
	}
}

static void on_mail(struct loop_io *io, uint32_t events)
{
	struct lookup *lookup = container_of(io, struct lookup, io);
	struct mailbox *mailbox = lookup->mailbox;
	eventfd_t count;

	(void)events;
	pthread_mutex_lock(&mailbox->lock);
	eventfd_read(io->fd, &count);
	struct job *job = mailbox->done;
	mailbox->done = NULL;
	pthread_mutex_unlock(&mailbox->lock);
	while (job) {
		struct job *next = job->next;

		lookup->running--;
		answer_all(job->asked, job->result, job->result == 0 ? &job->answer : NULL);
		free(job);
		job = next;
	}
	start_waiting(lookup);
}

static struct mailbox *mailbox_new(void)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));

	if (!mailbox)
		return NULL;
	mailbox->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (mailbox->event_fd < 0) {
		free(mailbox);
		return NULL;
	}
	pthread_mutex_init(&mailbox->lock, NULL);
	return mailbox;
}

struct lookup *lookup_new(struct loop *loop)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return NULL;
	lookup->loop = loop;
	list_init(&lookup->names);
	lookup->mailbox = mailbox_new();
	if (!lookup->mailbox) {
		free(lookup);
		return NULL;
	}
	lookup->io = (struct loop_io){lookup->mailbox->event_fd, on_mail};
	int result = loop_io_add(loop, &lookup->io, EPOLLIN);
	if (result < 0) {
		mailbox_free(lookup->mailbox);
		free(lookup);
		errno = -result;
		return NULL;
	}
	return lookup;
}

void lookup_free(struct lookup *lookup)
{
	if (!lookup)
		return;
	struct mailbox *mailbox = lookup->mailbox;
	loop_io_del(lookup->loop, &lookup->io);
	pthread_mutex_lock(&mailbox->lock);
	struct job *job = mailbox->done;
	bool is_last = mailbox->threads == 0;
	mailbox->is_abandoned = true;
	pthread_mutex_unlock(&mailbox->lock);
	while (job) {
		struct job *next = job->next;

		free(job);
		job = next;
	}
	if (is_last)
		mailbox_free(mailbox);
	list_each_safe (at, following, &lookup->names)
		asked_free(container_of(at, struct asked, link));
	free(lookup);
}

static struct asked *find(const struct lookup *lookup, const char *name)
{
	list_each (at, &lookup->names) {
		struct asked *asked = container_of(at, struct asked, link);

		if (strcmp(asked->name, name) == 0)
			return asked;
	}
	return NULL;
}

int lookup_start(struct lookup *lookup, const char *name, struct lookup_query *query)
{
	struct asked *asked = find(lookup, name);

	if (!asked) {
		asked = asked_new(lookup, name);
		if (!asked)
			return -ENOMEM;
		int result = lookup->running < LOOKUP_THREADS ? start_job(lookup, asked) : 0;
		if (result < 0) {
			asked_free(asked);
			return result;
		}
	}
	list_add_last(&asked->queries, &query->link);
	return 0;
}

void lookup_cancel(struct lookup_query *query)
{
	list_del(&query->link);
}
