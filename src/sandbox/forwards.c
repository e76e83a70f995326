/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/forwards - the rules of a sandbox, their listeners, and what is said of them */
#include "sandbox/forwards.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/control.h"
#include "control/owner.h"
#include "net/diag.h"
#include "sandbox/elsewhere.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/parse.h"

#define WARNINGS_MAX 64 /* in one answer */
#define RETRY_MS     1000

static enum forward_driver_choice resolve(
	const struct sandbox_config *config, const struct forward_spec *spec, bool keeps_clients)
{
	/* a client's address that is shown inside may be one that the link is the way to */
	return driver_resolve(spec, config->driver, config->net.has_outbound && !config->via.is_on,
		config->checks_user, keeps_clients, config->keeps_local);
}

size_t forwards_fds(const struct sandbox_config *config)
{
	size_t count = config->forwards.count;

	/* libslirp has a copy */
	for (size_t i = 0; i < config->forwards.count; i++)
		count += resolve(config, &config->forwards.items[i], false) == FORWARD_DRIVER_SLIRP;
	return count;
}

static struct forwards_item *append(
	struct forwards *forwards, const struct forward_spec *spec, struct err *err)
{
	struct forwards_item *grown =
		reallocarray(forwards->items, forwards->count + 1, sizeof(*grown));

	if (!grown) {
		err_sys(err, ENOMEM, "cannot keep a forward");
		return NULL;
	}
	forwards->items = grown;
	grown[forwards->count] = (struct forwards_item){
		.id = ++forwards->next_id,
		.spec = *spec,
		.driver = resolve(forwards->config, spec, forwards->keeps_clients),
		.listener = {.fd = -1, .dir_fd = -1},
	};
	hold_init(&grown[forwards->count].guest_hold);
	hold_init(&grown[forwards->count].host_hold);
	return &grown[forwards->count++];
}

static void drop(struct forwards *forwards, struct forwards_item *item)
{
	const struct forwards_item *end = &forwards->items[forwards->count--];

	bind_close(&item->listener);
	hold_release(&item->guest_hold);
	hold_release(&item->host_hold);
	free(item->lost_text);
	memmove(item, item + 1, (size_t)(end - (item + 1)) * sizeof(*item));
}

void forwards_fini(struct forwards *forwards)
{
	loop_timer_cancel(forwards->loop, &forwards->retry_timer);
	while (forwards->count > 0)
		drop(forwards, &forwards->items[forwards->count - 1]);
	hold_release(&forwards->hold);
	free(forwards->items);
	free(forwards->removed);
	forwards->items = NULL;
	forwards->removed = NULL;
}

int forwards_own_path(
	const struct forwards_ops *ops, void *owner, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	_cleanup_fd_ int dir_fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int code = dir ? errno : ENOMEM;

	free(dir);
	if (dir_fd < 0)
		return err_sys(err, code, "cannot listen at %s", path);
	ops->own_file(owner, dir_fd, slash ? slash + 1 : path);
	return 0;
}

/* It was bound by who started us, and stays so when we are gone. */
static int take_given(struct forwards_item *item, struct err *err)
{
	int fd = fcntl(item->spec.given_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), on = 0;
	socklen_t len = sizeof(on);

	item->listener.fd = fd;
	if (fd < 0 || fd_set_nonblock(fd, 1) < 0)
		return err_sys(err, errno, "cannot take descriptor %d", item->spec.given_fd);
	/* who has set it knows better how often to ask */
	if (item->spec.proto == PROTO_TCP && item->spec.host.family != AF_UNIX &&
		getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len) == 0 && !on)
		fd_keep_alive(fd);
	return 0;
}

static int bind_one(const struct forwards *forwards, struct forwards_item *item, struct err *err)
{
	struct forward_spec *spec = &item->spec;
	int result = 0;

	if (spec->given_fd > 0)
		return take_given(item, err);
	if (spec->host.family == AF_UNIX)
		result = forwards_own_path(
			forwards->ops, forwards->owner, spec->host.local.sun_path, err);
	if (result == 0)
		result = bind_open(&spec->host, spec->proto, &item->listener, err);
	if (result == -EADDRINUSE)
		owner_explain(&spec->host, spec->proto, err);
	if (result == 0 && spec->guest_port == 0)
		spec->guest_port = addr_port(&spec->host);
	return result;
}

/* Does a rule listen there? */
static bool is_led(const void *owner, const struct addr *addr)
{
	const struct forwards *forwards = owner;

	for (size_t i = 0; i < forwards->count; i++) {
		const struct forward_spec *spec = &forwards->items[i].spec;

		if (spec->proto == PROTO_TCP && spec->host.family == addr->family &&
			addr_port(&spec->host) == addr_port(addr) &&
			(addr_is_wildcard(&spec->host) || addr_is_same_ip(&spec->host, addr)))
			return true;
	}
	return false;
}

/* Will some say "localhost" for it? */
static bool is_called_localhost(const struct addr *host)
{
	const struct addr names[] = {addr_loopback4(0), addr_of6(&in6addr_loopback, 0)};

	return addr_is_wildcard(host) || addr_is_same_ip(host, &names[0]) ||
	       addr_is_same_ip(host, &names[1]);
}

/* What the programs of the rules from number @first on print, and what we do, leads to nobody else.
 */
static void hold_ports(struct forwards *forwards, size_t first)
{
	for (size_t i = first; i < forwards->count && i < HOLD_RULES_MAX; i++) {
		struct forwards_item *item = &forwards->items[i];
		const struct forward_spec *spec = &item->spec;

		if (spec->proto != PROTO_TCP || forwards->config->holds_nothing)
			continue;
		hold_port(
			&item->guest_hold, spec->guest_port, is_led, forwards, &item->guest_taken);
		if (is_called_localhost(&spec->host) && addr_port(&spec->host) != spec->guest_port)
			hold_port(&item->host_hold, addr_port(&spec->host), is_led, forwards,
				&item->host_taken);
	}
}

int forwards_bind(struct forwards *forwards, bool paths, struct err *err)
{
	const struct forward_list *list = &forwards->config->forwards;

	for (size_t i = 0; !paths && i < list->count; i++)
		if (!append(forwards, &list->items[i], err))
			return -err->code;
	/* the sandbox may have been asked meanwhile: rules that were added are bound */
	for (size_t i = 0; i < forwards->count; i++) {
		struct forwards_item *item = &forwards->items[i];

		if ((item->spec.host.family == AF_UNIX) == paths && item->listener.fd < 0 &&
			bind_one(forwards, item, err) < 0)
			return -err->code;
	}
	if (paths)
		hold_ports(forwards, 0);
	if (paths && forwards->config->guest_port != 0 && !forwards->config->holds_nothing)
		hold_port(&forwards->hold, forwards->config->guest_port, is_led, forwards,
			&(struct addr){0});
	return 0;
}

int forwards_list(const struct forwards *forwards, struct forward_list *list, struct err *err)
{
	*list = (struct forward_list){0};
	for (size_t i = 0; i < forwards->count; i++) {
		int result = spec_list_add(list, &forwards->items[i].spec, err);
		if (result < 0)
			return result;
	}
	return 0;
}

void forwards_send(struct forwards *forwards, bool is_fresh)
{
	int result = 0;

	for (size_t i = 0; is_fresh && i < forwards->count; i++)
		forwards->items[i].is_sent = false;
	if (is_fresh && forwards->nremoved + forwards->nclosing > 0) {
		forwards->nremoved = forwards->nclosing = 0;
		hold_ports(forwards, 0);
	}
	while (result == 0 && forwards->nremoved > 0) {
		struct net_message message = {
			.type = NET_REMOVE, .id = forwards->removed[forwards->nremoved - 1]};

		result = forwards->ops->send(forwards->owner, &message, -1);
		forwards->nremoved -= result == 0;
		forwards->nclosing += result == 0;
	}
	for (size_t i = 0; result == 0 && i < forwards->count; i++) {
		struct forwards_item *item = &forwards->items[i];
		struct net_message message = {
			.type = NET_ADD,
			.id = item->id,
			.forward = {item->spec, item->driver, item->has_listened,
				item->lost_text != NULL},
		};

		if (item->is_sent)
			continue;
		result = forwards->ops->send(forwards->owner, &message, item->listener.fd);
		item->is_sent = result == 0;
	}
}

static json_t *item_json(const struct forwards_item *item, bool is_listening)
{
	const struct forward_spec *spec = &item->spec;
	char text[FORWARD_TEXT_BYTES], host[ADDR_TEXT_BYTES];
	json_t *forward = json_pack("{s:o, s:i, s:s, s:s, s:b}", "spec",
		control_text(spec_format(spec, text, sizeof(text))), "guest_port", spec->guest_port,
		"proto", addr_proto_name(spec->proto), "driver", driver_name(item->driver),
		"listening", is_listening);
	if (item->lost_text)
		json_object_set_new(forward, "error", control_text(item->lost_text));

	addr_format_ip(&spec->host, host, sizeof(host));
	if (spec->host.family == AF_UNIX) {
		json_object_set_new(forward, "path", control_text(host));
		return forward;
	}
	json_object_set_new(forward, "host", json_string(host));
	json_object_set_new(forward, "host_port", json_integer(addr_port(&spec->host)));
	return forward;
}

/* As it is now: the net process says when somebody first listens, and a moment later. */
static bool is_listening(const struct forwards *forwards, size_t i)
{
	const struct forwards_item *item = &forwards->items[i];

	return forwards->guest_diag ? driver_is_listening(*forwards->guest_diag,
					      &forwards->config->net, &item->spec)
				    : item->has_listened;
}

json_t *forwards_json(const struct forwards *forwards, size_t first)
{
	json_t *list = json_array();

	for (size_t i = first; i < forwards->count; i++)
		json_array_append_new(
			list, item_json(&forwards->items[i], is_listening(forwards, i)));
	if (forwards->guest_diag && first < forwards->count)
		elsewhere_tell(*forwards->guest_diag, &forwards->config->net,
			&forwards->items[first], json_array_size(list), list);
	return list;
}

/* For the log, and the first ones for who has asked for the rule (@warnings: NULL, nobody has). */
static void warn(json_t *warnings, enum log_level level, const struct err *said)
{
	log_line(level, "%s", said->text);
	if (warnings && json_array_size(warnings) < WARNINGS_MAX)
		json_array_append_new(warnings, control_text(said->text));
}

/* @taken is where a port that @item would hold is somebody else's, @when that is a trap. */
static void announce_taken(const struct forwards_item *item, const struct addr *taken,
	const char *when, json_t *warnings)
{
	struct err said;
	char host[ADDR_TEXT_BYTES], address[ADDR_TEXT_BYTES], holder[OWNER_TEXT_BYTES];

	if (taken->family == AF_UNSPEC)
		return;
	if (owner_of(taken, PROTO_TCP, holder, sizeof(holder)) < 0 &&
		diag_port_holder(PROTO_TCP, taken, holder, sizeof(holder)) < 0)
		snprintf(holder, sizeof(holder), "another program");
	err_set(&said, EADDRINUSE,
		"port %u of %s on this host is in use by %s: %s, open %s instead", addr_port(taken),
		addr_format_ip(taken, host, sizeof(host)), holder, when,
		addr_format(&item->spec.host, address, sizeof(address)));
	warn(warnings, LOG_WARNING, &said);
}

/* Who connects from another machine has no user that could be asked for. */
static void announce_network(
	const struct sandbox_config *config, const struct forwards_item *item, json_t *warnings)
{
	char address[ADDR_TEXT_BYTES];
	struct err said;

	if (!config->checks_user || addr_is_loopback(&item->spec.host))
		return;
	addr_format(&item->spec.host, address, sizeof(address));
	err_set(&said, EACCES, "%s%s %s", address, item->spec.proto == PROTO_UDP ? "/udp" : "",
		config->allows_network
			? "is open to all users of other machines (--allow-network): "
			  "--only-user can tell those of this host only"
			: "refuses other machines: --only-user can tell users of this host only; "
			  "--allow-network lets all the others in");
	/* with -q, too: it does not what a listener there is for */
	warn(warnings, config->allows_network ? LOG_WARNING : LOG_ERROR, &said);
}

/* --client-address cannot be had. */
static void announce_unseen(
	const struct forwards *forwards, const struct forwards_item *item, json_t *warnings)
{
	char address[ADDR_TEXT_BYTES];
	struct err said;

	if (!forwards->config->keeps_local || forwards->keeps_clients ||
		item->driver != FORWARD_DRIVER_SPLICE || item->spec.proto != PROTO_TCP ||
		!addr_is_loopback(&item->spec.host))
		return;
	err_set(&said, EOPNOTSUPP,
		"the guest sees itself for all clients of %s: --client-address needs "
		"what --outbound kernel needs (nswrap doctor says what is missing)",
		addr_format(&item->spec.host, address, sizeof(address)));
	warn(warnings, LOG_WARNING, &said);
}

void forwards_announce(struct forwards *forwards, size_t first, json_t *warnings)
{
	for (size_t i = first; i < forwards->count; i++) {
		struct forwards_item *item = &forwards->items[i];
		char text[FORWARD_TEXT_BYTES];

		if (item->is_announced)
			continue;
		item->is_announced = true;
		spec_format(&item->spec, text, sizeof(text));
		/* "HOST:GUEST[/proto]": what stands before the guest port is the outside */
		*strrchr(text, ':') = '\0';
		log_notice("%s leads to port %u%s inside (%s)", text, item->spec.guest_port,
			item->spec.proto == PROTO_UDP ? "/udp" : "", driver_name(item->driver));
		announce_taken(item, &item->guest_taken,
			"if the command prints an address with that port", warnings);
		announce_taken(item, &item->host_taken,
			"where an address has that port and localhost", warnings);
		announce_network(forwards->config, item, warnings);
		announce_unseen(forwards, item, warnings);
		events_emit(forwards->events, "forward", item_json(item, item->has_listened));
	}
}

static int check_users(
	const struct sandbox_config *config, const struct forward_spec *spec, struct err *err)
{
	return config->checks_user ? driver_check_users(spec, config->users, config->nusers, err)
				   : 0;
}

/* Is what @spec asks for ours already, for itself or for another rule? */
static int check_there(
	const struct forwards *forwards, const struct forward_spec *spec, struct err *err)
{
	char asked[FORWARD_TEXT_BYTES], there[FORWARD_TEXT_BYTES], shown[PARSE_QUOTE_BYTES];

	for (size_t i = 0; i < forwards->count; i++) {
		const struct forward_spec *old = &forwards->items[i].spec;

		if (!spec_clash(old, spec))
			continue;
		parse_shown(spec_format(old, there, sizeof(there)), shown, sizeof(shown));
		if (spec_equal(old, spec))
			return err_set(err, EEXIST, "%s is there already", shown);
		return err_set(err, EEXIST,
			"%s: %s is there already; nswrap port remove takes it away",
			PARSE_SHOWN(spec_format(spec, asked, sizeof(asked))), shown);
	}
	return 0;
}

int forwards_add(
	struct forwards *forwards, const char *const *specs, json_t *warnings, struct err *err)
{
	struct forward_list all;
	size_t before = forwards->count;
	int result = forwards_list(forwards, &all, err);

	for (; result == 0 && *specs; specs++)
		result = spec_list_parse(&all, *specs, &forwards->config->bind, err);
	for (size_t i = before; result == 0 && i < all.count; i++)
		result = check_there(forwards, &all.items[i], err);
	if (result == 0)
		result = spec_list_check(&all, err);
	for (size_t i = before; result == 0 && i < all.count; i++)
		result = check_users(forwards->config, &all.items[i], err);
	for (size_t i = before; result == 0 && i < all.count; i++) {
		struct forwards_item *item = append(forwards, &all.items[i], err);

		result = item ? bind_one(forwards, item, err) : -err->code;
	}
	spec_list_free(&all);
	if (result < 0) {
		while (forwards->count > before)
			drop(forwards, &forwards->items[forwards->count - 1]);
		return result;
	}
	hold_ports(forwards, before);
	forwards_send(forwards, false);
	forwards_announce(forwards, before, warnings);
	return 0;
}

/* Does @item listen at @outside, "8080", "127.0.0.1:8080", "[::1]:8080" or "unix:PATH"? */
static bool listens_at(const struct forwards_item *item, const char *outside)
{
	const struct forward_spec *spec = &item->spec;
	unsigned long port;
	struct forward_spec asked;

	if (spec->host.family == AF_UNIX)
		return strncmp(outside, "unix:", 5) == 0 &&
		       strcmp(outside + 5, spec->host.local.sun_path) == 0;
	if (parse_uint(outside, UINT16_MAX, &port) == 0)
		return addr_port(&spec->host) == port; /* at any address */
	return spec_host_parse(outside, NULL, &asked, NULL) == 0 &&
	       (!strchr(outside, '/') || asked.proto == spec->proto) &&
	       addr_equal(&asked.host, &spec->host);
}

/* Append the rules that @text says, which may be just what stands in front of a guest port. */
static int read_removed(const struct forwards *forwards, const char *text,
	struct forward_list *list, struct err *err)
{
	const struct forwards_item *found = NULL;

	if (spec_list_parse(list, text, &forwards->config->bind, NULL) == 0)
		return 0;
	for (size_t i = 0; i < forwards->count; i++) {
		if (!listens_at(&forwards->items[i], text))
			continue;
		if (found)
			return err_set(err, EINVAL,
				"%s: several forwards listen there: expected ADDR:HOST:GUEST/PROTO",
				text);
		found = &forwards->items[i];
	}
	if (!found)
		return err_set(err, ENOENT, "there is no forward %s", text);
	return spec_list_add(list, &found->spec, err);
}

/* The rule that listens where @spec says, or NULL. */
static struct forwards_item *find_spec(
	const struct forwards *forwards, const struct forward_spec *spec)
{
	for (size_t i = 0; i < forwards->count; i++)
		if (spec_equal(&forwards->items[i].spec, spec))
			return &forwards->items[i];
	return NULL;
}

static int note_removed(
	struct forwards *forwards, const struct forwards_item *item, struct err *err)
{
	if (!item->is_sent)
		return 0;
	uint32_t *grown = reallocarray(forwards->removed, forwards->nremoved + 1, sizeof(*grown));
	if (!grown)
		return err_sys(err, ENOMEM, "cannot remove a forward");
	forwards->removed = grown;
	grown[forwards->nremoved++] = item->id;
	return 0;
}

/* What is anybody's once it is closed: not what who gave the socket has still. */
static json_t *port_json(const struct forward_spec *spec)
{
	char host[ADDR_TEXT_BYTES];

	if (spec->host.family == AF_UNIX || spec->given_fd > 0)
		return NULL;
	return json_pack("{s:s, s:i, s:s}", "host", addr_format_ip(&spec->host, host, sizeof(host)),
		"host_port", addr_port(&spec->host), "proto", addr_proto_name(spec->proto));
}

int forwards_remove(
	struct forwards *forwards, const char *const *specs, json_t *removed, struct err *err)
{
	struct forward_list list = {0};
	char text[FORWARD_TEXT_BYTES];
	int result = 0;

	for (; result == 0 && *specs; specs++)
		result = read_removed(forwards, *specs, &list, err);
	for (size_t i = 0; result == 0 && i < list.count; i++)
		if (!find_spec(forwards, &list.items[i]))
			result = err_set(err, ENOENT, "there is no forward %s",
				spec_format(&list.items[i], text, sizeof(text)));
	for (size_t i = 0; result == 0 && i < list.count; i++) {
		struct forwards_item *item = find_spec(forwards, &list.items[i]);
		if (!item)
			continue; /* named twice */
		result = note_removed(forwards, item, err);
		if (result < 0)
			break;
		json_t *port = port_json(&item->spec);
		if (port)
			json_array_append_new(removed, port);
		drop(forwards, item);
	}
	spec_list_free(&list);
	hold_ports(forwards, 0);
	forwards_send(forwards, false);
	return result;
}

void forwards_on_removed(struct forwards *forwards)
{
	if (forwards->nclosing > 0 && --forwards->nclosing == 0)
		hold_ports(forwards, 0);
}

static struct forwards_item *find_id(struct forwards *forwards, uint32_t id)
{
	for (size_t i = 0; i < forwards->count; i++)
		if (forwards->items[i].id == id)
			return &forwards->items[i];
	return NULL;
}

void forwards_on_listening(struct forwards *forwards, uint32_t id)
{
	struct forwards_item *item = find_id(forwards, id);

	if (!item || item->has_listened)
		return;
	item->has_listened = true;
	events_emit(forwards->events, "guest-listening", item_json(item, item->has_listened));
	events_ready(forwards->events);
}

/* Again and again: nothing of it tells when there will be room for it. */
static void on_retry(struct loop_timer *timer)
{
	forwards_send(container_of(timer, struct forwards, retry_timer), false);
}

void forwards_keep_clients(struct forwards *forwards)
{
	forwards->keeps_clients = true;
	for (size_t i = 0; i < forwards->count; i++)
		forwards->items[i].driver =
			resolve(forwards->config, &forwards->items[i].spec, true);
}

void forwards_init(struct forwards *forwards, struct loop *loop)
{
	forwards->loop = loop;
	forwards->retry_timer.on_expired = on_retry;
	hold_init(&forwards->hold);
}

void forwards_on_lost(struct forwards *forwards, uint32_t id, const struct err *err)
{
	struct forwards_item *item = find_id(forwards, id);

	if (!item)
		return;
	item->is_sent = false;
	loop_timer_set(forwards->loop, &forwards->retry_timer, RETRY_MS);
	if (item->lost_text)
		return;
	log_error("%s; trying again, clients wait", err->text);
	item->lost_text = strdup(err->text);
	events_emit(forwards->events, "forward-lost", item_json(item, item->has_listened));
}

void forwards_on_back(struct forwards *forwards, uint32_t id)
{
	struct forwards_item *item = find_id(forwards, id);
	char text[FORWARD_TEXT_BYTES];

	/* not before it was asked to try again, or it could say both in turns without an end */
	if (!item || !item->lost_text || !item->is_sent)
		return;
	free(item->lost_text);
	item->lost_text = NULL;
	log_notice("%s works again", spec_format(&item->spec, text, sizeof(text)));
	events_emit(forwards->events, "forward-back", item_json(item, item->has_listened));
}
