/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/start - what of a sandbox's options this machine settles, just before it is started */
#include "cmd/start.h"

#include <errno.h>

#include "cmd/ambient.h"
#include "cmd/resolve.h"
#include "net/occupied.h"
#include "util/log.h"

/* Where this host has the usual networks itself there are others inside. */
static void settle_networks(struct net_plan *plan)
{
	static const char words[] =
		"%s %s: this host uses it itself, and what it has there cannot be reached from inside";
	char network[NET_TEXT_BYTES];
	struct occupied occupied;

	if (!plan->has_outbound)
		return;
	if (occupied_read(&occupied) < 0)
		log_info("cannot look at the networks of this host");
	plan_avoid(plan, &occupied);
	occupied_free(&occupied);
	if (plan->is_taken4)
		log_warning(words, "--cidr", plan_format4(plan, network));
	if (plan->has_ipv6 && plan->is_taken6)
		log_warning(words, "--cidr6", plan_format6(plan, network));
}

static int settle_outwards(struct run_options *options, struct err *err)
{
	struct sandbox_config *config = &options->config;

	for (size_t i = 0; i < config->noutwards; i++)
		if (resolve_outward(&config->outwards[i], err) < 0)
			return -err->code;
	if (options->has_x11 && ambient_add_display(config, err) < 0)
		return -err->code;
	ambient_hint(config);
	return 0;
}

int start_settle(struct run_options *options, struct err *err)
{
	settle_networks(&options->config.net);
	options->config.env = env_make(&options->env, NULL);
	return options->config.env ? settle_outwards(options, err)
				   : err_sys(err, ENOMEM, "cannot make the environment");
}
