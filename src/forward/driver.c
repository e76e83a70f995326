/* SPDX-License-Identifier: Apache-2.0 */
/* forward/driver - the small interface behind which the ways into a sandbox are interchangeable */
#include "forward/driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conn/dial.h"
#include "net/diag.h"
#include "net/plan.h"
#include "util/clock.h"
#include "util/log.h"

enum forward_driver_choice driver_resolve(const struct forward_spec *spec,
	enum forward_driver_choice choice, bool has_outbound, bool checks_user, bool keeps_clients,
	bool keeps_local)
{
	bool is_shown = keeps_local || !addr_is_loopback(&spec->host);

	if (spec->host.family == AF_UNIX || !has_outbound || checks_user ||
		spec->proto == PROTO_UDP)
		return FORWARD_DRIVER_SPLICE;
	if (choice != FORWARD_DRIVER_AUTO)
		return choice;
	return !is_shown || keeps_clients || spec->host.family == AF_INET6 ? FORWARD_DRIVER_SPLICE
									   : FORWARD_DRIVER_SLIRP;
}

const char *driver_name(enum forward_driver_choice driver)
{
	static const char *const names[] = {"auto", "splice", "slirp"};

	return names[driver];
}

static struct addr target_addr(
	const struct net_plan *plan, uint16_t port, enum forward_target target)
{
	if (target == TARGET_LOOPBACK4)
		return addr_loopback4(port);
	if (target == TARGET_LOOPBACK6)
		return addr_of6(&in6addr_loopback, port);
	if (target == TARGET_OWN4 && plan->has_outbound)
		return addr_of4(plan->guest, port);
	if (target == TARGET_OWN6 && plan->has_outbound && plan->has_ipv6)
		return addr_of6(&plan->guest6, port);
	return (struct addr){0};
}

static bool is_listening(int guest_diag, const struct net_plan *plan,
	const struct forward_spec *spec, enum forward_target target)
{
	struct addr addr = target_addr(plan, spec->guest_port, target);

	return addr.family != AF_UNSPEC && diag_is_listening(guest_diag, spec->proto, &addr) == 1;
}

bool driver_is_listening(
	int guest_diag, const struct net_plan *plan, const struct forward_spec *spec)
{
	for (enum forward_target target = 0; target < TARGETS; target++)
		if (is_listening(guest_diag, plan, spec, target))
			return true;
	return false;
}

void driver_note_listening(struct forward *forward)
{
	if (forward->has_listened)
		return;
	forward->has_listened = true;
	loop_task_add(forward->context->loop, &forward->tell_task);
}

static bool listens_at(const struct forward *forward, enum forward_target target)
{
	const struct forward_context *context = forward->context;

	return is_listening(context->guest_diag, context->plan, &forward->spec, target);
}

/* The first one where somebody listens; TARGETS: nobody. */
static enum forward_target first_target(const struct forward *forward)
{
	enum forward_target target = 0;

	if (listens_at(forward, forward->target))
		return forward->target;
	while (target < TARGETS && (target == forward->target || !listens_at(forward, target)))
		target++;
	return target;
}

bool driver_find_target(struct forward *forward)
{
	enum forward_target target = first_target(forward);

	/* it may have begun at all of them between two questions */
	if (target != TARGETS && target != forward->target)
		target = first_target(forward);
	if (target == TARGETS)
		return false;
	forward->target = target;
	driver_note_listening(forward);
	return true;
}

bool driver_turn_to(struct forward *forward, int family)
{
	enum forward_target target = family == AF_INET6 ? TARGET_LOOPBACK6 : TARGET_LOOPBACK4;

	if (driver_target(forward).family == family || !listens_at(forward, target))
		return false;
	forward->target = target;
	return true;
}

static void on_tell(struct loop_task *task)
{
	struct forward *forward = container_of(task, struct forward, tell_task);

	forward->context->on_listening(forward->context->owner, forward->id);
	forward->driver->on_guest_listening(forward);
}

int driver_open(struct forward *forward, struct err *err)
{
	forward->tell_task.on_run = on_tell;
	return forward->driver->open(forward, err);
}

void driver_close(struct forward *forward)
{
	loop_task_cancel(forward->context->loop, &forward->tell_task);
	forward->driver->close(forward);
}

struct addr driver_target(const struct forward *forward)
{
	return target_addr(forward->context->plan, forward->spec.guest_port, forward->target);
}

enum door_kind driver_socket_kind(const struct forward *forward)
{
	struct addr addr = driver_target(forward);

	return door_kind_of(addr.family, forward->spec.proto);
}

int driver_connect(const struct forward *forward, int fd)
{
	struct addr addr = driver_target(forward);

	return dial_connect(fd, &addr);
}

/* A stranger must not fill the log. */
static void log_refusal(struct forward *forward, const char *whom)
{
	uint64_t now_ns = loop_now_ns(forward->context->loop);
	char text[FORWARD_TEXT_BYTES];

	forward->refused++;
	if (forward->refused > 1 && now_ns - forward->refusal_line_ns < NS_PER_S)
		return;
	forward->refusal_line_ns = now_ns;
	log_notice("refused a connection of %s to %s (%llu refused so far)", whom,
		spec_format(&forward->spec, text, sizeof(text)),
		(unsigned long long)forward->refused);
}

bool driver_is_allowed(struct forward *forward, const struct addr *from, const struct addr *at)
{
	const struct forward_context *context = forward->context;
	char whom[sizeof("another machine ()") + ADDR_TEXT_BYTES] = "an unknown user";
	struct addr peer = *from, local = *at;
	uid_t uid = 0;

	addr_unmap(&peer);
	addr_unmap(&local);
	if (!context->checks_user)
		return true;
	/* first: a UDP socket of this host at a wildcard would be found for any address */
	if (!diag_is_own_address(&peer)) {
		char text[ADDR_TEXT_BYTES];

		snprintf(whom, sizeof(whom), "another machine (%s)",
			addr_format_ip(&peer, text, sizeof(text)));
		if (!context->allows_network)
			log_refusal(forward, whom);
		return context->allows_network;
	}
	int result = diag_socket_uid(context->host_diag, forward->spec.proto, &peer, &local, &uid);
	for (size_t i = 0; result == 0 && i < context->nusers; i++)
		if (context->users[i] == uid)
			return true;
	if (result == 0)
		snprintf(whom, sizeof(whom), "user %u", uid);
	log_refusal(forward, whom);
	return false;
}

bool driver_is_allowed_path(struct forward *forward, int fd)
{
	struct ucred creds = {0};
	socklen_t len = sizeof(creds);

	if (!forward->context->checks_user)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &len) == 0 &&
		creds.uid == forward->context->own_user)
		return true;
	log_refusal(forward, "another user");
	return false;
}

int driver_check_users(
	const struct forward_spec *spec, const uid_t *users, size_t nusers, struct err *err)
{
	bool has_own = false, has_others = false;

	for (size_t i = 0; i < nusers; i++)
		*(users[i] == geteuid() ? &has_own : &has_others) = true;
	if (spec->host.family != AF_UNIX || (has_own && !has_others))
		return 0;
	return err_set(err, EINVAL,
		"unix:%s: a socket file is its owner's alone: expected --only-user without a value",
		spec->host.local.sun_path);
}
