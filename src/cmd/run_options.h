/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/run_options - what the options of run say, before it is put together */
#pragma once

#include "cmd/env.h"
#include "sandbox/config.h"
#include "util/option.h"

/* -p, -f and -P as they came: their default address, -b, may come behind them. */
struct rule_text {
	const char *option, *text;
	const char *from;  /* where it stands, if not on the command line */
	const char *guest; /* the -P of a -p that has one */
};

/* The target of run_options_table. Texts point into argv. */
struct run_options {
	struct sandbox_config config;
	const char *from; /* where options stand that are being read; NULL: the command line */
	struct rule_text *rules; /* owned, as guest_ports */
	size_t nrules, npaired;
	size_t ndefault_rules;         /* the first ones are those of cmd/defaults */
	struct rule_text *guest_ports; /* of -P; each is a port */
	size_t nguest_ports, nused_ports;
	const char *shell_command;
	char *shell_argv[4]; /* room for config.command, where that is a shell */
	struct env_changes env;
	bool has_stop_timeout, no_config, detaches, has_x11, is_jupyterhub, tells_nobody;
	char *service_url; /* of cmd/jupyterhub, owned */
	int log_fd;        /* -1: stderr */
	int verbosity;     /* -q: below 0; -v: above */
};

extern const struct option_def run_options_table[];

/* The defaults, to be freed with all that options have put there. */
struct run_options *run_options_new(void);
void run_options_free(struct run_options *options);

/* Give each -P that came since the last call to a -p that did. -EINVAL: one is left over. */
int run_options_pair(struct run_options *options, struct err *err);
