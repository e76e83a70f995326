/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/show_installer - print a script that does by hand what `install` of a manifest does */
#pragma once

#include "cmd/cmd.h"

extern const struct subcommand show_installer_subcommand;
