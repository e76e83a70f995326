/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/installer - bring nswrap-agent to a host whose command leads to a shell, and start
 * it */
#include "mesh/manager/installer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/parse.h"

#define FIRST_MS   600000 /* somebody types a password, a container is pulled */
#define LOOK_MS    10000  /* a shell that has read has answered by then */
#define NEXT_MS    60000
#define WINDOW     (16 * PARCEL_CHUNK_BYTES)
#define TOLD_EVERY 25    /* percent */
#define PIPE_BYTES 65536 /* what a pipe holds, pipe(7) */

static void fail(struct installer *installer, const char *why)
{
	installer_end(installer);
	installer->ops->on_failed(installer->owner, why);
}

/* --- to the shell ------------------------------------------------------------------------------
 */

static void write_more(struct installer *installer)
{
	while (installer->text) {
		ssize_t done = write(installer->out.fd, installer->text + installer->written,
			installer->text_len - installer->written);

		/* a shell that has ended says so by its end, as a command does */
		if (done < 0 && errno != EINTR) {
			loop_io_mod(
				installer->loop, &installer->out, errno == EAGAIN ? EPOLLOUT : 0);
			return;
		}
		installer->written += done > 0 ? (size_t)done : 0;
		if (installer->written < installer->text_len)
			continue;
		free(installer->text);
		installer->text = NULL;
		if (installer->step == INSTALLER_SEND && installer->sent < installer->parcel.len &&
			installer->sent - installer->got < WINDOW) {
			installer->text = parcel_chunk(&installer->parcel, installer->sent);
			installer->text_len = installer->text ? strlen(installer->text) : 0;
			installer->written = 0;
			installer->sent += PARCEL_CHUNK_BYTES;
			if (installer->sent > installer->parcel.len)
				installer->sent = installer->parcel.len;
		}
	}
	loop_io_mod(installer->loop, &installer->out, 0);
}

/* Takes @text over. */
static void say(struct installer *installer, int step, char *text)
{
	if (!text) {
		fail(installer, "no memory");
		return;
	}
	installer->step = step;
	installer->text = text;
	installer->text_len = strlen(text);
	installer->written = 0;
	write_more(installer);
}

/* --- from the shell ----------------------------------------------------------------------------
 */

static void on_machine(struct installer *installer, const char *machine)
{
	struct utsname own;
	struct err err;

	if (machine[0] == '\0' && uname(&own) == 0)
		machine = own.machine;
	if (parcel_open(&installer->parcel, machine, installer->files, &err) < 0)
		fail(installer, err.text);
	else
		say(installer, INSTALLER_FIND, parcel_find(&installer->parcel, installer->nonce));
}

static void on_got(struct installer *installer, const char *number)
{
	char text[96];
	const size_t len = installer->parcel.len;
	unsigned long got;

	if (parse_uint(number, installer->sent, &got) < 0)
		return;
	installer->got = got;
	unsigned percent = (unsigned)(100 * got / len);
	if (percent >= installer->told_percent + TOLD_EVERY) {
		installer->told_percent = percent - percent % TOLD_EVERY;
		snprintf(text, sizeof(text), "installing: %u %% of %zu KiB",
			installer->told_percent, len / 1024);
		installer->ops->on_progress(installer->owner, text);
	}
	if (installer->got == len)
		say(installer, INSTALLER_END, parcel_end());
	else if (!installer->text && installer->sent < len)
		/* what write_more continues from */
		say(installer, INSTALLER_SEND, strdup("\n"));
}

/* Returns whether there is more to be read by us. */
static bool on_answer(struct installer *installer, const char *answer)
{
	char why[600];

	if (strcmp(answer, "start") == 0) {
		installer_end(installer);
		installer->ops->on_done(installer->owner);
		return false;
	}
	if (strncmp(answer, "failed ", 7) == 0) {
		snprintf(why, sizeof(why), "cannot install nswrap-agent: %s", answer + 7);
		fail(installer, why);
		return false;
	}
	if (strncmp(answer, "machine ", 8) == 0 && installer->step == INSTALLER_HELLO)
		on_machine(installer, answer + 8);
	else if (strcmp(answer, "absent") == 0 && installer->step == INSTALLER_FIND)
		say(installer, INSTALLER_BEGIN, parcel_begin(&installer->parcel));
	else if (strcmp(answer, "ready") == 0 && installer->step == INSTALLER_BEGIN)
		say(installer, INSTALLER_SEND, strdup("\n"));
	else if (strncmp(answer, "got ", 4) == 0 && installer->step == INSTALLER_SEND)
		on_got(installer, answer + 4);
	return installer->step != INSTALLER_OFF;
}

/* Where the answer in what has come of a line begins, or NULL. What a terminal sends back has a
 * quote behind the nonce. */
static char *find_answer(struct installer *installer)
{
	char mark[PARCEL_NONCE_BYTES + 1];
	int len = snprintf(mark, sizeof(mark), "%s ", installer->nonce);

	return memmem(installer->line, installer->line_len, mark, (size_t)len);
}

static void pass_on(struct installer *installer, size_t len)
{
	installer->ops->on_text(installer->owner, installer->line, len);
	installer->ops->on_text(installer->owner, "\n", 1);
}

static bool on_line(struct installer *installer)
{
	const size_t nonce_len = strlen(installer->nonce), len = installer->line_len;
	char *line = installer->line, *answer = find_answer(installer);

	installer->line_len = 0;
	if (!answer) {
		pass_on(installer, len);
		/* the first line that is sent has the word, too */
		if (installer->step == INSTALLER_HELLO &&
			memmem(line, len, installer->nonce, nonce_len))
			fail(installer,
				"its shell says back what is sent to it: expected a POSIX "
				"shell and no terminal, so a cmd without -t and with sh, such "
				"as ssh HOST sh");
		return installer->step != INSTALLER_OFF;
	}
	/* a banner without an end; later on it is a prompt, one for each text */
	if (installer->step == INSTALLER_HELLO && answer > line)
		pass_on(installer, (size_t)(answer - line));
	line[len - (line[len - 1] == '\r')] = '\0';
	loop_timer_set(installer->loop, &installer->patience, NEXT_MS);
	return on_answer(installer, answer + nonce_len + 1);
}

/* Of a line that is too long what is before a nonce, or the beginning of one, goes on. */
static bool make_room(struct installer *installer)
{
	const size_t nonce_len = strlen(installer->nonce);
	char *line = installer->line;
	const char *nonce = memmem(line, installer->line_len, installer->nonce, nonce_len);
	size_t len = nonce ? (size_t)(nonce - line) : installer->line_len - nonce_len;

	if (len == 0)
		return on_line(installer);
	installer->ops->on_text(installer->owner, line, len);
	installer->line_len -= len;
	memmove(line, line + len, installer->line_len);
	return true;
}

static void take(struct installer *installer, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\n' && !on_line(installer))
			return;
		if (bytes[i] == '\n')
			continue;
		if (installer->line_len == sizeof(installer->line) - 1 && !make_room(installer))
			return;
		installer->line[installer->line_len++] = bytes[i];
	}
}

static void on_input(struct loop_io *io, uint32_t events)
{
	struct installer *installer = container_of(io, struct installer, in);
	char bytes[PIPE_BYTES];

	(void)events;
	/* once a round, as it may never stop talking; all that is there, as it may have ended */
	ssize_t len = read(io->fd, bytes, sizeof(bytes));
	if (len > 0)
		take(installer, bytes, (size_t)len);
	if (len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	installer_end(installer);
	installer->ops->on_failed(installer->owner, NULL);
}

static void on_room(struct loop_io *io, uint32_t events)
{
	struct installer *installer = container_of(io, struct installer, out);

	/* nobody reads any more: what it said is read to its end */
	if (events & (EPOLLERR | EPOLLHUP))
		loop_io_del(installer->loop, io);
	else
		write_more(installer);
}

/* What waits for a password does not read before it has one, and fish or a python reads for ever.
 */
static void look_for_answer(struct installer *installer)
{
	if (!installer->is_doubted && !installer->text && fd_is_taken(installer->out.fd)) {
		installer->is_doubted = true;
		installer->ops->on_progress(installer->owner,
			"its shell has read what was sent and not answered: does cmd lead to a "
			"POSIX shell, such as ssh HOST sh?");
	}
	loop_timer_set(installer->loop, &installer->patience, LOOK_MS);
}

static void on_patience(struct loop_timer *timer)
{
	struct installer *installer = container_of(timer, struct installer, patience);
	uint64_t waited_ns = loop_now_ns(installer->loop) - installer->began_ns;

	if (installer->step == INSTALLER_HELLO && waited_ns < FIRST_MS * NS_PER_MS) {
		look_for_answer(installer);
		return;
	}
	fail(installer,
		"its shell does not answer: expected cmd to lead to a POSIX shell, such as ssh "
		"HOST sh");
}

/* --- begin and end -----------------------------------------------------------------------------
 */

int installer_begin(struct installer *installer, int in_fd, int out_fd)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) < 0)
		return -errno;
	snprintf(installer->nonce, sizeof(installer->nonce), "nswrap-%016llx",
		(unsigned long long)number);
	installer->in = (struct loop_io){in_fd, on_input};
	installer->out = (struct loop_io){out_fd, on_room};
	installer->patience.on_expired = on_patience;
	installer->line_len = installer->sent = installer->got = 0;
	installer->told_percent = 0;
	installer->is_doubted = false;
	int result = fd_set_nonblock(in_fd, 1);
	if (result == 0)
		result = fd_set_nonblock(out_fd, 1);
	if (result == 0)
		result = loop_io_add(installer->loop, &installer->in, EPOLLIN);
	if (result == 0)
		result = loop_io_add(installer->loop, &installer->out, 0);
	if (result < 0) {
		loop_io_del(installer->loop, &installer->in);
		return result;
	}
	installer->began_ns = loop_now_ns(installer->loop);
	loop_timer_set(installer->loop, &installer->patience, LOOK_MS);
	say(installer, INSTALLER_HELLO, parcel_hello(installer->nonce));
	return 0;
}

void installer_end(struct installer *installer)
{
	if (installer->step == INSTALLER_OFF)
		return;
	if (installer->line_len > 0)
		installer->ops->on_text(installer->owner, installer->line, installer->line_len);
	installer->line_len = 0;
	installer->step = INSTALLER_OFF;
	loop_io_del(installer->loop, &installer->in);
	loop_io_del(installer->loop, &installer->out);
	loop_timer_cancel(installer->loop, &installer->patience);
	free(installer->text);
	installer->text = NULL;
	parcel_free(&installer->parcel);
}
