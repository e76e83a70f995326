/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/resolver - the name server settings of guest and net process, kept as the host's are */
#include "sandbox/resolver.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "net/resolv.h"
#include "sandbox/view.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define WATCH_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE)

static void read_host(struct resolver *resolver)
{
	const struct sandbox_config *config = resolver->config;
	const struct net_plan *plan = &config->net;
	char *text = malloc(RESOLV_TEXT_MAX_BYTES);
	struct resolv_conf host;

	if (!text)
		return;
	ssize_t len = fd_read_file(RESOLV_CONF, text, RESOLV_TEXT_MAX_BYTES);
	resolv_parse(text, len > 0 ? (size_t)len : 0, &host);
	free(text);
	resolv_format_guest(&host, &plan->dns, plan->has_ipv6 ? &plan->dns6 : NULL,
		resolver->guest_text, sizeof(resolver->guest_text));
	resolv_format_net(&host, config->dns_override.family ? &config->dns_override : NULL,
		resolver->net_text, sizeof(resolver->net_text));
}

static void write_net_file(struct resolver *resolver)
{
	if (resolver->net_file < 0)
		return;
	int result = view_rewrite(resolver->net_file, resolver->net_text);
	if (result < 0)
		log_info("cannot renew the name servers: %s", strerror(-result));
}

static void on_change(struct loop_io *io, uint32_t events)
{
	struct resolver *resolver = container_of(io, struct resolver, watch);
	char discard[4096], before[RESOLVER_TEXT_BYTES];

	(void)events;
	while (read(io->fd, discard, sizeof(discard)) > 0)
		;
	memcpy(before, resolver->net_text, sizeof(before));
	read_host(resolver);
	if (strcmp(before, resolver->net_text) != 0)
		write_net_file(resolver);
}

void resolver_init(
	struct resolver *resolver, const struct sandbox_config *config, struct loop *loop)
{
	*resolver = (struct resolver){
		.config = config, .loop = loop, .net_file = -1, .watch = {-1, on_change}};
	read_host(resolver);
}

void resolver_fini(struct resolver *resolver)
{
	fd_close(&resolver->net_file);
	loop_io_del(resolver->loop, &resolver->watch);
	fd_close(&resolver->watch.fd);
}

void resolver_watch(struct resolver *resolver)
{
	char real[PATH_MAX];
	const struct sandbox_config *config = resolver->config;

	if (!config->net.has_outbound || !config->net.has_dns || config->dns_override.family)
		return;
	resolver->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (resolver->watch.fd < 0)
		return;
	/* directories: the file is usually replaced, not rewritten; a link may be turned, too */
	inotify_add_watch(resolver->watch.fd, "/etc", WATCH_EVENTS);
	if (realpath(RESOLV_CONF, real)) {
		*strrchr(real, '/') = '\0';
		inotify_add_watch(resolver->watch.fd, real, WATCH_EVENTS);
	}
	loop_io_add(resolver->loop, &resolver->watch, EPOLLIN);
}

void resolver_set_net_file(struct resolver *resolver, int file)
{
	fd_close(&resolver->net_file);
	resolver->net_file = file;
	/* the host's file may have changed since that process was started */
	write_net_file(resolver);
}
