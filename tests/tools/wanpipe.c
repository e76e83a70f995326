/* SPDX-License-Identifier: Apache-2.0 */
/* tools/wanpipe - run a command with its stdin and stdout behind a simulated long-distance link */
/*
 *   wanpipe [-d DELAY_MS] [-r MBIT_PER_S] [-b BUFFER_KIB] [-s STALL_MS -e STALL_EVERY_MS]
 *           [-k KILL_AFTER_MS] -- COMMAND [ARG...]
 *
 * Bytes are delivered DELAY_MS later (one way, each direction), no faster than the given
 * rate, and never lost or reordered: what a stdio link over ssh looks like. At most
 * BUFFER_KIB is in flight per direction; past that the writer blocks, as on a socket whose
 * buffers are full (default: twice the bandwidth-delay product, at least 256 KiB).
 * With -s and -e the link stops delivering for STALL_MS once every STALL_EVERY_MS, which is
 * what a retransmission timeout of the outer TCP connection looks like from above.
 * With -k the command is killed after that time (a link that breaks).
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 32 * 1024 };

struct chunk {
	uint64_t due_ns;
	size_t len;
	char data[CHUNK];
};

struct pipe_dir {
	int in, out;
	struct chunk *ring;
	size_t cap, head, count;
	bool eof;
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

static uint64_t delay_ns, stall_ns, stall_every_ns, start_ns;
static double ns_per_byte;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t when_ns)
{
	struct timespec t = {.tv_sec = (time_t)(when_ns / 1000000000u),
		.tv_nsec = (long)(when_ns % 1000000000u)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Reads from the writing side and stamps each chunk with its time of delivery. */
static void *take(void *arg)
{
	struct pipe_dir *d = arg;
	uint64_t link_free_ns = now_ns();

	for (;;) {
		pthread_mutex_lock(&d->lock);
		while (d->count == d->cap)
			pthread_cond_wait(&d->changed, &d->lock);
		struct chunk *c = &d->ring[(d->head + d->count) % d->cap];
		pthread_mutex_unlock(&d->lock);

		ssize_t n = read(d->in, c->data, CHUNK);
		uint64_t now = now_ns();

		if (n > 0) {
			if (link_free_ns < now)
				link_free_ns = now;
			link_free_ns += (uint64_t)((double)n * ns_per_byte);
			c->len = (size_t)n;
			c->due_ns = link_free_ns + delay_ns;
		}
		pthread_mutex_lock(&d->lock);
		if (n > 0)
			d->count++;
		else
			d->eof = true;
		pthread_cond_broadcast(&d->changed);
		pthread_mutex_unlock(&d->lock);
		if (n <= 0)
			return NULL;
	}
}

/* Writes each chunk to the reading side when it is due. */
static void *give(void *arg)
{
	struct pipe_dir *d = arg;

	for (;;) {
		pthread_mutex_lock(&d->lock);
		while (d->count == 0 && !d->eof)
			pthread_cond_wait(&d->changed, &d->lock);
		if (d->count == 0) {
			pthread_mutex_unlock(&d->lock);
			close(d->out);
			return NULL;
		}
		struct chunk *c = &d->ring[d->head];
		pthread_mutex_unlock(&d->lock);

		sleep_until(c->due_ns);
		if (stall_every_ns) {
			uint64_t phase = (now_ns() - start_ns) % stall_every_ns;

			if (phase < stall_ns)
				sleep_until(now_ns() + stall_ns - phase);
		}
		for (size_t off = 0; off < c->len;) {
			ssize_t n = write(d->out, c->data + off, c->len - off);

			if (n < 0 && errno != EINTR)
				_exit(0);
			if (n > 0)
				off += (size_t)n;
		}
		pthread_mutex_lock(&d->lock);
		d->head = (d->head + 1) % d->cap;
		d->count--;
		pthread_cond_broadcast(&d->changed);
		pthread_mutex_unlock(&d->lock);
	}
}

static void start(struct pipe_dir *d, int in, int out, size_t buffer_bytes)
{
	pthread_t t;

	d->in = in;
	d->out = out;
	d->cap = buffer_bytes / CHUNK + 1;
	d->ring = calloc(d->cap, sizeof(*d->ring));
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	if (!d->ring || pthread_create(&t, NULL, take, d) || pthread_create(&t, NULL, give, d))
		errx(1, "cannot start a direction of the link");
}

int main(int argc, char **argv)
{
	double mbit = 0, buffer_kib = 0, kill_ms = 0;
	int opt, up[2], down[2], status;

	while ((opt = getopt(argc, argv, "+d:r:b:s:e:k:")) != -1) {
		double v = optarg ? atof(optarg) : 0;

		switch (opt) {
		case 'd':
			delay_ns = (uint64_t)(v * 1e6);
			break;
		case 'r':
			mbit = v;
			break;
		case 'b':
			buffer_kib = v;
			break;
		case 's':
			stall_ns = (uint64_t)(v * 1e6);
			break;
		case 'e':
			stall_every_ns = (uint64_t)(v * 1e6);
			break;
		case 'k':
			kill_ms = v;
			break;
		default:
			return 2;
		}
	}
	if (optind == argc)
		errx(2, "usage: wanpipe [-d ms] [-r mbit] [-b kib] [-s ms -e ms] [-k ms] -- command...");

	size_t buffer_bytes = (size_t)(buffer_kib * 1024);

	ns_per_byte = mbit > 0 ? 8000.0 / mbit : 0;
	if (!buffer_bytes) {
		double bdp = mbit > 0 ? mbit * 125000.0 * (double)delay_ns * 2 / 1e9 : 4e6;

		buffer_bytes = (size_t)(2 * bdp);
		if (buffer_bytes < 256 * 1024)
			buffer_bytes = 256 * 1024;
	}
	start_ns = now_ns();
	signal(SIGPIPE, SIG_IGN);
	if (pipe(up) || pipe(down))
		err(1, "pipe");

	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		dup2(up[0], 0);
		dup2(down[1], 1);
		close(up[0]);
		close(up[1]);
		close(down[0]);
		close(down[1]);
		signal(SIGPIPE, SIG_DFL);
		execvp(argv[optind], argv + optind);
		err(127, "%s", argv[optind]);
	}
	close(up[0]);
	close(down[1]);

	static struct pipe_dir to_command, from_command;

	start(&to_command, 0, up[1], buffer_bytes);
	start(&from_command, down[0], 1, buffer_bytes);
	if (kill_ms > 0) {
		sleep_until(start_ns + (uint64_t)(kill_ms * 1e6));
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	usleep((useconds_t)(delay_ns / 1000 + 100000));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
