/* SPDX-License-Identifier: Apache-2.0 */
/* test_quay - two hosts without a stack: what is offered is reached, refused, named, or pinged; and
 * what a stack here begins with the other one */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/ip_icmp.h>

#include "mesh/agent/nostack.h"
#include "mesh/agent/quay.h"
#include "mesh_bed.h"
#include "packets.h"
#include "util/log.h"

#define HERE    "127.0.42.1"
#define THERE   "127.0.42.2"
#define NOBODY  "127.0.42.9" /* of the mesh, but it answers nothing */
#define TARGET  "127.0.0.1"
#define WEB     8080
#define GONE    8081 /* offered, and nothing is there */
#define NOTHING 8082 /* not offered */
#define AT      4000 /* where the target is */

/* One of both, as an agent has it. */
struct host {
	struct world *world;
	struct budget budget;
	struct conn_context context;
	struct gate *gate;
	struct stack *stack;
	struct stack_ops stack_ops; /* of the one that stands for a kernel's */
	struct wire wire;
	struct crossing crossing;
	struct estate estate;
	struct outlet outlet;
	struct expose expose; /* what the host's own user does not forbid */
	struct ways *ways;
	struct nameservice *names;
	struct role *role;
	struct quay quay;
	struct pkt seen, seen_ferry; /* the last that came, and the last of streams */
	unsigned nseen, nferry;
};

struct world {
	struct loop *loop;
	struct wire_hub *hub;
	struct host here, there;
	int target, datagrams; /* what there offers */
	int fds_before;
};

static void on_frame(struct wire *wire, struct frame *frame)
{
	struct host *host = container_of(wire, struct host, wire);
	struct packet_view view;

	const bool is_ferry = frame->payload[9] == FERRY_PROTO;
	struct pkt *seen = is_ferry ? &host->seen_ferry : &host->seen;
	assert_true(frame->len <= PKT_CAP);
	memcpy(seen->bytes, frame->payload, frame->len);
	seen->len = frame->len;
	*(is_ferry ? &host->nferry : &host->nseen) += 1;
	enum gate_verdict verdict = crossing_in(&host->crossing, frame, &view);
	if (verdict == GATE_TAKE && quay_take(&host->quay, &view))
		return;
	if (verdict == GATE_HOLD)
		quay_on_syn(&host->quay, &view);
	else if (verdict == GATE_TAKE)
		outlet_take(&host->outlet, &view);
}

static void on_room(struct wire *wire)
{
	crossing_resume(&container_of(wire, struct host, wire)->crossing);
}

static void on_stack_packets(void *owner)
{
	crossing_out(&((struct host *)owner)->crossing);
}

static void on_change(void *owner)
{
	(void)owner;
}

/* Of here, if it has a stack: is every SYN of a program that waits, or none? */
static bool is_begun;

static int is_connected(struct stack *stack, const struct addr *own, const struct addr *peer)
{
	(void)stack, (void)own, (void)peer;
	return is_begun;
}

static int open_bound(struct stack *stack, enum proto proto, const struct addr *at)
{
	int fd = socket(AF_INET, addr_proto_type(proto) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)stack;
	assert_int_equal(bind_socket(fd, at, proto), 0);
	return fd;
}

static void make_kernel(struct host *host)
{
	host->stack_ops = *host->stack->ops;
	host->stack_ops.kind = STACK_KERNEL;
	host->stack_ops.is_connected = is_connected;
	host->stack_ops.open_bound = open_bound;
	host->stack->ops = &host->stack_ops;
}

static void host_open(struct world *world, struct host *host, int link, bool has_stack)
{
	static const struct wire_ops wire_ops = {.on_frame = on_frame, .on_room = on_room};
	static const struct nameservice_ops names_ops = {0};
	static const struct stack_events events = {.on_packets = on_stack_packets};
	struct err err;

	host->world = world;
	host->budget.max = 1000;
	assert_int_equal(context_open(&host->context, world->loop, &host->budget, -1), 0);
	host->gate = gate_new();
	host->stack = nostack_open("a test", &err);
	if (has_stack)
		make_kernel(host);
	assert_int_equal(host->stack->ops->watch(host->stack, &host->context, &events, host), 0);
	assert_int_equal(wire_open(&host->wire, world->hub, &wire_ops, link, link), 0);
	host->crossing.loop = world->loop;
	host->crossing.gate = host->gate;
	host->crossing.stack = host->stack;
	host->crossing.wire = &host->wire;
	host->estate.io.fd = -1; /* nothing is kept */
	host->outlet.crossing = &host->crossing;
	assert_int_equal(expose_add(&host->expose, TARGET, &err), 0);
	host->outlet.host = &host->expose;
	host->outlet.on_change = on_change;
	host->quay.gate = host->gate;
	host->quay.crossing = &host->crossing;
	host->quay.outlet = &host->outlet;
	host->quay.stack = host->stack;
	assert_int_equal(quay_open(&host->quay, &host->context), 0);
	host->context.beyond = ferry_beyond(host->quay.ferry);
	host->ways =
		ways_new(&(struct ways_start){.context = &host->context, .stack = host->stack});
	host->names = nameservice_new(world->loop, &host->budget, "/nowhere", &names_ops, NULL);
	assert_int_equal(outlet_open(&host->outlet, &host->context), 0);
	host->role = role_new(&(struct role_start){.context = &host->context,
		.stack = host->stack,
		.gate = host->gate,
		.estate = &host->estate,
		.names = host->names,
		.outlet = &host->outlet,
		.syns_ops = &crossing_syns_ops,
		.syns_owner = &host->crossing});
	host->quay.role = host->role;
	host->quay.names = host->names;
	host->quay.ways = host->ways;
	assert_true(host->ways && host->names && host->role);
}

static void configure(struct host *host, const char *me, struct mesh_offer *offers, size_t noffers,
	const char *allowed, char **expose)
{
	struct mesh_name names[] = {
		{"here", pkt_addr(HERE)}, {"there", pkt_addr(THERE)}, {"nobody", pkt_addr(NOBODY)}};
	struct mesh_port servers[] = {{pkt_addr(me), 53, PROTO_UDP}, {pkt_addr(me), 53, PROTO_TCP}};
	struct mesh_allowed allow = {.ip = pkt_addr(allowed ? allowed : me)};
	struct mesh_config config = {.me = pkt_addr(me),
		.offers = offers,
		.noffers = noffers,
		.names = names,
		.nnames = 3,
		.name_servers = servers,
		.nname_servers = 2,
		.allow = &allow,
		.nallow = allowed != NULL,
		.expose = expose,
		.loopback_disable = true}; /* or names would be known there as well */
	struct err err = {0};

	assert_int_equal(nameservice_configure(host->names, &config), 0);
	assert_int_equal(outlet_configure(&host->outlet, expose, &err), 0);
	if (role_configure(host->role, &config, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(ways_configure(host->ways, &config), 0);
	assert_int_equal(quay_configure(&host->quay), 0);
}

/* @allowed: who may begin something; NULL: everybody. */
static void configure_there(struct world *world, const char *allowed, char **expose)
{
	struct mesh_offer offers[] = {{WEB, TARGET, AT, PROTO_TCP}, {WEB, TARGET, AT, PROTO_UDP},
		{GONE, TARGET, 1, PROTO_TCP}, {GONE, TARGET, 1, PROTO_UDP}};

	configure(&world->there, THERE, offers, 4, allowed, expose);
}

static void host_close(struct host *host)
{
	role_free(host->role);
	outlet_close(&host->outlet);
	expose_fini(&host->expose);
	quay_close(&host->quay);
	quay_close(&host->quay); /* it is closed */
	nameservice_free(host->names);
	ways_free(host->ways);
	context_close(&host->context);
	assert_int_equal(host->budget.used, 0);
	gate_free(host->gate);
	wire_close(&host->wire);
	host->stack->ops->stop(host->stack);
}

/* @has_stack: here */
static struct world *world_open_with(bool has_stack)
{
	struct world *world = calloc(1, sizeof(*world));
	struct sockaddr_in at = address(TARGET, AT);
	int link[2];

	world->fds_before = count_fds();
	world->loop = loop_new();
	world->hub = wire_hub_new(world->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link), 0);
	host_open(world, &world->here, link[0], has_stack);
	host_open(world, &world->there, link[1], false);
	world->target = tcp_listen(TARGET, AT, 16);
	world->datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world->datagrams, (struct sockaddr *)&at, sizeof(at)), 0);
	configure(&world->here, HERE, NULL, 0, NULL, NULL);
	configure_there(world, NULL, NULL);
	return world;
}

static struct world *world_open(void)
{
	return world_open_with(false);
}

static void world_close(struct world *world)
{
	host_close(&world->here);
	host_close(&world->there);
	close(world->target);
	close(world->datagrams);
	wire_hub_free(world->hub);
	loop_free(world->loop);
	assert_int_equal(count_fds(), world->fds_before);
	free(world);
}

#define until(world, condition)                                               \
	do {                                                                  \
		bool is_so_ = (condition);                                    \
		for (int ms_ = 0; ms_ < BED_WAIT_MS && !is_so_; ms_++) {      \
			assert_int_equal(loop_run_once((world)->loop, 1), 0); \
			is_so_ = (condition);                                 \
		}                                                             \
		if (!is_so_)                                                  \
			fail_msg("in vain: %s", #condition);                  \
	} while (0)

static void rounds(struct world *world, int count)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(loop_run_once(world->loop, 1), 0);
}

struct call {
	struct dial dial;
	bool is_done;
	int result;
};

static void on_done(struct dial *dial, int result)
{
	struct call *call = container_of(dial, struct call, dial);

	call->is_done = true;
	call->result = result;
}

/* From here; returns the socket or -errno. */
static int reach(struct world *world, const char *ip, uint16_t port, enum proto proto)
{
	const struct dial_target target = {
		.where = DIAL_INSIDE, .addr = addr_of4(pkt_addr(ip), port), .proto = proto};
	struct call call = {.dial.on_done = on_done};

	int result = dial_start(&call.dial, &world->here.context, &target);
	if (result != -EINPROGRESS)
		return result;
	until(world, call.is_done);
	return call.result;
}

static void carries(struct world *world, int from, int to)
{
	char text[8];
	ssize_t got = -1;

	assert_int_equal(send(from, "bytes", 5, MSG_NOSIGNAL), 5);
	until(world, (got = recv(to, text, sizeof(text), MSG_DONTWAIT)) >= 0);
	assert_int_equal(got, 5);
	assert_memory_equal(text, "bytes", 5);
}

static void what_is_offered_is_reached(void **state)
{
	struct world *world = world_open();

	(void)state;
	for (int i = 0; i < 3; i++) {
		int fd = reach(world, THERE, WEB, PROTO_TCP);
		assert_true(fd >= 0);
		int end = accept4(world->target, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		assert_true(end >= 0); /* it has accepted, or nothing was */
		carries(world, fd, end);
		carries(world, end, fd);
		close(end);
		until(world, recv(fd, &(char){0}, 1, MSG_DONTWAIT) == 0);
		close(fd);
	}
	/* quay_close ends those that go on */
	int fd = reach(world, THERE, WEB, PROTO_TCP);
	int end = accept4(world->target, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	carries(world, fd, end);
	quay_close(&world->there.quay);
	until(world, recv(end, &(char){0}, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN);
	close(end);
	close(fd);
	world_close(world);
}

static void what_is_not_is_refused(void **state)
{
	struct world *world = world_open();

	(void)state;
	assert_int_equal(reach(world, THERE, GONE, PROTO_TCP), -ECONNREFUSED);
	assert_int_equal(reach(world, THERE, NOTHING, PROTO_TCP), -ECONNREFUSED);
	/* who may begin nothing there, until it may */
	configure_there(world, NOBODY, NULL);
	assert_true(reach(world, THERE, WEB, PROTO_TCP) < 0);
	assert_int_equal(accept(world->target, NULL, NULL), -1);
	configure_there(world, HERE, NULL);
	int fd = reach(world, THERE, WEB, PROTO_TCP);
	assert_true(fd >= 0);
	close(fd);
	world_close(world);
}

/* A port of loopback that is no offer, but exposed. */
static void what_is_exposed_is_reached(void **state)
{
	struct world *world = world_open();
	char text[] = "127.0.0.1:4001", *texts[] = {text, NULL};

	(void)state;
	configure_there(world, NULL, texts);
	assert_int_equal(reach(world, THERE, AT, PROTO_TCP), -ECONNREFUSED);
	assert_int_equal(accept(world->target, NULL, NULL), -1);
	struct mesh_report report = {0};
	outlet_report(&world->there.outlet, &report);
	assert_int_equal(report.unexposed, 1);
	assert_string_equal(report.unexposed_last, THERE ":4000");
	text[sizeof(text) - 2] = '0';
	configure_there(world, NULL, texts);
	int fd = reach(world, THERE, AT, PROTO_TCP);
	assert_true(fd >= 0);
	int end = accept4(world->target, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	carries(world, fd, end);
	close(end);
	close(fd);
	world_close(world);
}

static void datagrams_are_led_on(void **state)
{
	struct world *world = world_open();
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char text[8];
	ssize_t got = -1;

	(void)state;
	int fd = reach(world, THERE, WEB, PROTO_UDP);
	assert_true(fd >= 0);
	assert_int_equal(send(fd, "query", 5, 0), 5);
	until(world, (got = recvfrom(world->datagrams, text, sizeof(text), MSG_DONTWAIT,
			      (struct sockaddr *)&from, &len)) >= 0);
	assert_int_equal(got, 5);
	assert_int_equal(
		sendto(world->datagrams, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
	until(world, (got = recv(fd, text, sizeof(text), MSG_DONTWAIT)) >= 0);
	assert_int_equal(got, 6);
	assert_memory_equal(text, "answer", 6);
	close(fd);
	/* where nobody listens who sends is told */
	for (int is_offered = 0; is_offered < 2; is_offered++) {
		fd = reach(world, THERE, is_offered ? GONE : NOTHING, PROTO_UDP);
		assert_true(fd >= 0);
		assert_int_equal(send(fd, "query", 5, 0), 5);
		until(world, world->here.seen.len > 20 &&
				     world->here.seen.bytes[9] == IPPROTO_ICMP &&
				     world->here.seen.bytes[20] == ICMP_DEST_UNREACH &&
				     world->here.seen.bytes[21] == ICMP_PORT_UNREACH);
		world->here.seen.len = 0;
		close(fd);
	}
	world_close(world);
}

/* The name server there, by both ways. */
static void names_are_known(void **state)
{
	static const unsigned char query[] = "\0\x17"
					     "\x12\x34\1\0\0\1\0\0\0\0\0\0"
					     "\5there\0\0\1\0\1";
	struct world *world = world_open();
	const struct in_addr ip = pkt_addr(THERE);
	unsigned char answer[512];

	(void)state;
	for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
		const size_t skip = is_tcp ? 0 : 2, len = sizeof(query) - 1 - skip;
		ssize_t got = -1;
		int fd = reach(world, THERE, 53, is_tcp ? PROTO_TCP : PROTO_UDP);

		assert_true(fd >= 0);
		assert_int_equal(send(fd, query + skip, len, 0), len);
		until(world, (got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 16);
		assert_memory_equal(answer + got - 4, &ip, 4);
		close(fd);
	}
	/* again: it goes on */
	configure_there(world, NULL, NULL);
	int names_fd = world->there.quay.names_fd;
	assert_true(names_fd >= 0);
	configure_there(world, NULL, NULL);
	assert_int_equal(world->there.quay.names_fd, names_fd);
	world_close(world);
}

static void send_from(const struct host *host, const struct pkt *pkt)
{
	unsigned char bytes[FRAME_HEADER_BYTES + PKT_CAP] = {0x42};

	pkt_put16(bytes + 2, (unsigned)pkt->len + 4);
	pkt_put16(bytes + 4, FRAME_PACKET);
	memcpy(bytes + FRAME_HEADER_BYTES, pkt->bytes, pkt->len);
	const size_t len = FRAME_HEADER_BYTES + pkt->len;
	assert_int_equal(send(host->wire.out.fd, bytes, len, 0), len);
}

static void send_there(struct world *world, const struct pkt *pkt)
{
	world->here.nseen = 0;
	send_from(&world->here, pkt);
}

/* For its own proxies, which no stream leads back to it. */
static void its_own_ports_are_found(void **state)
{
	static const struct {
		enum proto proto;
		uint16_t port;
		int result;
		const char *where;
	} cases[] = {
		{PROTO_TCP, WEB, 0, TARGET ":4000"},
		{PROTO_UDP, WEB, 0, TARGET ":4000"},
		{PROTO_TCP, NOTHING, -ECONNREFUSED, NULL},
		{PROTO_UDP, NOTHING, -ECONNREFUSED, NULL},
		{PROTO_TCP, 53, 0, THERE ":53"},
	};
	struct world *world = world_open();
	struct quay *quay = &world->there.quay;
	struct dial_target target;
	char text[ADDR_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(quay_find_own(quay, cases[i].proto, cases[i].port, &target),
			cases[i].result);
		assert_int_equal(target.where, DIAL_OUTSIDE);
		if (cases[i].where)
			assert_string_equal(
				dial_format(&target, text, sizeof(text)), cases[i].where);
	}
	assert_int_equal(quay_find_own(quay, PROTO_UDP, 53, &target), 0);
	assert_true(addr_equal(&target.addr, &quay->names_addr));
	world_close(world);
}

static void what_a_stack_would_answer(void **state)
{
	struct world *world = world_open();
	const struct pkt ping = pkt_icmp(NOBODY, THERE, ICMP_ECHO, "data", 4);

	(void)state;
	rounds(world, 20);
	send_there(world, &ping);
	until(world, world->here.nseen > 0);
	assert_int_equal(world->here.seen.bytes[9], IPPROTO_ICMP);
	assert_int_equal(world->here.seen.bytes[20], ICMP_ECHOREPLY);
	assert_true(pkt_is_icmp_right(world->here.seen.bytes, world->here.seen.len));
	assert_memory_equal(world->here.seen.bytes + 28, "data", 4);
	world_close(world);
}

/* A SYN from NOBODY to there; what came of it is seen here. */
static void begin_there(struct world *world)
{
	const struct pkt syn = pkt_tcp(NOBODY, 1000, THERE, WEB, PACKET_SYN);

	world->here.nferry = 0;
	send_there(world, &syn);
	until(world, world->here.nferry + world->here.nseen > 0);
	rounds(world, 10);
}

static size_t read_lines(int fd)
{
	char text[4096];
	size_t count = 0;
	ssize_t got = read(fd, text, sizeof(text));

	for (ssize_t i = 0; i < got; i++)
		count += text[i] == '\n';
	return count;
}

/* Whoever may know streams is told that there is no stack; whoever does not is refused, and there
 * is a line now and then. */
static void who_begins_as_if_there_were_a_stack(void **state)
{
	struct world *world = world_open();
	int log[2];

	(void)state;
	rounds(world, 20);
	assert_int_equal(pipe2(log, O_NONBLOCK | O_CLOEXEC), 0);
	log_set_fd(log[1]);
	log_set_level(LOG_WARNING);
	begin_there(world);
	assert_int_equal(world->here.nseen, 0);
	assert_in_range(world->here.seen_ferry.bytes[20], 1, 2); /* and its SYN follows */
	assert_true(world->here.seen_ferry.len > 20 + 2 + 20);
	assert_int_equal(read_lines(log[0]), 0);
	const struct in_addr to = pkt_addr(NOBODY);
	assert_memory_equal(world->here.seen_ferry.bytes + 16, &to, 4);
	struct pkt unknown = pkt_icmp(NOBODY, THERE, ICMP_DEST_UNREACH,
		world->here.seen_ferry.bytes, world->here.seen_ferry.len);
	unknown.bytes[21] = ICMP_PROT_UNREACH;
	pkt_put16(unknown.bytes + 22, 0);
	pkt_put16(unknown.bytes + 22, 0xffff - pkt_sum(unknown.bytes + 20, unknown.len - 20, 0));
	send_there(world, &unknown);
	rounds(world, 10);
	read_lines(log[0]); /* of stream/ferry */
	for (int i = 0; i < 3; i++) {
		begin_there(world);
		assert_int_equal(world->here.nferry, 0);
		assert_int_equal(world->here.seen.bytes[9], IPPROTO_TCP);
		assert_true(world->here.seen.bytes[33] & PACKET_RST);
		assert_int_equal(read_lines(log[0]), i == 0);
	}
	clock_ahead_ns += (QUAY_LINE_S - 5) * NS_PER_S;
	begin_there(world);
	assert_int_equal(read_lines(log[0]), 0);
	clock_ahead_ns += 6 * NS_PER_S;
	begin_there(world);
	assert_int_equal(read_lines(log[0]), 1);
	log_set_level(LOG_ERROR);
	log_set_fd(STDERR_FILENO);
	close(log[0]);
	close(log[1]);
	world_close(world);
}

/* Somebody says to here that NOBODY has no stack, and what SYN it has had from here. */
static void return_syn(struct world *world, uint16_t port)
{
	const struct pkt syn = pkt_tcp(HERE, port, NOBODY, WEB, PACKET_SYN);
	const struct pkt_head head = {NOBODY, HERE, NULL, 0};
	unsigned char answer[PKT_CAP / 2] = {2, 0};

	memcpy(answer + 2, syn.bytes, syn.len);
	const struct pkt pkt = pkt_ip(head, FERRY_PROTO, answer, 2 + syn.len);
	send_from(&world->there, &pkt);
	rounds(world, 1);
}

/* A program of the stack here begins it. */
static void begin_here(struct world *world, const char *ip, uint16_t port)
{
	struct pkt syn = pkt_tcp(HERE, port, ip, WEB, PACKET_SYN);
	struct packet_view view;

	assert_true(packet_parse(syn.bytes, syn.len, &view));
	world->here.crossing.on_held(world->here.crossing.owner, &view);
}

static bool is_held(struct world *world, const char *ip, uint16_t port)
{
	const struct addr peer = addr_of4(pkt_addr(HERE), port), own = addr_of4(pkt_addr(ip), WEB);

	return syns_has(world->here.quay.syns, &peer, &own);
}

/* Whatever others say has begun here, and who has given up: they keep nobody from a connection. */
static void only_who_waits_is_dialled_for(void **state)
{
	struct world *world = world_open_with(true);
	int end = -1;

	(void)state;
	is_begun = false;
	rounds(world, 20);
	for (unsigned i = 0; i <= SYNS_MAX / 4; i++)
		return_syn(world, (uint16_t)(2000 + i));
	assert_false(is_held(world, NOBODY, 2000));
	is_begun = true;
	begin_here(world, THERE, 1000);
	until(world, (end = accept4(world->target, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	close(end);
	/* one that was not known to have no stack is begun again as a stream */
	return_syn(world, 2000);
	until(world, is_held(world, NOBODY, 2000));
	clock_ahead_ns += SYNS_LOOK_MS * NS_PER_MS;
	rounds(world, 3);
	assert_true(is_held(world, NOBODY, 2000));
	is_begun = false;
	clock_ahead_ns += SYNS_LOOK_MS * NS_PER_MS;
	rounds(world, 3);
	assert_false(is_held(world, NOBODY, 2000));
	world_close(world);
}

/* Who cannot be led to what has accepted is told so, and that is not held for nobody. */
static void without_an_alias_nothing_is_held(void **state)
{
	struct world *world = world_open_with(true);
	int end = -1;
	char byte;

	(void)state;
	is_begun = true;
	rounds(world, 20);
	gate_lead_streams(world->here.gate, 0, NULL, NULL);
	const size_t used = world->here.budget.used;
	begin_here(world, THERE, 1000);
	until(world, (end = accept4(world->target, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	until(world, !is_held(world, THERE, 1000));
	until(world, recv(end, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
	until(world, world->here.budget.used == used);
	close(end);
	world_close(world);
}

static bool takes(struct world *world, struct pkt pkt)
{
	struct packet_view view;

	assert_true(packet_parse(pkt.bytes, pkt.len, &view));
	return quay_take(&world->there.quay, &view);
}

/* Packets of streams and errors about those, whatever is in them; and no others. */
static void what_it_takes(void **state)
{
	const struct pkt_head head = {HERE, THERE, NULL, 0}, back = {THERE, HERE, NULL, 0};
	struct world *world = world_open();
	unsigned char bytes[200];

	(void)state;
	rounds(world, 20);
	srand(4711);
	for (int i = 0; i < 2000; i++) {
		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (unsigned char)rand();
		if (i % 2)
			bytes[0] = (unsigned char)(rand() % 4);
		assert_true(takes(world, pkt_ip(head, FERRY_PROTO, bytes, (size_t)rand() % 200)));
	}
	const struct pkt ours = pkt_ip(back, FERRY_PROTO, bytes, 30);
	assert_true(takes(world, pkt_error(HERE, THERE, ICMP_DEST_UNREACH, ours, 48)));
	assert_false(takes(world, pkt_udp(HERE, 1, THERE, 2)));
	assert_false(takes(world, pkt_icmp(HERE, THERE, ICMP_ECHO, "data", 4)));
	const struct pkt udp = pkt_udp(THERE, 1, HERE, 2);
	assert_false(takes(world, pkt_error(HERE, THERE, ICMP_DEST_UNREACH, udp, 48)));
	rounds(world, 20);
	/* and it goes on */
	configure(&world->here, HERE, NULL, 0, NULL, NULL);
	world_close(world);
}

/* Either end goes after any number of rounds: nothing is left (world_close). */
static void it_ends_at_any_moment(void **state)
{
	const struct dial_target target = {
		.where = DIAL_INSIDE, .addr = addr_of4(pkt_addr(THERE), WEB)};
	struct quay none = {.ferry = NULL};

	(void)state;
	for (int count = 0; count < 24; count++) {
		struct world *world = world_open();
		struct call call = {.dial.on_done = on_done};

		rounds(world, count % 3);
		assert_int_equal(
			dial_start(&call.dial, &world->here.context, &target), -EINPROGRESS);
		rounds(world, count / 2);
		if (count % 2)
			quay_close(&world->there.quay);
		if (call.is_done && call.result >= 0)
			close(call.result);
		dial_cancel(&call.dial);
		world_close(world);
	}
	quay_close(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_offered_is_reached),
		cmocka_unit_test(what_is_not_is_refused),
		cmocka_unit_test(what_is_exposed_is_reached),
		cmocka_unit_test(datagrams_are_led_on),
		cmocka_unit_test(names_are_known),
		cmocka_unit_test(its_own_ports_are_found),
		cmocka_unit_test(what_a_stack_would_answer),
		cmocka_unit_test(who_begins_as_if_there_were_a_stack),
		cmocka_unit_test(only_who_waits_is_dialled_for),
		cmocka_unit_test(without_an_alias_nothing_is_held),
		cmocka_unit_test(what_it_takes),
		cmocka_unit_test(it_ends_at_any_moment),
	};

	log_set_level(LOG_ERROR);
	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
