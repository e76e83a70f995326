/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirp - libslirp on a TAP, a guest of the event loop, behind the frame guard */
#include "net/slirp.h"

#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/guard.h"
#include "net/icmp6.h"
#include "net/pcap.h"
#include "net/refusal.h"
#include "net/slirp_fds.h"
#include "net/slirplib.h"
#include "net/solicit.h"
#include "net/tap.h"
#include "util/clock.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define FRAME_BYTES (TAP_ETHER_BYTES + 65536)
#define READ_BURST  32 /* frames taken from the TAP before libslirp's sockets get their turn */
/*
 * libslirp knows no window scaling: 64 KiB are on their way at most. With segments of a quarter of
 * that one side copies while the other one computes, and the rate is steady; with whole ones they
 * wait for each other, and the rate swings by a factor of four with where the scheduler puts them.
 * Only what libslirp is said to receive is that small: it takes the lesser of both for segments
 * (tcp_mss in its tcp_input.c, 4.7.0), but refuses each IPv6 packet larger than if_mtu.
 */
#define SEGMENT_MTU 16410

struct slirp_timer {
	struct loop_timer timer;
	SlirpTimerCb callback;
	void *callback_opaque;
};

struct slirp_stack {
	struct loop *loop;
	Slirp *slirp;
	const struct net_plan *plan;
	struct loop_io tap_io;
	struct loop_hook hook;
	struct slirp_fds fds;
	struct hairpin hairpin; /* all zero: none */
	struct solicit solicit;
	const uint8_t *asked; /* an Ethernet address that is not libslirp's; NULL: there is none */
	void (*on_asked)(void *owner, uint8_t *frame, size_t len);
	void *asked_owner;
	bool has_input;  /* libslirp was given something: ask again what it waits for */
	uint64_t due_ns; /* when it wants to be called again; at first: at once */
	uint64_t drops[GUARD_VERDICTS];
	uint8_t *frame; /* FRAME_BYTES */
	uint64_t nmissed;
	struct pcap pcap; /* its descriptor is -1: none */
};

/* --- descriptors ------------------------------------------------------------------------- */

static void on_register(int fd, void *opaque)
{
	struct slirp_stack *stack = opaque;

	slirp_fds_opened(&stack->fds, fd);
}

/* Is @fd a connection of which we have not sent the end? */
static bool is_unended(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT);
}

/*
 * libslirp closes @fd next (4.7.0), also where the guest has reset: what looks like all there is
 * would then be a part.
 */
static void on_unregister(int fd, void *opaque)
{
	struct slirp_stack *stack = opaque;

	if (is_unended(fd))
		fd_reset_at_close(fd, true);
	slirp_fds_closed(&stack->fds, fd);
}

/* --- frames ------------------------------------------------------------------------------ */

/* The network does not wait for who reads the file: it misses frames. */
static void capture(struct slirp_stack *stack, const void *frame, size_t len)
{
	int result = stack->pcap.fd < 0 ? 0 : pcap_write_frame(&stack->pcap, frame, len);

	if (result == 0)
		return;
	if (result == -EPIPE) {
		log_warning("--pcap ends here: nobody reads it any more");
		stack->pcap.fd = -1;
		return;
	}
	/* once a power of two, as drop_frame does */
	uint64_t count = ++stack->nmissed;
	if ((count & (count - 1)) == 0)
		log_line(count == 1 ? LOG_WARNING : LOG_INFO, "--pcap misses frames (%llu): %s",
			(unsigned long long)count,
			result == -EAGAIN ? "who reads it is too slow" : strerror(-result));
}

static ssize_t on_send_packet(const void *frame, size_t len, void *opaque)
{
	struct slirp_stack *stack = opaque;

	capture(stack, frame, len);
	/* a full queue loses the frame, as on any link; TCP sends it again */
	int result = tap_write(stack->tap_io.fd, frame, len, TAP_ETHER_BYTES);
	if (result < 0)
		log_debug("a frame of %zu bytes was lost: %s", len, strerror(-result));
	return (ssize_t)len;
}

/* What libslirp has for the guest. */
static ssize_t on_output(const void *frame, size_t len, void *opaque)
{
	struct slirp_stack *stack = opaque;

	if (solicit_has(&stack->solicit, frame, len, loop_now_ns(stack->loop)))
		return on_send_packet(frame, len, stack);
	log_debug("a datagram that the guest has not asked for was dropped");
	return (ssize_t)len;
}

/* Who would wait for what was dropped learns at once that no answer will come. */
static void answer_dropped(struct slirp_stack *stack, enum guard_verdict verdict, size_t len)
{
	uint8_t answer[REFUSAL_FRAME_BYTES];
	size_t answered = 0;

	if (verdict == GUARD_DROP_ECHO6)
		answered = icmp6_make_unreachable(
			&stack->plan->host6, ICMP6_DST_UNREACH_ADMIN, stack->frame, len, answer);
	/* elsewhere it is EINVAL, of which ICMP knows nothing */
	if (verdict == GUARD_DROP_BOUND || verdict == GUARD_DROP_HOST_LOOPBACK)
		answered = refusal_make(stack->plan, stack->frame, len, -EADDRNOTAVAIL, answer);
	/* with that code a socket of datagrams would hear only of what it asks for (IP_RECVERR) */
	if (verdict == GUARD_DROP_BOUND_UDP)
		answered = refusal_make(stack->plan, stack->frame, len, -EACCES, answer);
	if (answered > 0)
		on_send_packet(answer, answered, stack);
}

static void drop_frame(struct slirp_stack *stack, enum guard_verdict verdict)
{
	/* once a power of two: a hostile guest must not fill the terminal */
	uint64_t count = ++stack->drops[verdict];

	if (!guard_is_usual(verdict) && (count & (count - 1)) == 0)
		log_info("frame guard: dropped %llu (%s)", (unsigned long long)count,
			guard_reason(verdict));
}

/*
 * Root inside has deleted the device (tun_chr_read_iter: EBADFD), and epoll would not let us sleep.
 * Forwards that need no TAP go on.
 */
static void on_tap_gone(struct slirp_stack *stack)
{
	log_error("the network device inside was deleted: nothing gets out of the sandbox");
	loop_io_del(stack->loop, &stack->tap_io);
}

/* Its clock stands still while it sleeps, and what is new would be old at once. */
static void wake(struct slirp_stack *stack)
{
	if (stack->due_ns != UINT64_MAX)
		return;
	slirp_fds_poll(&stack->fds, stack->slirp, true);
	stack->due_ns = 0;
}

static void on_tap_ready(struct loop_io *io, uint32_t events)
{
	struct slirp_stack *stack = container_of(io, struct slirp_stack, tap_io);
	uint8_t *frame = stack->frame;

	(void)events;
	for (int i = 0; i < READ_BURST; i++) {
		ssize_t got = tap_read(io->fd, frame, FRAME_BYTES);
		if (got == -EBADFD)
			on_tap_gone(stack);
		if (got <= 0)
			return;
		size_t len = (size_t)got;
		if (hairpin_turn(&stack->hairpin, frame, len)) {
			on_send_packet(frame, len, stack);
			continue;
		}
		enum guard_verdict verdict = guard_check(stack->plan, frame, len);
		capture(stack, frame, len);
		if (verdict != GUARD_PASS) {
			answer_dropped(stack, verdict, len);
			drop_frame(stack, verdict);
			continue;
		}
		if (stack->asked && memcmp(frame, stack->asked, ETH_ALEN) == 0) {
			stack->on_asked(stack->asked_owner, frame, len);
			continue;
		}
		wake(stack);
		solicit_note(&stack->solicit, frame, len, loop_now_ns(stack->loop));
		slirplib.slirp_input(stack->slirp, frame, (int)len);
		stack->has_input = true;
	}
}

/* --- the rest of what libslirp asks for -------------------------------------------------- */

static void on_guest_error(const char *message, void *opaque)
{
	(void)opaque;
	log_info("libslirp: %s", message);
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return (int64_t)clock_now_ns();
}

static void on_timer(struct loop_timer *timer)
{
	struct slirp_timer *slirp_timer = container_of(timer, struct slirp_timer, timer);

	slirp_timer->callback(slirp_timer->callback_opaque);
}

static void *on_timer_new(SlirpTimerCb callback, void *callback_opaque, void *opaque)
{
	struct slirp_timer *timer = calloc(1, sizeof(*timer));

	(void)opaque;
	if (!timer)
		abort(); /* libslirp has no way to hear of it; GLib does the same */
	timer->timer.on_expired = on_timer;
	timer->callback = callback;
	timer->callback_opaque = callback_opaque;
	return timer;
}

static void on_timer_free(void *timer, void *opaque)
{
	struct slirp_stack *stack = opaque;

	loop_timer_cancel(stack->loop, &((struct slirp_timer *)timer)->timer);
	free(timer);
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct slirp_stack *stack = opaque;
	int64_t delay_ms = expire_ms - (int64_t)(clock_now_ns() / NS_PER_MS);

	loop_timer_set(stack->loop, &((struct slirp_timer *)timer)->timer,
		delay_ms > 0 ? (uint64_t)delay_ms : 0);
}

static void on_notify(void *opaque)
{
	struct slirp_stack *stack = opaque;

	stack->has_input = true;
}

static const SlirpCb callbacks = {
	.send_packet = on_output,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
};

static Slirp *make_slirp(struct slirp_stack *stack, const struct net_plan *plan)
{
	/* libslirp keeps the pointers and does not write there */
	struct sockaddr_in *outbound4 = (struct sockaddr_in *)&plan->outbound4.v4;
	struct sockaddr_in6 *outbound6 = (struct sockaddr_in6 *)&plan->outbound6.v6;
	SlirpConfig config = {
		.version = 4,
		.in_enabled = true,
		.vnetwork = plan->network,
		.vnetmask = plan->netmask,
		.vhost = plan->host,
		.vdhcp_start = plan->guest,
		.vnameserver = plan->dns,
		.in6_enabled = plan->has_ipv6,
		.vprefix_addr6 = plan->prefix6,
		.vprefix_len = (uint8_t)plan->prefix6_len,
		.vhost6 = plan->host6,
		.vnameserver6 = plan->dns6,
		.if_mtu = plan->mtu,
		.if_mru = plan->mtu < SEGMENT_MTU ? plan->mtu : SEGMENT_MTU,
		.disable_host_loopback = !plan->allows_host_loopback,
		.outbound_addr = plan->outbound4.family ? outbound4 : NULL,
		.outbound_addr6 = plan->outbound6.family ? outbound6 : NULL,
		.disable_dns = true, /* ours answers: sandbox/netnames */
		.disable_dhcp = true,
	};

	Slirp *slirp = slirplib.slirp_new(&config, &callbacks, stack);
	/* sets its clock; at 0 the first UDP socket would count as expired at once */
	if (slirp)
		slirp_fds_poll(&stack->fds, slirp, true);
	return slirp;
}

static uint64_t on_before_sleep(struct loop_hook *hook)
{
	struct slirp_stack *stack = container_of(hook, struct slirp_stack, hook);

	if (stack->has_input || stack->fds.has_events || clock_now_ns() >= stack->due_ns) {
		slirp_fds_poll(&stack->fds, stack->slirp, false);
		uint32_t timeout_ms = slirp_fds_fill(&stack->fds, stack->slirp);
		stack->due_ns = timeout_ms == UINT32_MAX ? UINT64_MAX
							 : clock_now_ns() + timeout_ms * NS_PER_MS;
		stack->has_input = false;
	}
	return stack->due_ns;
}

struct slirp_stack *slirp_stack_new(struct loop *loop, const struct net_plan *plan, int tap,
	const struct pcap *pcap, struct budget *budget)
{
	struct slirp_stack *stack = calloc(1, sizeof(*stack));

	if (!stack)
		return NULL;
	stack->loop = loop;
	stack->plan = plan;
	stack->pcap = *pcap;
	pcap_resume(&stack->pcap);
	slirp_fds_init(&stack->fds, loop, budget);
	stack->tap_io = (struct loop_io){tap, on_tap_ready};
	stack->hook.on_before_sleep = on_before_sleep;
	stack->frame = malloc(FRAME_BYTES);
	stack->slirp = make_slirp(stack, plan);
	if (!stack->frame || !stack->slirp || loop_io_add(loop, &stack->tap_io, EPOLLIN) < 0) {
		slirp_stack_free(stack);
		errno = errno ? errno : ENOMEM;
		return NULL;
	}
	loop_set_hook(loop, &stack->hook);
	return stack;
}

void slirp_stack_set_asked(struct slirp_stack *stack, const uint8_t mac[6],
	void (*on_frame)(void *owner, uint8_t *frame, size_t len), void *owner)
{
	stack->asked = mac;
	stack->on_asked = on_frame;
	stack->asked_owner = owner;
}

void slirp_stack_send(struct slirp_stack *stack, const uint8_t *frame, size_t len)
{
	on_send_packet(frame, len, stack);
}

void slirp_stack_set_hairpin(struct slirp_stack *stack, const struct hairpin *hairpin)
{
	stack->hairpin = *hairpin;
}

void slirp_stack_free(struct slirp_stack *stack)
{
	if (!stack)
		return;
	loop_set_hook(stack->loop, NULL);
	if (stack->slirp)
		slirplib.slirp_cleanup(stack->slirp);
	loop_io_del(stack->loop, &stack->tap_io);
	slirp_fds_fini(&stack->fds);
	free(stack->frame);
	free(stack);
}

/* --- listeners --------------------------------------------------------------------------- */

struct listener_search {
	const struct slirp_fds *fds;
	int fd;
};

/* Is it the listener that was just made: one that nobody has been told of yet? */
static int on_search_poll(int fd, int events, void *opaque)
{
	struct listener_search *search = opaque;
	socklen_t len = sizeof(int);
	int is_listening = 0;

	(void)events;
	if (search->fd < 0 && !slirp_fds_is_listener(search->fds, fd) &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) == 0 && is_listening)
		search->fd = fd;
	return -1; /* this round's events are not for it */
}

int slirp_stack_listen(struct slirp_stack *stack, int listen_fd, const struct addr *guest,
	void (*on_clients)(void *owner), void *owner)
{
	struct listener_search search = {&stack->fds, -1};
	struct addr any =
		guest->family == AF_INET6 ? addr_of6(&in6addr_loopback, 0) : addr_loopback4(0);
	uint32_t timeout_ms = 0;

	errno = 0;
	if (slirplib.slirp_add_hostxfwd(stack->slirp, &any.any, addr_len(&any), &guest->any,
		    addr_len(guest), SLIRP_HOSTFWD_V6ONLY) < 0)
		return errno ? -errno : -EADDRINUSE;
	/* libslirp does not tell the descriptor, but it asks to have it polled */
	slirplib.slirp_pollfds_fill(stack->slirp, &timeout_ms, on_search_poll, &search);
	stack->has_input = true;
	if (search.fd < 0)
		return -ENOENT;
	slirp_fds_opened(&stack->fds, search.fd);
	slirp_fds_set_listener(&stack->fds, search.fd, on_clients, owner);
	if (dup3(listen_fd, search.fd, O_CLOEXEC) >= 0)
		return 0;
	int result = -errno;
	slirp_stack_unlisten(stack, search.fd);
	return result;
}

void slirp_stack_unlisten(struct slirp_stack *stack, int listen_fd)
{
	struct addr own;

	/* libslirp asks its sockets for their address */
	if (addr_get_own(listen_fd, &own) == 0)
		slirplib.slirp_remove_hostxfwd(stack->slirp, &own.any, addr_len(&own), 0);
	stack->has_input = true;
}
