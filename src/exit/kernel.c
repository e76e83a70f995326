/* SPDX-License-Identifier: Apache-2.0 */
/* exit/kernel - a network namespace with a TUN device as a TCP/IP stack of ours */
#include "exit/kernel.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/bind.h"
#include "conn/inside.h"
#include "exit/holder.h"
#include "net/diag.h"
#include "net/tap.h"
#include "proc/tree.h"
#include "util/fd.h"
#include "util/list.h"

#define ANSWER_MS 5000
#define KILL_MS   5000
#define SOCKET_MS 2000 /* for the pool of inside sockets to answer */

static struct kernel *kernel_of(struct stack *stack)
{
	return container_of(stack, struct kernel, stack);
}

/* --- packets ------------------------------------------------------------------------------ */

static ssize_t take(struct stack *stack, void *packet, size_t cap_bytes)
{
	const struct kernel *kernel = kernel_of(stack);
	ssize_t got = tap_read(kernel->tun_io.fd, packet, cap_bytes);

	/* what tun_chr_read_iter says then; and epoll would not let us sleep any more */
	if (got == -EBADFD && kernel->events)
		kernel->events->on_gone(
			kernel->owner, "the network device of the mesh was deleted");
	return got;
}

static int deliver(struct stack *stack, const void *packet, size_t len)
{
	return tap_write(kernel_of(stack)->tun_io.fd, packet, len, 0);
}

static void rest(struct stack *stack, bool is_resting)
{
	struct kernel *kernel = kernel_of(stack);

	loop_io_mod(kernel->loop, &kernel->tun_io, is_resting ? 0 : EPOLLIN);
}

/* --- connections -------------------------------------------------------------------------- */

static struct dial_target target(struct stack *stack, const struct addr *at)
{
	(void)stack;
	return (struct dial_target){.where = DIAL_INSIDE, .addr = *at};
}

static int connections(struct stack *stack,
	int (*on_connection)(void *owner, const struct addr *own, const struct addr *peer),
	void *owner)
{
	int diag = kernel_of(stack)->diag;

	return diag < 0 ? -EOPNOTSUPP : diag_each_connection(diag, on_connection, owner);
}

static int is_connected(struct stack *stack, const struct addr *own, const struct addr *peer)
{
	int diag = kernel_of(stack)->diag;

	return diag < 0 ? -EOPNOTSUPP
			: diag_is_connected(diag, own, peer, kernel_of(stack)->ifindex);
}

/* Listen, or have the address, also where the other one of an exit and of the own address is
 * there: the longer match gets the connections. */
static int bind_beside(int fd, const struct addr *addr, enum proto proto, bool is_shared)
{
	int on = 1;

	if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	return bind_socket(fd, addr, proto);
}

static int open_bound(struct stack *stack, enum proto proto, const struct addr *addr)
{
	const struct kernel *kernel = kernel_of(stack);
	_cleanup_fd_ int fd = inside_take_now(
		kernel->inside, proto == PROTO_TCP ? DOOR_TCP4 : DOOR_UDP4, SOCKET_MS);
	/* in a sandbox a program of the same user could join it */
	int result =
		fd < 0 ? fd : bind_beside(fd, addr, proto, kernel->is_new && proto == PROTO_TCP);

	return result < 0 ? result : fd_take(&fd);
}

/* --- requests ----------------------------------------------------------------------------- */

/* A program of the sandbox may have stopped it: its end is noticed, its silence is not. Returns 0
 * or -errno: -ETIMEDOUT: it has been silent, and is killed. */
static int receive(const struct kernel *kernel, struct holder_answer *answer, int *fd)
{
	struct pollfd pollfd = {kernel->control_io.fd, POLLIN, 0};

	if (poll(&pollfd, 1, ANSWER_MS) != 0)
		return fd_recv_one(pollfd.fd, answer, sizeof(*answer), fd);
	kill(kernel->pid, SIGKILL);
	return -ETIMEDOUT;
}

/* Returns the result; *@fd is what came along, or -1. NULL: nothing does. */
static int ask_for(struct stack *stack, const struct holder_request *request, int *fd)
{
	const struct kernel *kernel = kernel_of(stack);
	struct holder_answer answer;

	if (fd_send_one(kernel->control_io.fd, request, sizeof(*request), -1) < 0)
		return -EPIPE;
	return receive(kernel, &answer, fd) < 0 ? -EPIPE : answer.result;
}

static int ask(struct stack *stack, const struct holder_request *request)
{
	return ask_for(stack, request, NULL);
}

static int open_exit(struct stack *stack, uint16_t port)
{
	const struct addr at = addr_of4((struct in_addr){INADDR_ANY}, port);
	_cleanup_fd_ int fd = -1;
	int result = ask_for(stack, &(struct holder_request){.op = HOLDER_OPEN_EXIT}, &fd);

	if (result == 0)
		result = fd < 0 ? -EMFILE : bind_beside(fd, &at, PROTO_TCP, true);
	return result < 0 ? result : fd_take(&fd);
}

static int change(struct stack *stack, enum stack_change change, struct in_addr vip)
{
	return ask(stack, &(struct holder_request){.op = change, .vip = vip});
}

static int open_aliases(struct stack *stack, struct in_addr self, struct in_addr *net, bool *turns)
{
	const struct holder_request request = {
		.op = HOLDER_OPEN_ALIASES, .vip = self, .turns = *turns};
	int result = ask(stack, &request);

	if (result < 0)
		return result;
	*turns = result & HOLDER_TURNS;
	net->s_addr = htonl(
		HOLDER_ALIAS_NET | (uint32_t)(result & HOLDER_NUMBER_MASK) << HOLDER_ALIAS_SHIFT);
	return 0;
}

static int route(struct stack *stack, bool is_added, struct in_addr net, int prefix_len)
{
	return ask(stack,
		&(struct holder_request){.op = is_added ? HOLDER_ADD_ROUTE : HOLDER_DEL_ROUTE,
			.vip = net,
			.prefix_len = prefix_len});
}

static int reserve_ports(struct stack *stack, const char *ports)
{
	struct holder_request request = {.op = HOLDER_RESERVE_PORTS};

	if (strlen(ports) >= sizeof(request.ports))
		return -ENAMETOOLONG;
	memcpy(request.ports, ports, strlen(ports));
	return ask(stack, &request);
}

/* --- start and end ------------------------------------------------------------------------ */

static void on_readable(struct loop_io *io, uint32_t events)
{
	struct kernel *kernel = container_of(io, struct kernel, tun_io);

	(void)events;
	kernel->events->on_packets(kernel->owner);
}

static void on_end(struct loop_io *io, uint32_t events)
{
	struct kernel *kernel = container_of(io, struct kernel, control_io);

	(void)events;
	kernel->events->on_gone(kernel->owner, "the stack process is gone");
}

static int watch(struct stack *stack, const struct conn_context *context,
	const struct stack_events *events, void *owner)
{
	struct kernel *kernel = kernel_of(stack);

	kernel->loop = context->loop;
	kernel->inside = context->inside;
	kernel->events = events;
	kernel->owner = owner;
	kernel->tun_io.on_ready = on_readable;
	kernel->control_io.on_ready = on_end;
	int result = loop_io_add(context->loop, &kernel->tun_io, EPOLLIN);
	return result < 0 ? result : loop_io_add(context->loop, &kernel->control_io, 0);
}

static void stop(struct stack *stack)
{
	struct kernel *kernel = kernel_of(stack);

	if (kernel->loop) {
		loop_io_del(kernel->loop, &kernel->tun_io);
		loop_io_del(kernel->loop, &kernel->control_io);
	}
	fd_close(&kernel->tun_io.fd);
	fd_close(&kernel->stack.door);
	fd_close(&kernel->control_io.fd);
	fd_close(&kernel->diag);
	if (kernel->pid > 0) {
		/* it would see our end go; but it may be stopped */
		tree_kill_child(kernel->pid, KILL_MS);
	}
	free(kernel);
}

static const struct stack_ops ops = {
	.kind = STACK_KERNEL,
	.watch = watch,
	.stop = stop,
	.take = take,
	.rest = rest,
	.deliver = deliver,
	.connections = connections,
	.is_connected = is_connected,
	.target = target,
	.open_bound = open_bound,
	.open_aliases = open_aliases,
	.change = change,
	.route = route,
	.open_exit = open_exit,
	.reserve_ports = reserve_ports,
};

static int start(struct kernel *kernel, bool is_new, struct err *err)
{
	struct holder_answer answer;
	int control[2], door[2] = {-1, -1};
	int result = fd_pair(control, 0, err);

	if (result == 0)
		result = fd_pair(door, SOCK_NONBLOCK, err);
	kernel->control_io.fd = control[0];
	kernel->stack.door = door[0];
	if (result == 0)
		result = kernel->pid = holder_start(is_new, control[1], door[1], err);
	fd_close(&control[1]);
	fd_close(&door[1]);
	if (result < 0)
		return result;
	result = receive(kernel, &answer, &kernel->tun_io.fd);
	if (result == 0 && answer.result < 0)
		return err_set(err, answer.err.code, "%s", answer.err.text);
	if (result == 0) {
		kernel->ifindex = answer.result;
		result = receive(kernel, &answer, &kernel->diag);
	}
	if (result == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT,
			"the process that sets it up has said nothing for %d s: it hangs, or was stopped",
			ANSWER_MS / 1000);
	if (result < 0 || kernel->tun_io.fd < 0)
		return err_set(err, ECHILD, "the process that sets it up ended at once");
	return 0;
}

struct stack *kernel_open(bool is_new, struct err *err)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct err reason = {0};

	if (!kernel) {
		err_sys(err, ENOMEM, "no network for the mesh");
		return NULL;
	}
	*kernel = (struct kernel){.stack = {.ops = &ops, .door = -1},
		.is_new = is_new,
		.tun_io.fd = -1,
		.control_io.fd = -1,
		.diag = -1};
	if (start(kernel, is_new, &reason) == 0)
		return &kernel->stack;
	stop(&kernel->stack);
	err_set(err, reason.code, "no network for the mesh: %s; `nswrap doctor` says more",
		reason.text);
	return NULL;
}
