/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/outwards - the rules that lead ports of the inside outwards, and their sockets */
#include "sandbox/outwards.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/control.h"
#include "net/refusal.h"
#include "net/syntrap.h"
#include "proc/rights.h"
#include "proc/tree.h"
#include "sandbox/enter.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define MAKE_MS 10000 /* a host that is overloaded takes long */
#define KILL_MS 5000

/* --- sockets of the inside ---------------------------------------------------------------- */

/* What the child says of one: 0, or -errno, and as many descriptors as are set. */
struct made {
	int result;
	bool has_trap;
};

static int make_udp(const struct addr *at)
{
	_cleanup_fd_ int fd = socket(at->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result = fd < 0 ? -errno : bind_socket(fd, at, PROTO_UDP);

	return result < 0 ? result : fd_take(&fd);
}

static void make_one(const struct outward_spec *spec, int report)
{
	struct syntrap trap = {-1, -1};
	struct made made = {0};

	if (spec->proto == PROTO_UDP) {
		made.result = trap.listener = make_udp(&spec->guest);
		if (made.result >= 0)
			trap.trap = refusal_open(spec->guest.family);
	} else {
		made.result = syntrap_open(&spec->guest, &trap);
	}
	made.has_trap = trap.trap >= 0;
	const int fds[] = {trap.listener, trap.trap};
	ssize_t sent = fd_send(
		report, &made, sizeof(made), fds, (size_t)(trap.listener >= 0) + made.has_trap);
	if (sent < 0) {
		made.result = (int)sent;
		fd_send(report, &made, sizeof(made), NULL, 0);
	}
	fd_close(&trap.listener);
	fd_close(&trap.trap);
}

/* The child's whole life, which is short. */
__attribute__((noreturn)) static void make_inside(
	const int *namespaces, const struct outwards_item *items, size_t count, int report)
{
	struct made failed = {0};

	setsid(); /* signals to the job are not for us */
	/* before we are in reach of those inside, who are the same user */
	failed.result = rights_hide();
	if (failed.result == 0)
		failed.result =
			rights_keep_fds((int[]){namespaces[ENTER_USER], namespaces[ENTER_NET],
						namespaces[ENTER_MNT], report},
				4);
	if (failed.result == 0)
		failed.result = enter_namespaces(namespaces, false);
	/* a change of credentials clears it, prctl(2); who has gone by now is told nothing */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (failed.result < 0)
		fd_send(report, &failed, sizeof(failed), NULL, 0);
	for (size_t i = 0; failed.result == 0 && i < count; i++)
		if (items[i].spec.guest.family != AF_UNIX)
			make_one(&items[i].spec, report);
	_exit(0);
}

static int explain(const struct outward_spec *spec, int result, struct err *err)
{
	char guest[ADDR_TEXT_BYTES];

	addr_format(&spec->guest, guest, sizeof(guest));
	if (result == -EADDRINUSE)
		return err_set(err, EADDRINUSE, "%s%s in the sandbox is in use", guest,
			spec->proto == PROTO_UDP ? "/udp" : "");
	if (result == -EADDRNOTAVAIL)
		return err_set(err, EADDRNOTAVAIL, "%s is no address of the sandbox", guest);
	return err_sys(err, -result, "cannot listen at %s in the sandbox", guest);
}

static int take_made(struct outwards_item *item, int report, struct err *err)
{
	struct pollfd said = {report, POLLIN, 0};
	struct made made;
	int fds[2];
	size_t nfds;

	/* those inside may stop it */
	if (TEMP_FAILURE_RETRY(poll(&said, 1, MAKE_MS)) == 0)
		return explain(&item->spec, -ETIMEDOUT, err);
	ssize_t got = fd_recv(report, &made, sizeof(made), fds, 2, &nfds);
	int result = got < 0 ? (int)got : got != sizeof(made) ? -EPIPE : made.result;
	if (result < 0)
		return explain(&item->spec, result, err);
	item->listener.fd = fds[0];
	item->trap = fds[1];
	if (item->spec.proto == PROTO_TCP && item->trap < 0)
		log_info("no packet sockets: who connects to a target that refuses is reset");
	if (item->spec.proto == PROTO_UDP && item->trap < 0)
		log_info("no raw sockets: who sends to a target that refuses is told nothing");
	return 0;
}

static int open_inside(
	const struct outwards *outwards, struct outwards_item *items, size_t count, struct err *err)
{
	int ends[2], result = fd_pair(ends, 0, err);

	if (result < 0)
		return result;
	pid_t pid = fork();
	if (pid == 0)
		make_inside(outwards->namespaces, items, count, ends[1]);
	fd_close(&ends[1]);
	if (pid < 0)
		result = err_sys(err, errno, "cannot enter the sandbox");
	for (size_t i = 0; result == 0 && i < count; i++)
		if (items[i].spec.guest.family != AF_UNIX)
			result = take_made(&items[i], ends[0], err);
	fd_close(&ends[0]);
	if (pid > 0)
		tree_kill_child(pid, KILL_MS);
	return result;
}

static int open_paths(
	const struct outwards *outwards, struct outwards_item *items, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct addr *guest = &items[i].spec.guest;

		if (guest->family != AF_UNIX)
			continue;
		if (forwards_own_path(outwards->ops, outwards->owner, guest->local.sun_path, err) <
				0 ||
			bind_open(guest, PROTO_TCP, &items[i].listener, err) < 0)
			return -err->code;
	}
	return 0;
}

/* --- rules -------------------------------------------------------------------------------- */

static void drop(struct outwards *outwards, struct outwards_item *item)
{
	const struct outwards_item *end = &outwards->items[outwards->count--];

	bind_close(&item->listener);
	fd_close(&item->trap);
	memmove(item, item + 1, (size_t)(end - (item + 1)) * sizeof(*item));
}

void outwards_cut(struct outwards *outwards, size_t first)
{
	while (outwards->count > first)
		drop(outwards, &outwards->items[outwards->count - 1]);
}

void outwards_fini(struct outwards *outwards)
{
	outwards_cut(outwards, 0);
	g_clear_pointer(&outwards->items, g_free);
}

static int check(const struct outwards *outwards, const struct outward_spec *spec, struct err *err)
{
	char text[OUTWARD_TEXT_BYTES], shown[PARSE_QUOTE_BYTES];

	if (outwards->count == OUTWARD_MAX)
		return err_set(err, EINVAL, "too many ports lead outwards: expected at most %d",
			OUTWARD_MAX);
	for (size_t i = 0; i < outwards->count; i++) {
		const struct outward_spec *old = &outwards->items[i].spec;

		if (!outward_clash(old, spec))
			continue;
		parse_shown(outward_format(old, text, sizeof(text)), shown, sizeof(shown));
		return err_set(err, EEXIST, "%s is there already", shown);
	}
	return 0;
}

int outwards_add(
	struct outwards *outwards, const struct outward_spec *specs, size_t count, struct err *err)
{
	const size_t before = outwards->count;
	int result = 0;

	if (count == 0)
		return 0;
	if (!outwards->items)
		outwards->items = g_new0(struct outwards_item, OUTWARD_MAX);
	struct outwards_item *items = &outwards->items[before];
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = check(outwards, &specs[i], err);
		if (result == 0)
			items[i] = (struct outwards_item){.id = ++outwards->next_id,
				.spec = specs[i],
				.listener = {.fd = -1, .dir_fd = -1},
				.trap = -1};
		outwards->count += result == 0;
	}
	if (result == 0)
		result = open_paths(outwards, items, count, err);
	if (result == 0)
		result = open_inside(outwards, items, count, err);
	if (result < 0)
		outwards_cut(outwards, before);
	return result;
}

int outwards_add_texts(struct outwards *outwards, const char *const *texts, struct err *err)
{
	struct outward_list list = {NULL};
	struct outward_spec spec;
	int result = 0;

	for (size_t i = 0; result == 0 && texts[i]; i++) {
		result = outward_parse(texts[i], &spec, err);
		if (result == 0 && outward_has_name(&spec))
			result = err_set(err, EINVAL, "%s: expected an address here", texts[i]);
		if (result == 0)
			result = outward_list_add(&list, &spec, err);
	}
	if (result == 0)
		result = outwards_add(outwards, list.items, list.count, err);
	outward_list_free(&list);
	return result;
}

void outwards_tell(struct outwards *outwards, size_t first)
{
	outwards_send(outwards, false);
	outwards_announce(outwards, first);
}

/* Is it named by @text, whole or just by what stands in front of the target? */
static bool is_named(const struct outward_spec *spec, const char *text)
{
	struct outward_spec asked;
	char guest[ADDR_TEXT_BYTES];
	unsigned long port;

	if (parse_uint(text, UINT16_MAX, &port) == 0)
		return spec->guest.family != AF_UNIX && addr_port(&spec->guest) == port;
	return strcmp(addr_format(&spec->guest, guest, sizeof(guest)), text) == 0 ||
	       (outward_parse(text, &asked, NULL) == 0 && outward_equal(&asked, spec));
}

static struct outwards_item *find_named(
	struct outwards *outwards, const char *text, struct err *err)
{
	struct outwards_item *found = NULL;

	for (size_t i = 0; i < outwards->count; i++) {
		if (!is_named(&outwards->items[i].spec, text))
			continue;
		if (found) {
			err_set(err, EINVAL,
				"%s: several ports of the sandbox are that: expected "
				"what nswrap port list shows",
				text);
			return NULL;
		}
		found = &outwards->items[i];
	}
	if (!found)
		err_set(err, ENOENT, "no port %s leads outwards", text);
	return found;
}

int outwards_check_named(struct outwards *outwards, const char *const *texts, struct err *err)
{
	for (; *texts; texts++)
		if (!find_named(outwards, *texts, err))
			return -err->code;
	return 0;
}

int outwards_remove(struct outwards *outwards, const char *const *texts, struct err *err)
{
	if (outwards_check_named(outwards, texts, err) < 0)
		return -err->code;
	for (; *texts; texts++) {
		struct outwards_item *item = find_named(outwards, *texts, err);

		if (!item)
			continue; /* named twice */
		/* the net process closes its copies, or the port would go on */
		if (outwards->nremoved == OUTWARD_MAX)
			return err_set(err, EAGAIN, "the net process is busy: try again");
		outwards->removed[outwards->nremoved++] = item->id;
		drop(outwards, item);
	}
	outwards_send(outwards, false);
	return 0;
}

/* --- the net process ------------------------------------------------------------------------ */

static int send_item(const struct outwards *outwards, const struct outwards_item *item)
{
	struct net_message message = {.type = NET_LEAD_OUT, .id = item->id, .outward = item->spec};
	int result = outwards->ops->send(outwards->owner, &message, item->listener.fd);

	if (result < 0 || (item->trap < 0 && item->spec.proto == PROTO_TCP))
		return result;
	message.type = NET_LEAD_OUT_TRAP;
	return outwards->ops->send(outwards->owner, &message, item->trap);
}

void outwards_send(struct outwards *outwards, bool is_fresh)
{
	int result = 0;

	for (size_t i = 0; is_fresh && i < outwards->count; i++)
		outwards->items[i].is_sent = false;
	if (is_fresh)
		outwards->nremoved = 0;
	while (result == 0 && outwards->nremoved > 0) {
		const struct net_message message = {
			.type = NET_LEAD_OUT_END, .id = outwards->removed[outwards->nremoved - 1]};

		result = outwards->ops->send(outwards->owner, &message, -1);
		outwards->nremoved -= result == 0;
	}
	for (size_t i = 0; result == 0 && i < outwards->count; i++) {
		struct outwards_item *item = &outwards->items[i];

		if (item->is_sent)
			continue;
		result = send_item(outwards, item);
		item->is_sent = result == 0;
	}
}

/* A connection to @path, or -errno. */
static int dial(const struct addr *path)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &path->any, addr_len(path)) < 0)
		return -errno;
	return fd_take(&fd);
}

void outwards_on_dial(struct outwards *outwards, uint32_t id, uint32_t number)
{
	const struct net_message answer = {.type = NET_DIALLED, .call = {.number = number}};
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < outwards->count; i++) {
		const struct outwards_item *item = &outwards->items[i];

		if (item->id != id || item->spec.host[0] != '\0')
			continue;
		_cleanup_fd_ int fd = dial(&item->spec.path);
		if (fd < 0)
			log_info("%s refused a connection of the sandbox: %s",
				PARSE_SHOWN(addr_format(&item->spec.path, text, sizeof(text))),
				strerror(-fd));
		/* what it does not take is late there */
		outwards->ops->send(outwards->owner, &answer, fd < 0 ? -1 : fd);
		return;
	}
}

/* --- what is said ----------------------------------------------------------------------------- */

static json_t *item_json(const struct outwards_item *item)
{
	const struct outward_spec *spec = &item->spec;
	char text[OUTWARD_TEXT_BYTES], guest[ADDR_TEXT_BYTES];
	json_t *reverse = json_pack("{s:o, s:o}", "spec",
		control_text(outward_format(spec, text, sizeof(text))), "proto",
		json_string(addr_proto_name(spec->proto)));

	addr_format_ip(&spec->guest, guest, sizeof(guest));
	json_object_set_new(
		reverse, "target", control_text(outward_format_target(spec, text, sizeof(text))));
	if (spec->guest.family == AF_UNIX) {
		json_object_set_new(reverse, "path", control_text(guest));
		return reverse;
	}
	json_object_set_new(reverse, "guest", json_string(guest));
	json_object_set_new(reverse, "guest_port", json_integer(addr_port(&spec->guest)));
	return reverse;
}

json_t *outwards_json(const struct outwards *outwards, size_t first)
{
	json_t *list = json_array();

	for (size_t i = first; i < outwards->count; i++)
		json_array_append_new(list, item_json(&outwards->items[i]));
	return list;
}

void outwards_announce(struct outwards *outwards, size_t first)
{
	char guest[ADDR_TEXT_BYTES], target[OUTWARD_TEXT_BYTES];

	for (size_t i = first; i < outwards->count; i++) {
		const struct outward_spec *spec = &outwards->items[i].spec;

		if (outwards->items[i].is_announced)
			continue;
		outwards->items[i].is_announced = true;
		log_notice("%s%s inside leads to %s on the host",
			PARSE_SHOWN(addr_format(&spec->guest, guest, sizeof(guest))),
			spec->proto == PROTO_UDP ? "/udp" : "",
			PARSE_SHOWN(outward_format_target(spec, target, sizeof(target))));
		events_emit(outwards->events, "reverse", item_json(&outwards->items[i]));
	}
}
