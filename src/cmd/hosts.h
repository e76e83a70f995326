/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/hosts - the hosts of a mesh that runs, as a table that people read */
#ifndef NSWRAP_CMD_HOSTS_H
#define NSWRAP_CMD_HOSTS_H

#include <jansson.h>

/* Print the "hosts" of @status, a mesh's answer (control/control) with all of them. */
void hosts_print(const json_t *status);

#endif
