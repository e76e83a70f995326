/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/supervisor_forwards - the rules of a sandbox, their listeners and what is said of them */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/plan.h"
#include "sandbox/supervisor_parts.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/unixsock.h"

static struct supervised_forward *append(
	struct supervisor *supervisor, const struct forward_spec *spec, struct err *err)
{
	struct supervised_forwards *all = &supervisor->forwards;
	const struct sandbox_config *config = supervisor->config;
	struct supervised_forward *grown = reallocarray(all->items, all->count + 1, sizeof(*grown));

	if (!grown) {
		err_sys(err, ENOMEM, "cannot keep a forward");
		return NULL;
	}
	all->items = grown;
	grown[all->count] = (struct supervised_forward){
		.id = ++all->next_id,
		.spec = *spec,
		.driver = driver_resolve(
			spec, config->driver, config->net.has_outbound, config->checks_user),
		.listener = {.fd = -1, .dir_fd = -1},
	};
	return &grown[all->count++];
}

static void drop(struct supervisor *supervisor, size_t index)
{
	struct supervised_forwards *all = &supervisor->forwards;

	bind_close(&all->items[index].listener);
	memmove(&all->items[index], &all->items[index + 1],
		(all->count - index - 1) * sizeof(all->items[0]));
	all->count--;
}

static int bind_one(struct supervised_forward *forward, struct err *err)
{
	struct forward_spec *spec = &forward->spec;
	int result = bind_open(&spec->host, spec->proto, forward->driver == FORWARD_DRIVER_SLIRP,
		&forward->listener, err);

	if (result == 0 && spec->guest_port == 0)
		spec->guest_port = addr_port(&spec->host);
	return result;
}

int forwards_bind_ports(struct supervisor *supervisor, struct err *err)
{
	const struct forward_list *list = &supervisor->config->forwards;

	for (size_t i = 0; i < list->count; i++) {
		struct supervised_forward *forward = append(supervisor, &list->items[i], err);

		if (!forward ||
			(forward->spec.host.family != AF_UNIX && bind_one(forward, err) < 0))
			return -err->code;
	}
	return 0;
}

int forwards_bind_paths(struct supervisor *supervisor, struct err *err)
{
	struct supervised_forwards *all = &supervisor->forwards;

	for (size_t i = 0; i < all->count; i++)
		if (all->items[i].spec.host.family == AF_UNIX && bind_one(&all->items[i], err) < 0)
			return -err->code;
	return 0;
}

/* Where the socket file of @path is, or will be. */
static int locate(const char *path, struct init_file *file, struct err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");

	file->dir_fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int code = dir ? errno : ENOMEM;
	free(dir);
	if (file->dir_fd < 0)
		return err_sys(err, code, "cannot listen at %s", path);
	strncpy(file->name, name, NAME_MAX);
	file->name[NAME_MAX] = '\0';
	return 0;
}

int forwards_files(const struct supervisor *supervisor, struct init_file **files, size_t *count,
	struct err *err)
{
	const struct supervised_forwards *all = &supervisor->forwards;

	*count = 0;
	*files = calloc(all->count + 1, sizeof(**files));
	if (!*files)
		return err_sys(err, ENOMEM, "cannot keep the forwards");
	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].spec.host.family != AF_UNIX)
			continue;
		if (locate(all->items[i].spec.host.local.sun_path, &(*files)[*count], err) < 0)
			return -err->code;
		++*count;
	}
	return 0;
}

void forwards_close(struct supervisor *supervisor)
{
	while (supervisor->forwards.count > 0)
		drop(supervisor, supervisor->forwards.count - 1);
	free(supervisor->forwards.items);
	free(supervisor->forwards.removed);
	supervisor->forwards.items = NULL;
	supervisor->forwards.removed = NULL;
}

int forwards_list(const struct supervisor *supervisor, struct forward_list *list, struct err *err)
{
	*list = (struct forward_list){0};
	for (size_t i = 0; i < supervisor->forwards.count; i++) {
		int result = spec_list_add(list, &supervisor->forwards.items[i].spec, err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int send_one(struct supervisor *supervisor, const struct supervised_forward *forward)
{
	struct net_message message = {
		.type = NET_ADD,
		.id = forward->id,
		.forward = {forward->spec, forward->driver, forward->has_listened},
	};
	bool is_reserved = forward->driver == FORWARD_DRIVER_SLIRP;

	/* a reservation stays here: libslirp makes its own listener */
	return netproc_message_send(
		supervisor->net_io.fd, &message, is_reserved ? -1 : forward->listener.fd);
}

/* Returns 0, or -errno when the net process takes no more, now or ever. */
static int send_all(struct supervisor *supervisor)
{
	struct supervised_forwards *all = &supervisor->forwards;
	int result = 0;

	while (result == 0 && all->nremoved > 0) {
		struct net_message message = {
			.type = NET_REMOVE, .id = all->removed[all->nremoved - 1]};

		result = netproc_message_send(supervisor->net_io.fd, &message, -1);
		all->nremoved -= result == 0;
	}
	for (size_t i = 0; result == 0 && i < all->count; i++) {
		if (all->items[i].is_sent)
			continue;
		result = send_one(supervisor, &all->items[i]);
		all->items[i].is_sent = result == 0;
	}
	return result;
}

void forwards_send(struct supervisor *supervisor)
{
	if (supervisor->net <= 0)
		return; /* the next one gets them */
	/* its buffer holds some hundreds, and it may be stopped: do not wait for it */
	bool is_full = send_all(supervisor) == -EAGAIN;
	if (is_full != supervisor->net_is_full)
		loop_io_mod(supervisor->loop, &supervisor->net_io,
			is_full ? EPOLLIN | EPOLLOUT : EPOLLIN);
	supervisor->net_is_full = is_full;
}

void forwards_forget_sent(struct supervisor *supervisor)
{
	struct supervised_forwards *all = &supervisor->forwards;

	for (size_t i = 0; i < all->count; i++)
		all->items[i].is_sent = false;
	all->nremoved = 0;
	supervisor->net_is_full = false;
}

json_t *forwards_json(const struct supervisor *supervisor, size_t first)
{
	json_t *list = json_array();

	for (size_t i = first; i < supervisor->forwards.count; i++) {
		const struct supervised_forward *forward = &supervisor->forwards.items[i];

		json_array_append_new(list, request_forward_json(&forward->spec, forward->driver,
						    forward->has_listened));
	}
	return list;
}

void forwards_announce(struct supervisor *supervisor, size_t first)
{
	for (size_t i = first; i < supervisor->forwards.count; i++) {
		const struct supervised_forward *forward = &supervisor->forwards.items[i];
		struct forward_spec outside = forward->spec;
		char text[FORWARD_TEXT_BYTES];

		spec_format(&outside, text, sizeof(text));
		/* "HOST:GUEST[/proto]": what stands before the guest port is the outside */
		*strrchr(text, ':') = '\0';
		log_notice("%s leads to port %u%s inside (%s)", text, forward->spec.guest_port,
			forward->spec.proto == PROTO_UDP ? "/udp" : "",
			driver_name(forward->driver));
		events_emit(&supervisor->events, "forward",
			request_forward_json(
				&forward->spec, forward->driver, forward->has_listened));
	}
}

/* Read the texts as rules of this sandbox, checked against those it has if @is_new. */
static int read_specs(struct supervisor *supervisor, char *const *specs, bool is_new,
	struct forward_list *out, struct err *err)
{
	struct forward_list all = {0};
	int result = 0;

	for (; result == 0 && *specs; specs++)
		result = spec_list_parse(out, *specs, &supervisor->config->bind, err);
	if (result == 0 && is_new)
		result = forwards_list(supervisor, &all, err);
	for (size_t i = 0; result == 0 && is_new && i < out->count; i++)
		result = spec_list_add(&all, &out->items[i], err);
	if (result == 0 && is_new)
		result = spec_list_check(&all, err);
	spec_list_free(&all);
	return result;
}

static int add_one(struct supervisor *supervisor, const struct forward_spec *spec, struct err *err)
{
	struct init_file file = {.dir_fd = -1};
	struct supervised_forward *forward = append(supervisor, spec, err);

	if (!forward)
		return -err->code;
	if (spec->host.family == AF_UNIX) {
		if (locate(spec->host.local.sun_path, &file, err) < 0)
			return -err->code;
		supervisor_own_file(supervisor, file.dir_fd, file.name);
		fd_close(&file.dir_fd);
	}
	return bind_one(forward, err);
}

int forwards_add(struct supervisor *supervisor, char *const *specs, struct err *err)
{
	struct forward_list list = {0};
	size_t before = supervisor->forwards.count;
	int result = read_specs(supervisor, specs, true, &list, err);

	for (size_t i = 0; result == 0 && i < list.count; i++)
		result = add_one(supervisor, &list.items[i], err);
	spec_list_free(&list);
	if (result < 0) {
		while (supervisor->forwards.count > before)
			drop(supervisor, supervisor->forwards.count - 1);
		return result;
	}
	forwards_send(supervisor);
	forwards_announce(supervisor, before);
	return 0;
}

/* Index of the rule that listens where @spec says, or the number of rules. */
static size_t find_spec(const struct supervisor *supervisor, const struct forward_spec *spec)
{
	size_t i = 0;

	while (i < supervisor->forwards.count &&
		!spec_equal(&supervisor->forwards.items[i].spec, spec))
		i++;
	return i;
}

static int note_removed(
	struct supervisor *supervisor, const struct supervised_forward *forward, struct err *err)
{
	struct supervised_forwards *all = &supervisor->forwards;

	if (!forward->is_sent)
		return 0;
	uint32_t *grown = reallocarray(all->removed, all->nremoved + 1, sizeof(*grown));
	if (!grown)
		return err_sys(err, ENOMEM, "cannot remove a forward");
	all->removed = grown;
	grown[all->nremoved++] = forward->id;
	return 0;
}

int forwards_remove(struct supervisor *supervisor, char *const *specs, struct err *err)
{
	struct forward_list list = {0};
	char text[FORWARD_TEXT_BYTES];
	int result = read_specs(supervisor, specs, false, &list, err);

	for (size_t i = 0; result == 0 && i < list.count; i++)
		if (find_spec(supervisor, &list.items[i]) == supervisor->forwards.count)
			result = err_set(err, ENOENT, "there is no forward %s",
				spec_format(&list.items[i], text, sizeof(text)));
	for (size_t i = 0; result == 0 && i < list.count; i++) {
		size_t index = find_spec(supervisor, &list.items[i]);
		if (index == supervisor->forwards.count)
			continue; /* named twice */
		result = note_removed(supervisor, &supervisor->forwards.items[index], err);
		if (result == 0)
			drop(supervisor, index);
	}
	spec_list_free(&list);
	forwards_send(supervisor);
	return result;
}

static struct supervised_forward *find_id(struct supervisor *supervisor, uint32_t id)
{
	for (size_t i = 0; i < supervisor->forwards.count; i++)
		if (supervisor->forwards.items[i].id == id)
			return &supervisor->forwards.items[i];
	return NULL;
}

void forwards_on_listening(struct supervisor *supervisor, uint32_t id)
{
	struct supervised_forward *forward = find_id(supervisor, id);

	if (!forward || forward->has_listened)
		return;
	forward->has_listened = true;
	events_emit(&supervisor->events, "guest-listening",
		request_forward_json(&forward->spec, forward->driver, true));
	events_ready(&supervisor->events);
}

void forwards_on_failed(struct supervisor *supervisor, uint32_t id, const struct err *err)
{
	struct supervised_forward *forward = find_id(supervisor, id);

	if (!forward)
		return;
	log_error("%s", err->text);
	drop(supervisor, (size_t)(forward - supervisor->forwards.items));
}
