/* SPDX-License-Identifier: Apache-2.0 */
/* test_mesh_link - links over sockets, pipes and commands: frames, ends and their reasons */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "count_fds.h"
#include "mesh/link.h"
#include "util/clock.h"
#include "util/fd.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define ROUNDS      5000 /* of a millisecond: then it is in vain */
#define TEXT_BYTES  4096
#define STEPS       4000

struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct children children;
	struct link link;
	/* what was seen since the link was opened */
	size_t frames, rounds, lines, beats, endings, ends;
	char text[TEXT_BYTES]; /* of the last message */
	char line[TEXT_BYTES]; /* the last one of stderr */
	bool restarts;         /* open it again in on_end, by what is below */
	char *const *argv;
	uint64_t seed;
};

static struct bed *bed_of(struct link *link)
{
	return container_of(link, struct bed, link);
}

static void on_frame(struct link *link, struct frame *frame)
{
	struct bed *bed = bed_of(link);

	bed->frames++;
	assert_true(link->state != LINK_CLOSED);
	assert_true(frame->len < TEXT_BYTES);
	memcpy(bed->text, frame->payload, frame->len);
	bed->text[frame->len] = '\0';
}

static void on_round_end(struct link *link)
{
	bed_of(link)->rounds++;
}

static void on_line(struct link *link, const char *text, size_t len)
{
	struct bed *bed = bed_of(link);

	bed->lines++;
	memcpy(bed->line, text, len);
	bed->line[len] = '\0';
}

static void on_beat(struct link *link)
{
	assert_int_equal(link->state, LINK_OPEN);
	bed_of(link)->beats++;
}

static void on_ending(struct link *link)
{
	struct bed *bed = bed_of(link);

	assert_int_equal(link->state, LINK_ENDING);
	assert_int_equal(bed->endings, 0);
	bed->endings++;
}

static void forget(struct bed *bed)
{
	bed->frames = bed->rounds = bed->lines = bed->beats = bed->endings = bed->ends = 0;
}

static void start(struct bed *bed, char *const *argv)
{
	struct command command = {
		.argv = argv,
		.rights = COMMAND_KEEPS_ALL,
		.is_subreaper = true,
		.restores_pipe = true,
		.death_signal = SIGKILL,
	};

	forget(bed);
	bed->argv = argv;
	getrlimit(RLIMIT_NOFILE, &command.nofile);
	link_start(&bed->link, &bed->children, &command);
}

static void on_end(struct link *link)
{
	struct bed *bed = bed_of(link);

	assert_int_equal(link->state, LINK_CLOSED);
	assert_int_equal(bed->endings, 1);
	assert_int_equal(bed->ends, 0);
	assert_int_equal(link->child.pid, 0);
	assert_false(link->wire.is_open);
	bed->ends++;
	if (!bed->restarts)
		return;
	bed->restarts = false;
	start(bed, bed->argv);
}

static const struct link_ops ops = {
	.on_frame = on_frame,
	.on_round_end = on_round_end,
	.on_line = on_line,
	.on_begun = on_line,
	.on_beat = on_beat,
	.on_ending = on_ending,
	.on_end = on_end,
};

static int fds_before;

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	fds_before = count_fds();
	bed->seed = 7;
	bed->loop = loop_new();
	bed->hub = wire_hub_new(bed->loop);
	children_init(&bed->children, bed->loop);
	bed->link = (struct link){.ops = &ops, .hub = bed->hub, .loop = bed->loop};
	return bed;
}

static void bed_free(struct bed *bed)
{
	link_close(&bed->link);
	assert_int_equal(children_end(&bed->children, ROUNDS), 0);
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
	free(bed);
	assert_int_equal(count_fds(), fds_before);
}

static void run(struct bed *bed)
{
	assert_int_equal(loop_run_once(bed->loop, 1), 0);
	children_reap(&bed->children);
}

#define run_until(bed, condition)                                      \
	do {                                                           \
		for (int ms_ = 0; ms_ < ROUNDS && !(condition); ms_++) \
			run(bed);                                      \
		if (!(condition))                                      \
			fail_msg("in vain: %s", #condition);           \
	} while (0)

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

static bool write_message(int fd, const char *text)
{
	unsigned char bytes[TEXT_BYTES];
	size_t len = strlen(text);

	frame_encode_header(bytes, FRAME_MESSAGE, len);
	memcpy(bytes + FRAME_HEADER_BYTES, text, len);
	return write(fd, bytes, FRAME_HEADER_BYTES + len) == (ssize_t)(FRAME_HEADER_BYTES + len);
}

/* Does @fd give just this message? */
static void expect_message(int fd, const char *text)
{
	unsigned char bytes[TEXT_BYTES];
	struct frame frame;
	struct err err;
	ssize_t got = read(fd, bytes, sizeof(bytes));

	assert_true(got > 0);
	assert_int_equal(frame_decode(bytes, (size_t)got, &frame, &err), got);
	assert_int_equal(frame.len, strlen(text));
	assert_memory_equal(frame.payload, text, frame.len);
}

/* --- sockets and pipes ---------------------------------------------------------------------- */

/* Open the link over a socket or two pipes. @far[0] is for reading from it, @far[1] for writing. */
static void attach(struct bed *bed, bool has_socket, int far[2])
{
	int one[2], other[2];

	forget(bed);
	if (has_socket) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, one), 0);
		far[0] = one[1];
		far[1] = fcntl(one[1], F_DUPFD_CLOEXEC, 3);
		link_attach(&bed->link, one[0], one[0]);
	} else {
		assert_int_equal(pipe2(one, O_CLOEXEC), 0);
		assert_int_equal(pipe2(other, O_CLOEXEC), 0);
		far[0] = other[0];
		far[1] = one[1];
		link_attach(&bed->link, one[0], other[1]);
	}
	assert_int_equal(bed->link.state, LINK_OPEN);
}

static void close_far(int far[2])
{
	fd_close(&far[0]);
	fd_close(&far[1]);
}

static void over_descriptors(void **state)
{
	struct bed *bed = bed_new();
	char byte;
	int far[2];

	attach(bed, *state, far);
	assert_int_equal(wire_send_message(&bed->link.wire, "to you", 6), 0);
	expect_message(far[0], "to you");
	assert_true(write_message(far[1], "to me"));
	run_until(bed, bed->frames == 1);
	assert_string_equal(bed->text, "to me");
	assert_true(bed->rounds > 0);

	/* the other side ends: what it had said comes first */
	assert_true(write_message(far[1], "bye"));
	close_far(far);
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->text, "bye");
	assert_string_equal(bed->link.reason, "closed its output");

	/* it is ended, and can be opened again */
	attach(bed, *state, far);
	assert_int_equal(wire_send_message(&bed->link.wire, "last", 4), 0);
	link_end(&bed->link, 1000);
	assert_int_equal(bed->link.state, LINK_ENDING);
	assert_int_equal(bed->ends, 0); /* never from within */
	link_end(&bed->link, 1000);
	expect_message(far[0], "last");
	assert_int_equal(read(far[0], &byte, 1), 0);
	run_until(bed, bed->ends == 1);
	close_far(far);

	/* no frame, and none behind it; what is wrong first is the reason */
	attach(bed, *state, far);
	assert_int_equal(write(far[1], "oops\n", 5), 5);
	run_until(bed, bed->lines == 1);
	assert_string_equal(bed->line, "oops");
	assert_int_equal(bed->link.state, LINK_OPEN);
	close_far(far);
	run_until(bed, bed->endings == 1);
	link_lose(&bed->link, "too late");
	run_until(bed, bed->ends == 1);
	assert_string_equal(
		bed->link.reason, "at byte 0: expected a frame, found other bytes: \"oops\\x0a\"");
	close_far(far);

	/* the owner's reason; then it is as it was */
	attach(bed, *state, far);
	link_lose(&bed->link, "no %s", "patience");
	assert_int_equal(bed->ends, 0);
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "no patience");
	close_far(far);
	attach(bed, *state, far);
	link_close(&bed->link);
	assert_int_equal(bed->endings + bed->ends, 0);
	close_far(far);
	bed_free(bed);
}

static void no_descriptors(void **state)
{
	struct bed *bed = bed_new();
	int file = open("/dev/null", O_RDWR | O_CLOEXEC); /* epoll takes no such file */

	(void)state;
	link_attach(&bed->link, file, file);
	assert_int_equal(bed->link.state, LINK_ENDING);
	run_until(bed, bed->ends == 1);
	assert_string_equal(
		bed->link.reason, "cannot watch its descriptors: Operation not permitted");
	bed_free(bed);
}

static void beats_and_silence(void **state)
{
	struct bed *bed = bed_new();
	int far[2];

	(void)state;
	attach(bed, true, far);
	link_watch(&bed->link, 1000, 3);
	for (size_t i = 1; i <= 8; i++) {
		/* it says something every other beat, later not at all */
		if (i % 2 == 0 && i < 5) {
			assert_true(write_message(far[1], "here"));
			run_until(bed, bed->frames == i / 2);
		}
		size_t beats = bed->beats;
		clock_ahead_ns += 1000 * NS_PER_MS;
		run(bed);
		run(bed);
		/* heard at the fourth beat, the third one without is the seventh */
		assert_int_equal(bed->beats, i < 7 ? beats + 1 : beats);
		assert_int_equal(bed->endings, i < 7 ? 0 : 1);
	}
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "no answer for 3 s");
	close_far(far);

	/* whoever cannot be asked may be silent for ever */
	attach(bed, true, far);
	link_watch(&bed->link, 1000, 0);
	for (size_t i = 1; i <= 100; i++) {
		clock_ahead_ns += 1000 * NS_PER_MS;
		run_until(bed, bed->beats == i);
	}
	assert_int_equal(bed->link.state, LINK_OPEN);
	close_far(far);
	bed_free(bed);
}

/* --- commands ------------------------------------------------------------------------------- */

#define FRAME "\\102\\000\\000\\006\\000\\002\\000\\000hi" /* for printf(1): a message */

static void reasons_of_commands(void **state)
{
	static const struct {
		char *script;
		size_t frames, lines;
		const char *reason;
	} rows[] = {
		{"exit 0", 0, 0, "ended with status 0"},
		{"echo one >&2; echo two >&2; exit 3", 0, 2, "ended with status 3"},
		{"kill -9 $$", 0, 0, "was ended by signal 9 (Killed)"},
		{"echo Welcome; exec >&-; exec sleep 1000", 0, 1,
			"at byte 0: expected a frame, found other bytes: \"Welcome\\x0a\""},
		{"echo Welcome; exit 5", 0, 1,
			"at byte 0: expected a frame, found other bytes: \"Welcome\\x0a\"; it "
			"ended with status 5"},
		/* a banner, a prompt without an end, and frames */
		{"echo Bye-bye B; printf '# " FRAME "'; exit 4", 1, 2, "ended with status 4"},
		/* last words */
		{"printf '" FRAME "'; exit 4", 1, 0, "ended with status 4"},
		{"printf '" FRAME FRAME "\\102\\000'; exit 4", 2, 0,
			"at byte 22: it ended within a frame; it ended with status 4"},
		/* SIGKILL: it closes its output, and does not end */
		{"exec >&-; exec sleep 1000", 0, 0, "closed its output"},
		{"trap '' TERM; echo no frame; exec >&-; while :; do sleep 1000; done", 0, 1,
			"at byte 0: expected a frame, found other bytes: \"no frame\\x0a\""},
		/* what it leaves behind holds its streams for a moment only */
		{"sleep 1000 & exit 6", 0, 0, "ended with status 6"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bed *bed = bed_new();

		start(bed, (char *[]){"sh", "-c", rows[i].script, NULL});
		assert_int_equal(bed->link.state, LINK_OPEN);
		run_until(bed, bed->ends == 1);
		assert_string_equal(bed->link.reason, rows[i].reason);
		assert_int_equal(bed->frames, rows[i].frames);
		assert_int_equal(bed->lines, rows[i].lines);
		bed_free(bed);
	}
}

/* What it left holds its streams, and nobody ends that: last words are not waited for for ever. */
static void streams_that_stay_open(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	start(bed, (char *[]){"sh", "-c", "printf '" FRAME "'; sleep 1000 & exit 6", NULL});
	for (int ms = 0; ms < ROUNDS && bed->ends == 0; ms++)
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	assert_int_equal(bed->ends, 1);
	assert_int_equal(bed->frames, 1);
	assert_string_equal(bed->link.reason, "ended with status 6");
	bed_free(bed);
}

static void over_commands(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	start(bed, (char *[]){"nswrap-no-such-program", NULL});
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason,
		"cannot be started: nswrap-no-such-program: No such file or directory");
	start(bed, NULL);
	assert_int_equal(bed->link.state, LINK_ENDING);
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "no memory");

	start(bed, (char *[]){"true", NULL});
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "ended with status 0");

	start(bed, (char *[]){"cat", NULL});
	assert_int_equal(wire_send_message(&bed->link.wire, "there and back", 14), 0);
	run_until(bed, bed->frames == 1);
	assert_string_equal(bed->text, "there and back");
	link_kill(&bed->link); /* it is not ending */
	assert_int_equal(wire_send_message(&bed->link.wire, "again", 5), 0);
	run_until(bed, bed->frames == 2);
	/* its stdin ends, and so it ends, long before its time */
	link_end(&bed->link, 1000 * MS_PER_S);
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "ended with status 0");

	/* one that does not is killed after its time, or when the owner likes */
	start(bed, (char *[]){"sleep", "1000", NULL});
	link_end(&bed->link, 10);
	run_until(bed, bed->ends == 1);
	start(bed, (char *[]){"sleep", "1000", NULL});
	link_end(&bed->link, 1000 * MS_PER_S);
	link_kill(&bed->link);
	run_until(bed, bed->ends == 1);

	/* it may be opened again in on_end */
	start(bed, (char *[]){"true", NULL});
	bed->restarts = true;
	run_until(bed, !bed->restarts);
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->link.reason, "ended with status 0");

	/* closed at once: no callback, and nothing is left */
	start(bed, (char *[]){"sleep", "1000", NULL});
	link_close(&bed->link);
	run_until(bed, children_reap(&bed->children) == 0);
	assert_int_equal(bed->endings + bed->ends, 0);
	bed_free(bed);
}

/* Sockets for ourselves and what is called nswrap, pipes for the rest. */
static void streams_by_name(void **state)
{
	char dir[] = "/tmp/nswrap-link-XXXXXX", path[64];
	static char *const script = "[ -S /dev/stdin ] && echo sockets >&2 || echo pipes >&2";
	struct bed *bed = bed_new();

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/nswrap", dir);
	assert_int_equal(symlink("/bin/sh", path), 0);
	start(bed, (char *[]){path, "-c", script, NULL});
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->line, "sockets");
	start(bed, (char *[]){"sh", "-c", script, NULL});
	run_until(bed, bed->ends == 1);
	assert_string_equal(bed->line, "pipes");
	unlink(path);
	rmdir(dir);
	bed_free(bed);
}

/* --- at random ------------------------------------------------------------------------------ */

/*
 * What may be: each link that was opened has one on_ending and one on_end, in this order, and
 * nothing comes after it (the callbacks look); frames come as they were sent, all of them unless we
 * closed the link ourselves.
 */
static void at_random(void **state)
{
	static char *const cat[] = {"cat", NULL};
	struct bed *bed = bed_new();
	int far[2] = {-1, -1};
	size_t sent = 0, opened = 0;
	bool is_command = false, is_ours = false;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		struct link *link = &bed->link;

		switch (random_below(bed, 12)) {
		case 0: /* open it again */
			if (link->state != LINK_CLOSED)
				break;
			close_far(far);
			sent = 0;
			is_ours = false;
			is_command = random_below(bed, 4) == 0;
			opened++;
			if (is_command)
				start(bed, cat);
			else
				attach(bed, random_below(bed, 2), far);
			break;
		case 1:
			link_end(link, random_below(bed, 20));
			is_ours = true;
			break;
		case 2:
			if (random_below(bed, 2))
				link_lose(link, "a reason");
			is_ours = true;
			break;
		case 3:
			link_kill(link);
			break;
		case 4:
			if (!is_command && random_below(bed, 2))
				close_far(far);
			break;
		case 5:
			if (link->state == LINK_OPEN)
				link_watch(link, 1 + random_below(bed, 3), 0);
			break;
		default:
			if (is_command && link->state == LINK_OPEN)
				sent += wire_send_message(&link->wire, "x", 1) == 0;
			else if (!is_command && far[1] >= 0)
				sent += write_message(far[1], "x");
			break;
		}
		for (uint32_t n = random_below(bed, 3); n > 0; n--)
			run(bed);
		assert_true(bed->frames <= sent);
		if (link->state == LINK_CLOSED && !is_ours)
			assert_int_equal(bed->frames, opened > 0 ? sent : 0);
		if (link->state == LINK_CLOSED && opened > 0)
			sent = bed->frames; /* what comes later is read by nobody */
	}
	assert_true(opened > 50);
	close_far(far);
	bed_free(bed);
}

int main(void)
{
	static int socket;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(over_descriptors),
		{"over_descriptors (socket)", over_descriptors, NULL, NULL, &socket},
		cmocka_unit_test(no_descriptors),
		cmocka_unit_test(beats_and_silence),
		cmocka_unit_test(reasons_of_commands),
		cmocka_unit_test(streams_that_stay_open),
		cmocka_unit_test(over_commands),
		cmocka_unit_test(streams_by_name),
		cmocka_unit_test(at_random),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
