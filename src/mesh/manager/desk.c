/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/desk - one terminal, and many hosts whose commands ask somebody there */
#include "mesh/manager/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"

#define SOON_MS    100 /* a line that is begun for so long is a prompt */
#define LOOK_MS    200 /* for settings of terminals, and for ours to be in the foreground */
#define READ_BYTES 256

enum want { WANTS_NOTHING, WANTS_MAYBE, WANTS_LATER, WANTS_NOW };

static enum want find_want(const struct desk_asker *asker)
{
	if (asker->len > 0 && asker->is_begun)
		return asker->is_ready ? WANTS_LATER : WANTS_NOW;
	if (!asker->is_ready && pty_hides(&asker->pty))
		return WANTS_NOW;
	if (!asker->is_ready && (asker->len > 0 || asker->has_said))
		return WANTS_MAYBE;
	return WANTS_NOTHING;
}

static bool is_in_foreground(const struct desk *desk)
{
	return desk->io.fd >= 0 && tcgetpgrp(desk->io.fd) == getpgrp();
}

static void look_in(struct desk *desk, unsigned ms)
{
	if (desk->io.fd >= 0)
		loop_timer_set(desk->loop, &desk->timer, ms);
}

/* --- our terminal --------------------------------------------------------------------------- */

/* Byte by byte and without echo; but Ctrl-C and Ctrl-Z are still for us. */
static void make_raw(struct desk *desk)
{
	struct termios raw;

	if (desk->is_raw || tcgetattr(desk->io.fd, &desk->before) < 0)
		return;
	raw = desk->before;
	raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL | IEXTEN);
	raw.c_cc[VQUIT] = _POSIX_VDISABLE;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	/* not TCSADRAIN: somebody may have typed Ctrl-S */
	desk->is_raw = tcsetattr(desk->io.fd, TCSANOW, &raw) == 0;
	tcflush(desk->io.fd, TCIFLUSH);
	loop_io_add(desk->loop, &desk->io, EPOLLIN);
}

/* In the background the settings are somebody else's. */
static void make_as_before(struct desk *desk)
{
	if (!desk->is_raw)
		return;
	loop_io_del(desk->loop, &desk->io);
	if (is_in_foreground(desk))
		tcsetattr(desk->io.fd, TCSANOW, &desk->before);
	desk->is_raw = false;
}

static void show(struct desk *desk)
{
	if (desk->turn)
		display_prompt(desk->display, desk->io.fd, desk->turn->name, desk->turn->line,
			desk->turn->len);
	else
		display_prompt(desk->display, desk->io.fd, NULL, NULL, 0);
}

/* --- turns ---------------------------------------------------------------------------------- */

static void end_turn(struct desk *desk)
{
	if (!desk->turn)
		return;
	desk->turn = NULL;
	make_as_before(desk);
	show(desk);
}

static void begin_turn(struct desk *desk, struct desk_asker *asker)
{
	desk->turn = asker;
	desk->is_in_words = desk->has_answered = false;
	make_raw(desk);
	show(desk);
}

/* Who has the strongest wish, and of those who has waited longest. NULL: nobody has any. */
static struct desk_asker *find_next(struct desk *desk)
{
	struct desk_asker *best = NULL;
	enum want most = WANTS_NOTHING;

	list_each (at, &desk->askers) {
		struct desk_asker *asker = container_of(at, struct desk_asker, in_list);
		enum want want = find_want(asker);

		if (want > most) {
			best = asker;
			most = want;
		}
	}
	return best;
}

/* May @next have the turn that somebody else has? */
static bool gives_way(const struct desk *desk, const struct desk_asker *next)
{
	enum want want = find_want(desk->turn);

	if (want == WANTS_NOTHING)
		return true;
	return next && !desk->is_in_words && (desk->has_answered || find_want(next) > want);
}

static void wait_in_background(struct desk *desk)
{
	list_each (at, &desk->askers) {
		struct desk_asker *asker = container_of(at, struct desk_asker, in_list);
		bool waits = find_want(asker) > WANTS_MAYBE;

		if (waits && !asker->is_waiting)
			asker->on_background(asker);
		asker->is_waiting = waits;
	}
}

static void look(struct desk *desk)
{
	struct desk_asker *next = find_next(desk);
	bool is_one_starting = false;

	list_each (at, &desk->askers)
		is_one_starting |= !container_of(at, struct desk_asker, in_list)->is_ready;
	if (!is_in_foreground(desk)) {
		end_turn(desk);
		wait_in_background(desk);
	} else if (desk->turn != next && (!desk->turn || gives_way(desk, next))) {
		end_turn(desk);
		if (next)
			begin_turn(desk, next);
	}
	if (is_one_starting || next)
		look_in(desk, LOOK_MS);
}

static void on_timer(struct loop_timer *timer)
{
	look(container_of(timer, struct desk, timer));
}

/* --- what is written and typed -------------------------------------------------------------- */

static void finish_line(struct desk_asker *asker)
{
	size_t len = asker->len;

	asker->len = 0;
	asker->is_begun = false;
	if (asker->desk->turn == asker)
		show(asker->desk);
	if (len == 0)
		return;
	lines_take(&asker->lines, asker->line, len);
	lines_take(&asker->lines, "\n", 1);
}

static void on_line(struct lines *lines, const char *text, size_t len)
{
	struct desk_asker *asker = container_of(lines, struct desk_asker, lines);

	asker->on_line(asker, text, len);
}

/* A whole character of UTF-8. */
static void take_back(struct desk_asker *asker)
{
	while (asker->len > 0 && ((unsigned char)asker->line[--asker->len] & 0xc0) == 0x80)
		;
}

static void on_bytes(struct pty *pty, const char *bytes, size_t len)
{
	struct desk_asker *asker = container_of(pty, struct desk_asker, pty);

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\n') {
			asker->has_said |= asker->len > 0;
			finish_line(asker);
		} else if (bytes[i] == '\b') {
			take_back(asker);
		} else if (bytes[i] != '\r' && bytes[i] != '\a') {
			asker->is_begun = true;
			if (asker->len < sizeof(asker->line))
				asker->line[asker->len++] = bytes[i];
		}
	}
	asker->is_begun = asker->is_begun && asker->len > 0;
	if (asker->desk->turn == asker)
		show(asker->desk);
	if (!asker->desk->turn)
		look_in(asker->desk, SOON_MS);
}

/* Nothing is shown of a line that is hidden: it is finished here. */
static void type_line_end(struct desk *desk, struct desk_asker *asker)
{
	bool is_hidden = pty_hides(&asker->pty);

	pty_type(&asker->pty, "\r", 1);
	desk->is_in_words = false;
	desk->has_answered = true;
	asker->has_said = false;
	list_del(&asker->in_list);
	list_add_last(&desk->askers, &asker->in_list);
	if (is_hidden)
		finish_line(asker);
	look_in(desk, SOON_MS);
}

static void on_typed(struct loop_io *io, uint32_t events)
{
	struct desk *desk = container_of(io, struct desk, io);
	char bytes[READ_BYTES];
	ssize_t got = read(io->fd, bytes, sizeof(bytes));

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) { /* hung up, or in the background: SIGTTIN is blocked */
		end_turn(desk);
		look_in(desk, LOOK_MS);
		return;
	}
	/* of what is typed ahead, only a line is for this one */
	for (ssize_t i = 0; i < got && desk->turn; i++) {
		if (bytes[i] == '\r' || bytes[i] == '\n') {
			type_line_end(desk, desk->turn);
			return;
		}
		desk->is_in_words = true;
		pty_type(&desk->turn->pty, &bytes[i], 1);
	}
}

/* --- what others call ----------------------------------------------------------------------- */

void desk_open(struct desk *desk, struct loop *loop, struct display *display)
{
	desk->loop = loop;
	desk->display = display;
	desk->timer.on_expired = on_timer;
	list_init(&desk->askers);
	desk->io = (struct loop_io){
		open("/dev/tty", O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), on_typed};
}

void desk_close(struct desk *desk)
{
	if (!desk->loop || desk->io.fd < 0)
		return;
	end_turn(desk);
	loop_timer_cancel(desk->loop, &desk->timer);
	fd_close(&desk->io.fd);
}

void desk_suspend(struct desk *desk)
{
	end_turn(desk);
}

void desk_resume(struct desk *desk)
{
	/* a shell may have put other settings in force: those to go back to are read anew */
	end_turn(desk);
	look_in(desk, 0);
}

int desk_join(struct desk *desk, struct desk_asker *asker)
{
	asker->pty.on_bytes = on_bytes;
	if (desk->io.fd < 0 || pty_open(&asker->pty, desk->loop, desk->io.fd) < 0)
		return 0;
	asker->desk = desk;
	asker->lines.on_line = on_line;
	lines_begin(&asker->lines, desk->loop);
	asker->len = 0;
	asker->is_begun = asker->has_said = asker->is_waiting = asker->is_ready = false;
	list_add_last(&desk->askers, &asker->in_list);
	if (!loop_timer_is_armed(&desk->timer))
		look_in(desk, LOOK_MS);
	return asker->pty.slave;
}

void desk_leave(struct desk_asker *asker)
{
	struct desk *desk = asker->desk;

	if (!desk)
		return;
	pty_drain(&asker->pty);
	if (desk->io.fd < 0)
		asker->len = 0; /* it is our end: nobody wants to know */
	finish_line(asker);
	list_del(&asker->in_list);
	if (desk->turn == asker)
		end_turn(desk);
	pty_close(&asker->pty);
	asker->desk = NULL;
	asker->is_waiting = false;
	look_in(desk, SOON_MS);
}

int desk_hand_over(struct desk_asker *asker)
{
	int master = asker->desk ? fcntl(asker->pty.master.fd, F_DUPFD_CLOEXEC, 3) : -1;

	desk_leave(asker);
	return master;
}

bool desk_say(struct desk_asker *asker, const char *text, size_t len)
{
	size_t room = sizeof(asker->line) - asker->len;

	if (!asker->desk || asker->is_ready)
		return false;
	memcpy(asker->line + asker->len, text, len < room ? len : room);
	asker->len += len < room ? len : room;
	if (asker->desk->turn == asker)
		show(asker->desk);
	else
		look_in(asker->desk, SOON_MS);
	return true;
}

const char *desk_note(const struct desk_asker *asker)
{
	const struct desk *desk = asker->desk;

	if (!desk || find_want(asker) <= WANTS_MAYBE)
		return "";
	if (desk->turn == asker)
		return "asks at the terminal";
	return desk->turn ? "waits for its turn at the terminal" : "waits for the terminal";
}
