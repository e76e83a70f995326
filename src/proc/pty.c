/* SPDX-License-Identifier: Apache-2.0 */
/* proc/pty - a terminal of its own for a command that asks for a password on /dev/tty */
#include "proc/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/list.h"

#define READ_BYTES   1024
#define DRAIN_ROUNDS 64

/* False if there was nothing to read. */
static bool read_some(struct pty *pty)
{
	char bytes[READ_BYTES];
	ssize_t got = read(pty->master.fd, bytes, sizeof(bytes));

	if (got <= 0)
		return false;
	trickle_note(&pty->trickle, got >= TRICKLE_BYTES);
	pty->on_bytes(pty, bytes, (size_t)got);
	return true;
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	(void)events;
	read_some(container_of(io, struct pty, master));
}

/* The slave by its master: /dev/pts may be another namespace's (Linux 4.13). */
static int open_slave(int master)
{
	int locked = 0;

	if (ioctl(master, TIOCSPTLCK, &locked) < 0)
		return -1;
	return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int pty_open(struct pty *pty, struct loop *loop, int like)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_fd_ int slave = master < 0 ? -1 : open_slave(master);
	struct winsize size;

	pty->master = (struct loop_io){master, on_ready};
	int result = slave < 0 ? -errno : loop_io_add(loop, &pty->master, EPOLLIN);
	if (result < 0) {
		fd_close(&pty->master.fd);
		return result;
	}
	if (ioctl(like, TIOCGWINSZ, &size) == 0)
		ioctl(master, TIOCSWINSZ, &size);
	pty->loop = loop;
	pty->slave = fd_take(&slave);
	trickle_begin(&pty->trickle, loop, &pty->master);
	return 0;
}

void pty_close(struct pty *pty)
{
	if (!pty->loop)
		return;
	trickle_end(&pty->trickle);
	loop_io_del(pty->loop, &pty->master);
	fd_close(&pty->slave);
	fd_close(&pty->master.fd);
	pty->loop = NULL;
}

void pty_type(struct pty *pty, const char *bytes, size_t len)
{
	if (pty->loop && write(pty->master.fd, bytes, len) < 0)
		return; /* nobody reads what was typed before */
}

bool pty_hides(const struct pty *pty)
{
	struct termios settings;

	/* of the slave: both ends have one set of them */
	return pty->loop && tcgetattr(pty->slave, &settings) == 0 && !(settings.c_lflag & ECHO);
}

void pty_drain(struct pty *pty)
{
	for (int i = 0; pty->loop && i < DRAIN_ROUNDS; i++)
		if (!read_some(pty))
			return;
}
