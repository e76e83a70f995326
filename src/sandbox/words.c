/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/words - what processes beside COMMAND say, and the one that has the caller's stderr */
#include "sandbox/words.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

static void say_left_out(struct words *words)
{
	const uint64_t left_out = repeats_end(&words->repeats);

	if (left_out > 0)
		log_warning("%s: lines like these left out in a minute: %llu", words->who,
			(unsigned long long)left_out);
}

static void on_minute(struct loop_timer *timer)
{
	say_left_out(container_of(timer, struct words, minute));
}

/* Is it one too many? What is asked for by -v is not. */
static bool is_left_out(struct words *words, enum log_level level, const char *shown)
{
	if (!words->limits || (level != LOG_WARNING && level != LOG_NOTICE))
		return false;
	if (!loop_timer_is_armed(&words->minute))
		loop_timer_set(words->lines.loop, &words->minute, REPEATS_MS);
	return !repeats_take(
		&words->repeats, shown, level == LOG_WARNING ? WORDS_WARNINGS : WORDS_NOTICES);
}

static void on_line(struct lines *lines, const char *text, size_t len)
{
	struct words *words = container_of(lines, struct words, lines);
	size_t prefix = strlen(LOG_PREFIX);

	bool is_marked;
	enum log_level level = log_read_mark(text, len, &is_marked);
	if (is_marked) {
		text += LOG_MARK_LEN;
		len -= LOG_MARK_LEN;
	}
	/* a byte 0 would hide the rest; escaped it is seen */
	char shown[4 * LINES_LINE_MAX + 1];
	bool is_ours = len >= prefix && memcmp(text, LOG_PREFIX, prefix) == 0;
	log_escape(
		text + (is_ours ? prefix : 0), len - (is_ours ? prefix : 0), shown, sizeof(shown));
	const struct advice *advice = words->advises && !is_ours ? advice_of_line(text, len) : NULL;
	bool is_known = advice && words->advice && strcmp(advice->text, words->advice->text) == 0;
	/* what a link's command says is for the caller to judge */
	if ((is_ours || !words->advises) &&
		is_left_out(words, is_ours ? level : LOG_WARNING, shown))
		return;
	if (is_ours)
		log_pass(level, shown);
	else if (!is_known && words->advises && words->limits)
		log_line(LOG_ERROR, "%s: %s", words->who, shown); /* its stderr was the caller's */
	else if (!is_known)
		log_warning("%s: %s", words->who, shown);
	if (!advice || is_known)
		return;
	log_error("%s: %s", words->who, advice->text);
	words->advice = advice;
}

static void on_end(struct lines *lines)
{
	(void)lines; /* who waits for it looks whether they are open (lines_is_open) */
}

int words_open(struct words *words, const char *who, struct loop *loop, struct err *err)
{
	int ends[2];

	words->who = who;
	words->advice = NULL;
	words->repeats = (struct repeats){.nkinds = 0};
	words->minute = (struct loop_timer){.on_expired = on_minute};
	words->lines = (struct lines){.on_line = on_line, .on_end = on_end};
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, errno, "cannot make a pipe for what the %s says", who);
	words->write_fd = ends[1];
	int result = lines_open(&words->lines, loop, ends[0]);
	if (result < 0)
		fd_close(&words->write_fd);
	return result < 0 ? err_sys(err, -result, "cannot hear the %s", who) : 0;
}

void words_speak(const struct words *words)
{
	if (words->write_fd >= 0)
		dup2(words->write_fd, STDERR_FILENO);
	log_set_fd(STDERR_FILENO);
	log_mark_lines();
}

void words_close(struct words *words)
{
	fd_close(&words->write_fd);
	lines_drain(&words->lines);
	lines_close(&words->lines);
	if (!words->lines.loop)
		return;
	loop_timer_cancel(words->lines.loop, &words->minute);
	say_left_out(words);
}
