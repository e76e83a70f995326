/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NSWRAP_VERSION_H
#define NSWRAP_VERSION_H

#define NSWRAP_VERSION "0.1.0"

#endif
