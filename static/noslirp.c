/* SPDX-License-Identifier: Apache-2.0 */
/* noslirp - where libslirp cannot be: Debian has no static archive of it */
#include <errno.h>
#include <libslirp.h>
#include <stddef.h>

/* There is never a stack, so what takes one is never called. */

Slirp *slirp_new(const SlirpConfig *config, const SlirpCb *callbacks, void *opaque)
{
	(void)config, (void)callbacks, (void)opaque;
	errno = ENOSYS;
	return NULL;
}

const char *slirp_version_string(void)
{
	return "none";
}

void slirp_cleanup(Slirp *slirp)
{
	(void)slirp;
}

void slirp_pollfds_fill(Slirp *slirp, uint32_t *timeout, SlirpAddPollCb add_poll, void *opaque)
{
	(void)slirp, (void)timeout, (void)add_poll, (void)opaque;
}

void slirp_pollfds_poll(Slirp *slirp, int select_error, SlirpGetREventsCb get_revents, void *opaque)
{
	(void)slirp, (void)select_error, (void)get_revents, (void)opaque;
}

void slirp_input(Slirp *slirp, const uint8_t *packet, int len)
{
	(void)slirp, (void)packet, (void)len;
}

int slirp_add_hostxfwd(Slirp *slirp, const struct sockaddr *host, socklen_t host_len,
	const struct sockaddr *guest, socklen_t guest_len, int flags)
{
	(void)slirp, (void)host, (void)host_len, (void)guest, (void)guest_len, (void)flags;
	return -1;
}

int slirp_remove_hostxfwd(Slirp *slirp, const struct sockaddr *host, socklen_t host_len, int flags)
{
	(void)slirp, (void)host, (void)host_len, (void)flags;
	return -1;
}
