/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define NSWRAP_VERSION "0.2.0"
