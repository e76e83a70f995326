/* SPDX-License-Identifier: Apache-2.0 */
/* forward/driver - the small interface behind which the ways into a sandbox are interchangeable */
#include "forward/driver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "net/diag.h"
#include "net/plan.h"
#include "util/log.h"

enum forward_driver_choice forward_driver_resolve(const struct forward_spec *spec,
	enum forward_driver_choice choice, bool has_outbound, bool checks_user)
{
	bool is_loopback = forward_addr_is_loopback(&spec->host);

	if (spec->host.family == AF_UNIX || !has_outbound || (checks_user && is_loopback))
		return FORWARD_DRIVER_SPLICE;
	/* libslirp shows such a client as 10.0.2.2 and refuses UDP answers to that address */
	if (is_loopback && spec->proto == FORWARD_UDP)
		return FORWARD_DRIVER_SPLICE;
	if (choice != FORWARD_DRIVER_AUTO)
		return choice;
	if (is_loopback || spec->host.family == AF_INET6)
		return FORWARD_DRIVER_SPLICE;
	return FORWARD_DRIVER_SLIRP;
}

const char *forward_driver_name(enum forward_driver_choice driver)
{
	static const char *const names[] = {"auto", "splice", "slirp"};

	return names[driver];
}

socklen_t forward_target_sockaddr(
	const struct forward *forward, enum forward_target target, struct sockaddr_storage *out)
{
	const struct net_plan *plan = forward->context->plan;
	struct forward_addr addr = {.family = AF_INET};

	switch (target) {
	case TARGET_LOOPBACK4:
		addr.v4.s_addr = htonl(INADDR_LOOPBACK);
		break;
	case TARGET_LOOPBACK6:
		addr.family = AF_INET6;
		addr.v6 = in6addr_loopback;
		break;
	case TARGET_OWN4:
		if (!plan->has_outbound)
			return 0;
		addr.v4 = plan->guest;
		break;
	case TARGET_OWN6:
		if (!plan->has_outbound || !plan->has_ipv6)
			return 0;
		addr.family = AF_INET6;
		addr.v6 = plan->guest6;
		break;
	case TARGETS:
		return 0;
	}
	return forward_addr_to_sockaddr(&addr, forward->spec.guest_port, out);
}

static bool is_listening(const struct forward *forward, enum forward_target target)
{
	struct sockaddr_storage addr;
	int proto = forward->spec.proto == FORWARD_TCP ? IPPROTO_TCP : IPPROTO_UDP;

	return forward_target_sockaddr(forward, target, &addr) != 0 &&
	       diag_is_listening(forward->context->guest_diag, proto, (struct sockaddr *)&addr) ==
		       1;
}

bool forward_find_target(struct forward *forward)
{
	if (is_listening(forward, forward->target))
		return true;
	for (enum forward_target target = 0; target < TARGETS; target++) {
		if (target == forward->target || !is_listening(forward, target))
			continue;
		forward->target = target;
		return true;
	}
	return false;
}

void forward_note_listening(struct forward *forward)
{
	if (forward->has_listened)
		return;
	forward->has_listened = true;
	forward->driver->on_guest_listening(forward);
	forward->context->on_listening(forward, forward->context->told);
}

/* A stranger must not fill the log. */
static void log_refusal(struct forward *forward, bool is_known, uid_t uid)
{
	uint64_t now_ns = loop_now_ns(forward->context->loop);
	char text[FORWARD_TEXT_BYTES], user[24] = "an unknown user";

	forward->refused++;
	if (forward->refused > 1 && now_ns - forward->refusal_line_ns < 1000000000)
		return;
	forward->refusal_line_ns = now_ns;
	if (is_known)
		snprintf(user, sizeof(user), "user %u", uid);
	log_notice("refused a connection of %s to %s (%llu refused so far)", user,
		forward_spec_format(&forward->spec, text, sizeof(text)),
		(unsigned long long)forward->refused);
}

bool forward_is_allowed(
	struct forward *forward, const struct sockaddr *peer, const struct sockaddr *local)
{
	const struct forward_context *context = forward->context;
	uid_t uid = 0;

	if (!context->checks_user || forward->spec.host.family == AF_UNIX ||
		!forward_addr_is_loopback(&forward->spec.host))
		return true;
	int proto = forward->spec.proto == FORWARD_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	int result = diag_socket_uid(context->host_diag, proto, peer, local, &uid);
	for (size_t i = 0; result == 0 && i < context->nusers; i++)
		if (context->users[i] == uid)
			return true;
	log_refusal(forward, result == 0, uid);
	return false;
}
