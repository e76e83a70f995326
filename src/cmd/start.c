/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/start - what of a sandbox's options this machine settles, just before it is started */
#include "cmd/start.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cmd/ambient.h"
#include "cmd/resolve.h"
#include "net/occupied.h"
#include "util/log.h"
#include "util/parse.h"

static void tell_taken(const char *option, const char *network, bool has_routes)
{
	log_warning(
		"%s %s: this host%s uses it itself, and what %s there cannot be reached from inside",
		option, network, has_routes ? " or a --route" : "", has_routes ? "is" : "it has");
}

/* Where this host has the usual networks itself, or a link leads there, there are others inside. */
static void settle_networks(struct net_plan *plan, const struct sandbox_via *via)
{
	char network[NET_TEXT_BYTES];
	struct occupied occupied;

	if (!plan->has_outbound)
		return;
	if (occupied_read(&occupied) < 0)
		log_info("cannot look at the networks of this host");
	plan->has_routes = via->nnets > 0;
	for (size_t i = 0; i < via->nnets; i++) {
		const struct entrance_net *net = &via->nets[i];

		if (entrance_net_is_four(net))
			occupied_add(
				&occupied, AF_INET, &net->ip.s6_addr[12], net->prefix_len - 96);
		else
			occupied_add(&occupied, AF_INET6, &net->ip, net->prefix_len);
	}
	plan_avoid(plan, &occupied);
	occupied_free(&occupied);
	if (plan->is_taken4)
		tell_taken("--cidr", plan_format4(plan, network), plan->has_routes);
	if (plan->has_ipv6 && plan->is_taken6)
		tell_taken("--cidr6", plan_format6(plan, network), plan->has_routes);
}

static int settle_outwards(struct run_options *options, struct err *err)
{
	struct sandbox_config *config = &options->config;

	if (options->has_x11 && ambient_add_display(config, err) < 0)
		return -err->code;
	for (size_t i = 0; i < config->outwards.count; i++) {
		char text[OUTWARD_TEXT_BYTES];
		struct err reason;

		if (resolve_outward(&config->outwards.items[i], &reason) < 0)
			return err_set(err, reason.code, "-R %s: %s",
				PARSE_SHOWN(outward_format(
					&config->outwards.items[i], text, sizeof(text))),
				reason.text);
	}
	ambient_hint(config);
	return 0;
}

/*
 * Copies: the standard streams are COMMAND's, and are left to it when it runs; and READY=1 closes a
 * descriptor that another option may have, too.
 */
static int settle_told(struct run_options *options, struct err *err)
{
	struct sandbox_config *config = &options->config;
	int *const fds[] = {
		&config->ready_fd, &config->info_fd, &config->alive_fd, &options->log_fd};
	const int ready_fd = config->ready_fd;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (*fds[i] >= 0 && (*fds[i] <= STDERR_FILENO || (i > 0 && *fds[i] == ready_fd)) &&
			(*fds[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) < 0)
			return err_sys(err, errno, "cannot copy a descriptor");
	if (options->log_fd >= 0)
		log_set_fd(options->log_fd);
	return 0;
}

int start_settle(struct run_options *options, struct err *err)
{
	if (settle_told(options, err) < 0)
		return -err->code;
	settle_networks(&options->config.net, &options->config.via);
	options->config.env = env_make(&options->env, NULL);
	return options->config.env ? settle_outwards(options, err)
				   : err_sys(err, ENOMEM, "cannot make the environment");
}
