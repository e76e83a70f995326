/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/resolver - the name server settings of guest and net process, kept as the host's are */
#pragma once

#include "sandbox/config.h"
#include "util/loop.h"

#define RESOLVER_TEXT_BYTES 4096

/*
 * The guest asks the plan's name server (10.0.2.3, fd00::3); libslirp carries the question to the
 * host's name server, which it finds in the resolv.conf of the net process. A laptop changes its
 * name server when it changes its network: the host's file is watched, and the net process's is
 * written again.
 */
struct resolver {
	const struct sandbox_config *config;
	char guest_text[RESOLVER_TEXT_BYTES];
	char net_text[RESOLVER_TEXT_BYTES];
	int net_file; /* of the net process, see view_empty_root; -1: none yet; owned */
	struct loop *loop;
	struct loop_io watch; /* inotify */
};

/* Read the host's settings. Without outbound network or DNS both texts are for nobody. */
void resolver_init(
	struct resolver *resolver, const struct sandbox_config *config, struct loop *loop);
void resolver_fini(struct resolver *resolver);

/* Watch for changes from now on; where inotify is short, the settings stay as they are. */
void resolver_watch(struct resolver *resolver);

/* There is a new net process: @file, taken over, is what it reads. */
void resolver_set_net_file(struct resolver *resolver, int file);
