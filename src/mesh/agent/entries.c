/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/entries - listeners on the host's loopback that lead into the mesh */
#include "mesh/agent/entries.h"

#include <errno.h>
#include <stdlib.h>

#include "conn/service.h"
#include "util/log.h"

struct entries {
	struct stack *stack;
	struct services *services;
};

struct entries *entries_new(const struct conn_context *context, struct stack *stack)
{
	static const struct service_ops ops = {0};
	struct entries *entries = calloc(1, sizeof(*entries));

	if (!entries)
		return NULL;
	entries->stack = stack;
	entries->services = services_new(context, &ops, entries);
	if (!entries->services) {
		entries_free(entries);
		return NULL;
	}
	return entries;
}

void entries_free(struct entries *entries)
{
	if (!entries)
		return;
	services_free(entries->services);
	free(entries);
}

static void tell_left_out(const struct addr *first, size_t count)
{
	char ip[ADDR_TEXT_BYTES];

	log_notice("programs of this host cannot reach %zu of the mesh's ports, at %s%s: only "
		   "addresses of 127.0.0.0/8 are this host's own",
		count, addr_format_ip(first, ip, sizeof(ip)), count > 1 ? " and so on" : "");
}

int entries_configure(struct entries *entries, const struct mesh_port *others, size_t nothers,
	struct in_addr self, const struct mesh_offer *own, size_t nown, struct err *err)
{
	struct service *wanted = calloc(nown + nothers + 1, sizeof(*wanted));
	size_t count = 0, left_out = 0;
	struct addr first_out = {0}, here = addr_of4(self, 0);

	if (!wanted)
		return err_sys(err, ENOMEM, "cannot listen for the mesh");
	for (size_t i = 0; addr_is_loopback(&here) && i < nown; i++)
		wanted[count++] = (struct service){
			.proto = own[i].proto,
			.addr = addr_of4(self, own[i].listen_port),
			.target = {.host = own[i].connect_host, .port = own[i].connect_port},
		};
	for (size_t i = 0; i < nothers; i++) {
		const struct addr there = addr_of4(others[i].ip, others[i].port);

		if (!addr_is_loopback(&there)) {
			if (left_out++ == 0)
				first_out = there;
			continue;
		}
		wanted[count++] = (struct service){
			.proto = others[i].proto,
			.addr = there,
			.target = entries->stack->ops->target(entries->stack, &there),
		};
	}
	if (left_out > 0)
		tell_left_out(&first_out, left_out);
	int result = services_configure(entries->services, wanted, count, err);
	free(wanted);
	return result;
}
