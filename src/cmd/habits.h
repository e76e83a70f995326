/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/habits - options of other programs, and what is nswrap's own */
#pragma once

#include "util/option.h"

/* Options of docker, ssh, unshare, bubblewrap, pasta, slirp4netns and tunnels (util/option). */
extern const struct option_habit habits_run[], habits_exec[], habits_ps[], habits_stop[],
	habits_logs[], habits_port[], habits_mesh[], habits_tunnel[], habits_exit[];
