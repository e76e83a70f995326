/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/tenure - of the agents of one host of one mesh the last one stays, and none for ever
 */
#include "mesh/agent/tenure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/identity.h"
#include "control/places.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define BEATS        4 /* in which silence is noticed */
#define IDENTITY_MAX 64
#define NAME_PREFIX  "agent-"
#define NAME_BYTES   (sizeof(NAME_PREFIX) + IDENTITY_MAX)
#define KILL_MS      2000
#define RIVALS_MAX   8 /* that come at the same time */

/* --- silence ------------------------------------------------------------------------------ */

static void set_timer(struct tenure *tenure)
{
	loop_timer_set(tenure->loop, &tenure->timer, tenure->silence_s * MS_PER_S / BEATS);
}

static void on_beat(struct loop_timer *timer)
{
	struct tenure *tenure = container_of(timer, struct tenure, timer);

	if (tenure->wire->bytes_in != tenure->heard_bytes) {
		tenure->heard_bytes = tenure->wire->bytes_in;
		tenure->silent = 0;
	} else if (++tenure->silent == BEATS) {
		tenure->on_silence(tenure);
		return;
	}
	set_timer(tenure);
}

static void watch(struct tenure *tenure, uint16_t silence_s)
{
	tenure->timer.on_expired = on_beat;
	tenure->silent = 0;
	tenure->heard_bytes = tenure->wire->bytes_in;
	if (silence_s == tenure->silence_s)
		return;
	tenure->silence_s = silence_s;
	if (silence_s > 0)
		set_timer(tenure);
	else
		loop_timer_cancel(tenure->loop, &tenure->timer);
}

/* --- takeover ----------------------------------------------------------------------------- */

/* It ends in the name of a file. */
static bool is_identity(const char *text)
{
	size_t len = strspn(text, "0123456789abcdef");

	return len > 0 && len <= IDENTITY_MAX && text[len] == '\0';
}

/* Kill who listens at @name. Returns 1 if there was one, 0, or -errno: -EPERM if it is none of
 * ours. */
static int end_former(int dir_fd, const char *name, struct err *err)
{
	_cleanup_fd_ int sock = unixsock_connect(dir_fd, name, SOCK_SEQPACKET);

	if (sock == -EAGAIN)
		return err_set(err, EAGAIN, "its socket takes no more clients");
	if (sock < 0) /* stale, or none */
		return 0;
	int result = identity_kill(sock, KILL_MS, err);
	return result < 0 ? result : 1;
}

/* Who comes at the same time may have been faster: the later one stays. */
static int claim(
	struct tenure *tenure, const struct places *places, const char *name, struct err *err)
{
	int dir_fd = places->items[0].dir_fd, fd = -EADDRINUSE, former = 0;

	for (int round = 0; round < RIVALS_MAX && fd == -EADDRINUSE; round++) {
		for (size_t i = 0; i < places->count; i++) {
			int result = end_former(places->items[i].dir_fd, name, err);
			if (result < 0)
				return result;
			former += result;
		}
		fd = unixsock_listen(dir_fd, name, SOCK_SEQPACKET, &tenure->id);
	}
	if (former > 0)
		log_notice("has taken over from an agent whose link was lost");
	if (fd < 0)
		return err_sys(err, -fd, "cannot make a socket");
	tenure->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	tenure->hub_fd = places->hub < PLACES_MAX
				 ? fcntl(places->items[places->hub].dir_fd, F_DUPFD_CLOEXEC, 3)
				 : -1;
	tenure->listen_fd = fd;
	return former > 0;
}

static int take_over(struct tenure *tenure, const char *identity, struct err *err)
{
	const struct places_roots roots = {getenv("XDG_RUNTIME_DIR"), "/run/user", "/tmp"};
	char name[NAME_BYTES];
	struct places *places;
	struct err reason;

	if (!is_identity(identity))
		return err_set(err, EINVAL, "identity: expected 1 to %d digits of 0-9 and a-f",
			IDENTITY_MAX);
	snprintf(name, sizeof(name), NAME_PREFIX "%s", identity);
	if (tenure->listen_fd >= 0 && strcmp(tenure->id.name, name) == 0)
		return 0;
	tenure_end(tenure);
	places = malloc(sizeof(*places)); /* paths */
	if (!places)
		return err_sys(err, ENOMEM, "cannot look for other agents");
	int result = places_open(&roots, places, &reason);
	if (result == 0) {
		result = claim(tenure, places, name, &reason);
		places_close(places);
	}
	free(places);
	/* it is not for want of this that it cannot serve */
	if (result < 0)
		log_warning("agents of this host are not taken over from: %s", reason.text);
	return result > 0;
}

/* --- both --------------------------------------------------------------------------------- */

int tenure_begin(struct tenure *tenure, const struct mesh_config *config, struct err *err)
{
	int result = config->identity ? take_over(tenure, config->identity, err) : 0;

	if (result >= 0)
		watch(tenure, config->silence_s);
	return result;
}

void tenure_end(struct tenure *tenure)
{
	if (tenure->loop)
		loop_timer_cancel(tenure->loop, &tenure->timer);
	tenure->silence_s = 0;
	if (tenure->listen_fd < 0)
		return;
	unixsock_remove(tenure->dir_fd, &tenure->id);
	fd_close(&tenure->listen_fd);
	fd_close(&tenure->dir_fd);
	fd_close(&tenure->hub_fd);
}
