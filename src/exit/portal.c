/* SPDX-License-Identifier: Apache-2.0 */
/* exit/portal - an exit at work: one link's packets become connections of this host */
#include "exit/portal.h"

#include <errno.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "conn/accept.h"
#include "conn/context.h"
#include "dns/hostservers.h"
#include "dns/nameserver.h"
#include "exit/answer.h"
#include "exit/channel.h"
#include "exit/exit.h"
#include "exit/kernel.h"
#include "exit/sixfour.h"
#include "proc/rights.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/ready.h"

#define FDS_MAX     65536
#define BATCH_BYTES (128 * 1024) /* more is not read at once; one packet may go beyond */
#define GAP         (SIXFOUR_GROWTH + CHANNEL_HEADROOM) /* in front of each packet */
#define DNS_PORT    53
#define LINE_NS     (60 * NS_PER_S)

_Static_assert(EXIT_HEADROOM >= GAP, "datagrams become IPv6 in place");

struct portal {
	const struct portal_start *start;
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct stack *stack;
	struct exit_limits limits;
	struct exit *exit;
	struct sixfour *sixfour;
	struct channel channel;
	struct answers answers;
	bool is_resting; /* the stack: the link is full */
	struct loop_io signal_io;
	struct ready ready;
	uint64_t said_ns; /* that something is not exposed */

	/* the resolver */
	struct in_addr own;
	struct forwarder *forwarder;
	struct hostservers servers;
	struct nameserver *nameserver;
	struct acceptor dns_tcp;
	int dns_fds[2]; /* UDP, TCP */

	struct err *err;
	struct iovec packets[WIRE_PARTS_MAX];
	unsigned char batch[BATCH_BYTES + GAP + FRAME_PACKET_MAX];
};

/* --- to the entrance ---------------------------------------------------------------------- */

/* Packets, each with GAP bytes in front of it, as the entrance has addresses. */
static void send_back(void *owner, struct iovec *packets, size_t count)
{
	struct portal *portal = owner;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		unsigned char *packet = packets[i].iov_base;
		size_t len = packets[i].iov_len;
		struct in_addr src, dst;

		if (packet_addresses(packet, len, &src, &dst) && sixfour_is_alias(dst)) {
			len = sixfour_out(portal->sixfour, packet, len, len);
			packet -= SIXFOUR_GROWTH;
		}
		if (len > 0)
			packets[kept++] = (struct iovec){packet, len};
	}
	if (kept > 0)
		channel_send(&portal->channel, packets, kept);
}

/* To the sender of @packet, as if by who it is for. */
static void refuse(void *owner, const struct packet_view *packet, uint8_t code)
{
	struct portal *portal = owner;
	unsigned char bytes[SIXFOUR_GROWTH + ANSWER_FRAME_BYTES + SIXFOUR_GROWTH];
	unsigned char *frame = bytes + SIXFOUR_GROWTH, *answer = frame + FRAME_HEADER_BYTES;
	const struct answer what = {.from = packet->dst.ip, .code = code};
	size_t len = answer_make(&portal->answers, &what, packet, loop_now_ns(portal->loop), frame);

	if (len == 0)
		return;
	len -= FRAME_HEADER_BYTES;
	if (sixfour_is_alias(packet->src.ip)) {
		len = sixfour_out(portal->sixfour, answer, len, len + SIXFOUR_GROWTH);
		answer -= SIXFOUR_GROWTH;
	}
	if (len > 0)
		channel_send(&portal->channel, &(struct iovec){answer, len}, 1);
}

static void on_packets(void *owner)
{
	struct portal *portal = owner;
	struct stack *stack = portal->stack;
	size_t used = 0, count = 0;

	while (used < BATCH_BYTES && count < WIRE_PARTS_MAX) {
		unsigned char *packet = portal->batch + used + GAP;
		ssize_t got = stack->ops->take(stack, packet, FRAME_PACKET_MAX);

		if (got < 0)
			break;
		if (got == 0)
			continue;
		portal->packets[count++] = (struct iovec){packet, (size_t)got};
		used += GAP + (size_t)got;
	}
	if (count > 0)
		send_back(portal, portal->packets, count);
	if (!channel_wants(&portal->channel) && !portal->is_resting) {
		portal->is_resting = true;
		stack->ops->rest(stack, true);
	}
}

static void on_room(void *owner)
{
	struct portal *portal = owner;

	if (portal->is_resting && channel_wants(&portal->channel)) {
		portal->is_resting = false;
		portal->stack->ops->rest(portal->stack, false);
	}
}

/* --- from the entrance -------------------------------------------------------------------- */

static void into_stack(void *owner, const struct packet_view *packet)
{
	struct stack *stack = ((struct portal *)owner)->stack;
	int result = stack->ops->deliver(stack, packet->ip, packet->len);

	/* what it does not take is lost, as on any network */
	if (result < 0)
		log_debug("a packet was lost: %s", strerror(-result));
}

/* An entrance is one host, with an address that a host can have. */
static bool is_sender(struct in_addr ip)
{
	const uint32_t host = ntohl(ip.s_addr);

	return host >> 24 != 0 && host >> 24 != 127 && host < 0xe0000000;
}

/* Into a connection that is there; else it is of one that was here before this exit. */
static void go_on(struct portal *portal, const struct packet_view *packet)
{
	const struct addr own = addr_of4(packet->dst.ip, packet->dst.port),
			  peer = addr_of4(packet->src.ip, packet->src.port);
	struct stack *stack = portal->stack;

	if (exit_has(portal->exit, packet) || stack->ops->is_connected(stack, &own, &peer) != 0)
		into_stack(portal, packet);
	else
		refuse(portal, packet, ICMP_PORT_UNREACH);
}

/* For the resolver's address. */
static void take_query(struct portal *portal, const struct packet_view *packet)
{
	if ((packet->proto == IPPROTO_TCP || packet->proto == IPPROTO_UDP) &&
		packet->dst.port == DNS_PORT && portal->nameserver)
		into_stack(portal, packet);
	else
		refuse(portal, packet, ICMP_PORT_UNREACH);
}

static void take(struct portal *portal, const struct packet_view *packet)
{
	const bool begins = (packet->tcp_flags & (PACKET_SYN | PACKET_ACK)) == PACKET_SYN;

	if (packet_is_same_ip(packet->dst.ip, portal->own))
		take_query(portal, packet);
	else if (packet->is_fragment)
		return; /* the network device of an entrance cuts nothing, unless it is told to */
	else if (packet->proto == IPPROTO_TCP && !begins)
		go_on(portal, packet);
	else if (packet->proto == IPPROTO_TCP || packet->proto == IPPROTO_UDP ||
		 (packet->proto == IPPROTO_ICMP && packet->l4_len >= PACKET_ICMP_BYTES &&
			 packet->l4[0] == ICMP_ECHO))
		exit_take(portal->exit, packet);
	else if (packet->proto != IPPROTO_ICMP)
		refuse(portal, packet, ICMP_PROT_UNREACH);
}

static void on_packet(void *owner, unsigned char *packet, size_t len)
{
	struct portal *portal = owner;
	const bool is_six = len > 0 && packet[0] >> 4 == 6;
	struct packet_view view;

	if (is_six) {
		len = sixfour_in(portal->sixfour, packet, len);
		packet += SIXFOUR_GROWTH;
	}
	/* nobody but sixfour speaks in the name of an alias */
	if (len > 0 && packet_parse(packet, len, &view) && (is_six || is_sender(view.src.ip)) &&
		(is_six || !sixfour_is_alias(view.dst.ip)))
		take(portal, &view);
}

/* --- what the exit needs ------------------------------------------------------------------ */

static int open_listener(void *owner, uint16_t port)
{
	struct stack *stack = ((struct portal *)owner)->stack;

	return stack->ops->open_exit(stack, port);
}

static bool find(void *owner, struct packet_end dst, struct addr *out)
{
	const struct portal *portal = owner;
	struct in6_addr ip6;

	if (!sixfour_is_alias(dst.ip)) {
		*out = addr_of4(dst.ip, dst.port);
		return true;
	}
	if (!sixfour_find(portal->sixfour, dst.ip, &ip6))
		return false;
	*out = addr_of6(&ip6, dst.port);
	return true;
}

static void on_unexposed(void *owner, const struct packet_view *packet)
{
	struct portal *portal = owner;
	const uint64_t now_ns = loop_now_ns(portal->loop);
	char text[ADDR_TEXT_BYTES];
	struct addr to;

	if ((portal->said_ns != 0 && now_ns - portal->said_ns < LINE_NS) ||
		!find(portal, packet->dst, &to))
		return;
	portal->said_ns = now_ns;
	if (packet->proto == IPPROTO_ICMP)
		addr_format_ip(&to, text, sizeof(text));
	else
		addr_format(&to, text, sizeof(text));
	log_warning("exit: asked for %s, which is not exposed (--expose)", text);
}

static const struct exit_ops exit_ops = {
	.open_listener = open_listener,
	.let_in = into_stack,
	.refuse = refuse,
	.on_unexposed = on_unexposed,
	.find = find,
	.send = send_back,
};

/* --- the resolver ------------------------------------------------------------------------- */

static int on_query(void *owner, struct nameserver_question *question, const struct query *query,
	struct reply *out)
{
	(void)question;
	(void)query;
	(void)out;
	return hostservers_look(&((struct portal *)owner)->servers) > 0 ? -ENOENT : -EHOSTUNREACH;
}

static void on_dns_client(struct acceptor *acceptor, int fd, const struct addr *peer)
{
	nameserver_add_client(container_of(acceptor, struct portal, dns_tcp)->nameserver, fd, peer);
}

/* Returns 0 or -errno. */
static int open_resolver(struct portal *portal)
{
	static const struct nameserver_ops ops = {.on_query = on_query};
	const struct addr at = addr_of4(portal->own, DNS_PORT);
	struct stack *stack = portal->stack;

	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		int fd = stack->ops->open_bound(stack, proto, &at);
		if (fd < 0)
			return fd;
		portal->dns_fds[proto == PROTO_TCP] = fd;
	}
	portal->forwarder = forwarder_new(portal->loop, &portal->budget);
	portal->servers = (struct hostservers){.loop = portal->loop,
		.forwarder = portal->forwarder,
		.resolv_conf = portal->start->resolv_conf};
	if (portal->forwarder)
		portal->nameserver = nameserver_new(
			portal->loop, &portal->budget, portal->forwarder, &ops, portal);
	if (!portal->nameserver)
		return -ENOMEM;
	portal->dns_tcp.on_client = on_dns_client;
	portal->dns_tcp.fds_each = 1;
	int result = nameserver_add_udp(portal->nameserver, portal->dns_fds[0]);
	return result < 0 ? result
			  : acceptor_open(&portal->dns_tcp, portal->loop, &portal->budget,
				    portal->dns_fds[1]);
}

/* --- start and end ------------------------------------------------------------------------ */

static void on_up(void *owner)
{
	struct portal *portal = owner;

	log_info("exit: an entrance is there%s%s", portal->channel.peer.version[0] ? ", " : "",
		portal->channel.peer.version);
	on_room(portal);
}

static void on_link_end(void *owner, const char *why)
{
	struct portal *portal = owner;

	if (why)
		err_set(portal->err, EPIPE, "exit: the link broke: %s", why);
	loop_stop(portal->loop, why ? -EPIPE : 0);
}

static const struct channel_ops channel_ops = {
	.on_packet = on_packet, .on_up = on_up, .on_room = on_room, .on_end = on_link_end};

static void on_gone(void *owner, const char *why)
{
	struct portal *portal = owner;

	err_set(portal->err, EPIPE, "exit: %s", why);
	loop_stop(portal->loop, -EPIPE);
}

static const struct stack_events stack_events = {on_packets, on_gone};

static void on_signal(struct loop_io *io, uint32_t events)
{
	(void)events;
	loop_stop(container_of(io, struct portal, signal_io)->loop, 0);
}

/* SIGPIPE: splice(2) has no flag against it. Those that end us, end connections first. */
static int open_signals(struct portal *portal, struct err *err)
{
	sigset_t ending;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ending);
	sigaddset(&ending, SIGHUP);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, NULL);
	portal->signal_io =
		(struct loop_io){signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC), on_signal};
	return portal->signal_io.fd < 0 ? err_sys(err, errno, "cannot receive signals") : 0;
}

/* The stack's address is the resolver's; every other one is local there from now on. */
static int open_stack(struct portal *portal)
{
	struct stack *stack = portal->stack;
	int result = stack->ops->change(stack, STACK_SET_SELF, portal->own);

	if (result == 0)
		result = stack->ops->route(stack, true, (struct in_addr){0}, 0);
	if (result == 0)
		result = stack->ops->watch(stack, &portal->context, &stack_events, portal);
	return result;
}

static int set_up(struct portal *portal, struct err *err)
{
	portal->loop = loop_new();
	portal->channel = (struct channel){.loop = portal->loop,
		.hub = portal->loop ? wire_hub_new(portal->loop) : NULL,
		.ops = &channel_ops,
		.owner = portal,
		.self = {.kind = HELLO_EXIT,
			.features = HELLO_ACKNOWLEDGE | HELLO_IPV6 | HELLO_DNS}};
	if (!portal->channel.hub)
		return err_sys(err, errno, "cannot make an event loop");
	portal->budget.max = rights_raise_fd_limit(FDS_MAX);
	if (budget_check(portal->budget.max, 0, err) < 0)
		return -err->code;
	int result =
		context_open(&portal->context, portal->loop, &portal->budget, portal->stack->door);
	if (result == 0)
		result = open_stack(portal);
	if (result < 0)
		return err_sys(err, -result, "cannot set up the network of the exit");
	portal->limits.host = portal->start->expose;
	portal->sixfour = sixfour_new();
	portal->exit = exit_new(&portal->context, &portal->limits, &exit_ops, portal);
	if (!portal->sixfour || !portal->exit)
		return err_sys(err, ENOMEM, "cannot set up the exit");
	result = open_resolver(portal);
	if (result == 0)
		result = loop_io_add(portal->loop, &portal->signal_io, EPOLLIN);
	return result < 0 ? err_sys(err, -result, "cannot set up the exit") : 0;
}

static void take_down(struct portal *portal)
{
	channel_close(&portal->channel);
	if (portal->dns_tcp.loop)
		acceptor_close(&portal->dns_tcp);
	nameserver_free(portal->nameserver);
	forwarder_free(portal->forwarder);
	exit_free(portal->exit);
	sixfour_free(portal->sixfour);
	context_close(&portal->context);
	portal->stack->ops->stop(portal->stack);
	fd_close(&portal->dns_fds[0]);
	fd_close(&portal->dns_fds[1]);
	fd_close(&portal->signal_io.fd);
	ready_end(&portal->ready, 0);
	wire_hub_free(portal->channel.hub);
	loop_free(portal->loop);
	free(portal);
}

static int open_link(struct portal *portal, struct err *err)
{
	const struct portal_start *start = portal->start;
	int result = channel_open(&portal->channel, start->in_fd, start->out_fd);

	if (result == -EPERM)
		return err_set(err, EPERM, "exit: the link is a file: expected pipes or sockets");
	return result < 0 ? err_sys(err, -result, "exit: cannot watch the link") : 0;
}

int portal_run(const struct portal_start *start, struct err *err)
{
	struct portal *portal = calloc(1, sizeof(*portal));
	int in_fd = start->in_fd, out_fd = start->out_fd;

	if (!portal)
		return err_sys(err, ENOMEM, "cannot set up the exit");
	*err = (struct err){0};
	portal->start = start;
	portal->err = err;
	portal->own.s_addr = htonl(HELLO_DNS_ADDRESS);
	portal->dns_fds[0] = portal->dns_fds[1] = portal->signal_io.fd = -1;
	portal->ready.io.fd = start->ready_fd;
	int result = open_signals(portal, err);
	portal->stack = result == 0 ? kernel_open(true, err) : NULL;
	if (!portal->stack) {
		fd_close(&portal->signal_io.fd);
		free(portal);
		close(in_fd);
		if (out_fd != in_fd)
			close(out_fd);
		return -err->code;
	}
	result = set_up(portal, err);
	if (result == 0)
		result = open_link(portal, err);
	portal->ready.loop = portal->loop;
	if (result == 0)
		ready_tell(&portal->ready);
	if (result == 0)
		result = loop_run(portal->loop);
	if (result < 0 && err->code == 0)
		err_sys(err, -result, "the exit ends");
	take_down(portal);
	return result;
}
