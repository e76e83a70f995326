/* SPDX-License-Identifier: Apache-2.0 */
/* util/ready - the line READY=1, for who has left a descriptor for it */
#include "util/ready.h"

#include <errno.h>

#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define LINE "READY=1\n"

/* Returns -EAGAIN if there is no room; else it is told, or cannot be. */
static int try(const struct ready *ready, int wait_ms)
{
	int result = fd_tell(ready->io.fd, LINE, sizeof(LINE) - 1, wait_ms);

	if (result < 0 && result != -EAGAIN)
		log_info("nobody reads --ready-fd");
	return result;
}

static void leave(struct ready *ready)
{
	if (ready->is_owed)
		loop_io_del(ready->loop, &ready->io);
	fd_close(&ready->io.fd);
	ready->is_owed = false;
}

static void on_room(struct loop_io *io, uint32_t events)
{
	struct ready *ready = container_of(io, struct ready, io);

	(void)events;
	if (try(ready, 0) != -EAGAIN)
		leave(ready);
}

void ready_tell(struct ready *ready)
{
	if (ready->io.fd < 0 || ready->is_owed)
		return;
	ready->io.on_ready = on_room;
	/* others may write there as well: what had room has none, and that is no reason to spin */
	ready->is_owed = try(ready, 0) == -EAGAIN &&
			 loop_io_add(ready->loop, &ready->io, EPOLLOUT | EPOLLET) == 0;
	if (!ready->is_owed)
		leave(ready);
}

void ready_end(struct ready *ready, int wait_ms)
{
	if (ready->is_owed && try(ready, wait_ms) == -EAGAIN)
		log_info("nobody reads --ready-fd");
	leave(ready);
}
