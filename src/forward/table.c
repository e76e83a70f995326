/* SPDX-License-Identifier: Apache-2.0 */
/* forward/table - the forwards at work in a net process, and the look-out for the guest's servers
 */
#include "forward/table.h"

#include <errno.h>
#include <stdlib.h>

#include "forward/pace.h"
#include "forward/slirp_driver.h"
#include "forward/splice_tcp.h"
#include "forward/splice_udp.h"
#include "util/fd.h"

#define FDS_LEAST 4 /* a listener, libslirp's copy of it, the two of a connection */

struct forward_table {
	const struct forward_context *context;
	struct list forwards; /* struct forward */
	struct loop_timer look_timer;
	struct pace pace;
};

static void on_look(struct loop_timer *timer)
{
	struct forward_table *table = container_of(timer, struct forward_table, look_timer);
	struct loop *loop = table->context->loop;
	unsigned waiting = 0;

	list_each (at, &table->forwards) {
		struct forward *forward = container_of(at, struct forward, link);

		waiting += !forward->has_listened && !driver_find_target(forward);
	}
	if (waiting > 0)
		loop_timer_set_ns(
			loop, timer, pace_next_ns(&table->pace, loop_now_ns(loop), waiting));
}

struct forward_table *table_new(const struct forward_context *context)
{
	struct forward_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->context = context;
	list_init(&table->forwards);
	table->look_timer.on_expired = on_look;
	return table;
}

static void forward_free(struct forward *forward)
{
	list_del(&forward->link);
	driver_close(forward);
	fd_close(&forward->listen_fd);
	budget_give(forward->context->budget, 1);
	free(forward);
}

void table_free(struct forward_table *table)
{
	if (!table)
		return;
	loop_timer_cancel(table->context->loop, &table->look_timer);
	while (!list_is_empty(&table->forwards))
		forward_free(list_first(&table->forwards, struct forward, link));
	free(table);
}

static const struct forward_driver *choose_driver(
	const struct forward_spec *spec, enum forward_driver_choice driver)
{
	if (driver == FORWARD_DRIVER_SLIRP)
		return &slirp_driver;
	return spec->proto == PROTO_UDP ? &splice_udp_driver : &splice_tcp_driver;
}

int table_add(struct forward_table *table, uint32_t id, const struct forward_spec *spec,
	enum forward_driver_choice driver, int listen_fd, bool has_listened, struct err *err)
{
	const struct forward_context *context = table->context;
	char text[FORWARD_TEXT_BYTES];

	/* one that could never accept anybody would be silent */
	if (listen_fd < 0 || !budget_has_room(context->budget, FDS_LEAST)) {
		fd_close(&listen_fd);
		return err_sys(
			err, EMFILE, "cannot listen for %s", spec_format(spec, text, sizeof(text)));
	}
	struct forward *forward = calloc(1, sizeof(*forward));
	if (!forward) {
		fd_close(&listen_fd);
		return err_sys(err, ENOMEM, "cannot add a forward");
	}
	forward->id = id;
	forward->spec = *spec;
	forward->driver = choose_driver(spec, driver);
	forward->context = context;
	forward->listen_fd = listen_fd;
	forward->has_listened = has_listened;
	int result = driver_open(forward, err);
	if (result < 0) {
		fd_close(&forward->listen_fd);
		free(forward);
		return result;
	}
	budget_take(context->budget, 1);
	list_add_last(&table->forwards, &forward->link);
	if (!has_listened) {
		pace_start(&table->pace, loop_now_ns(context->loop));
		loop_timer_set(context->loop, &table->look_timer, 0);
	}
	return 0;
}

int table_remove(struct forward_table *table, uint32_t id)
{
	list_each (at, &table->forwards) {
		struct forward *forward = container_of(at, struct forward, link);

		if (forward->id != id)
			continue;
		forward_free(forward);
		return 0;
	}
	return -ENOENT;
}
