/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_udp - datagrams between real sockets of one namespace, with a clock that can jump */
#include "forward_bed.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/resource.h>

#include "conn/udp_flows.h"
#include "forward/splice_udp.h"
#include "net/netdev.h"
#include "netns.h"
#include "util/fd.h"

#define WAIT_MS  5000 /* far above what anything here takes */
#define QUIET_MS 2    /* rounds of the loop that make up "nothing more comes" */
#define LARGEST  65507
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct bed *udp_bed(const char *host, uint64_t wait_ms, bool has_listened)
{
	return bed_open(&splice_udp_driver, PROTO_UDP, host, wait_ms, has_listened);
}

/* A socket bound to @own (NULL: not) and connected to @peer (NULL: not). */
static int udp(const char *own, uint16_t own_port, const char *peer, uint16_t peer_port)
{
	struct addr addr;
	int fd = -1;
	const char *texts[] = {own, peer};
	uint16_t ports[] = {own_port, peer_port};

	for (int i = 0; i < 2; i++) {
		if (!texts[i])
			continue;
		assert_int_equal(addr_parse(texts[i], &addr, NULL), 0);
		addr_set_port(&addr, ports[i]);
		if (fd < 0)
			fd = socket(addr.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal((i == 0 ? bind : connect)(fd, &addr.any, addr_len(&addr)), 0);
	}
	return fd;
}

static int server_at(const char *host)
{
	return udp(host, GUEST_PORT, NULL, 0);
}

static int client_to(const char *host)
{
	return udp(NULL, 0, host, HOST_PORT);
}

/* The next datagram at @fd, with the loop running meanwhile. Its length. */
static ssize_t wait_from(struct bed *bed, int fd, void *bytes, struct sockaddr_storage *from)
{
	static char discard[LARGEST + 1];
	socklen_t len = sizeof(*from);

	for (int i = 0; i < WAIT_MS; i++) {
		ssize_t got = recvfrom(fd, bytes ? bytes : discard, LARGEST + 1, 0,
			(struct sockaddr *)from, from ? &len : NULL);
		if (got >= 0)
			return got;
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	}
	fail_msg("nothing came");
	return -1;
}

/* Everything that is under way arrives; nothing at @fd is expected. */
static void expect_nothing(struct bed *bed, int fd)
{
	char byte;

	for (int i = 0; i < QUIET_MS; i++) {
		for (int j = 0; j < 20; j++)
			assert_int_equal(loop_run_once(bed->loop, 0), 0);
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
	}
	if (fd < 0)
		return;
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* @client asks, @server answers. Returns the port that the server saw. */
static uint16_t exchange(struct bed *bed, int client, int server)
{
	struct sockaddr_storage from;
	char got[LARGEST + 1];

	assert_int_equal(send(client, "ask", 3, 0), 3);
	assert_int_equal(wait_from(bed, server, got, &from), 3);
	assert_memory_equal(got, "ask", 3);
	assert_int_equal(sendto(server, "tell", 4, 0, (struct sockaddr *)&from,
				 from.ss_family == AF_INET ? sizeof(struct sockaddr_in)
							   : sizeof(struct sockaddr_in6)),
		4);
	assert_int_equal(wait_from(bed, client, got, NULL), 4);
	assert_memory_equal(got, "tell", 4);
	return ntohs(((struct sockaddr_in *)&from)->sin_port);
}

static void fill(unsigned char *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)((i * 7 + (i >> 8) + seed) & 0xff);
}

static void borders_stay(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	static const size_t lens[] = {0, 1, 2, 1472, 4096, 9000, 65506, LARGEST};
	static unsigned char sent[LARGEST + 1], got[LARGEST + 1];
	struct sockaddr_storage from;

	(void)state;
	for (size_t h = 0; h < COUNT(hosts); h++) {
		struct bed *bed = udp_bed(hosts[h], 1000, true);
		int server = server_at("127.0.0.1"), client = client_to(hosts[h]);

		for (unsigned i = 0; i < 3 * COUNT(lens); i++) {
			size_t len = lens[i % COUNT(lens)];

			fill(sent, len, i);
			assert_int_equal(send(client, sent, len, 0), len);
			assert_int_equal(wait_from(bed, server, got, &from), len);
			assert_memory_equal(got, sent, len);
			fill(sent, len, i + 100);
			assert_int_equal(sendto(server, sent, len, 0, (struct sockaddr *)&from,
						 sizeof(struct sockaddr_in)),
				len);
			assert_int_equal(wait_from(bed, client, got, NULL), len);
			assert_memory_equal(got, sent, len);
		}
		assert_int_equal(bed->told, 0); /* it was known */
		close(server);
		close(client);
		bed_close(bed);
	}
}

/* Several batches at once, from clients that alternate: nothing is mixed up or out of order. */
static void clients_do_not_mix(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int server = server_at("127.0.0.1"), clients[3], other = client_to("127.0.0.1");
	struct sockaddr_storage from;
	unsigned char message[2], got[LARGEST + 1];
	uint16_t ports[3] = {0}, port;

	(void)state;
	exchange(bed, other, server); /* fills the pool */
	for (int c = 0; c < 3; c++)
		clients[c] = client_to("127.0.0.1");
	for (unsigned i = 0; i < 60; i++) {
		unsigned c = i < 30 ? i % 3 : (i / 5) % 3; /* alone, and in groups */

		message[0] = (unsigned char)c;
		message[1] = (unsigned char)i;
		assert_int_equal(send(clients[c], message, 2, 0), 2);
	}
	int last[3] = {-1, -1, -1};
	for (unsigned i = 0; i < 60; i++) {
		assert_int_equal(wait_from(bed, server, got, &from), 2);
		port = ((struct sockaddr_in *)&from)->sin_port;
		if (!ports[got[0]])
			ports[got[0]] = port;
		assert_int_equal(ports[got[0]], port);
		assert_true((int)got[1] > last[got[0]]);
		last[got[0]] = got[1];
		sendto(server, got, 2, 0, (struct sockaddr *)&from, sizeof(struct sockaddr_in));
	}
	for (unsigned i = 0; i < 60; i++) {
		unsigned c = i < 30 ? i % 3 : (i / 5) % 3;

		assert_int_equal(wait_from(bed, clients[c], got, NULL), 2);
		assert_int_equal(got[0], c);
		assert_int_equal(got[1], i);
	}
	for (int c = 0; c < 3; c++)
		close(clients[c]);
	close(other);
	close(server);
	bed_close(bed);
}

/* What the table's look-out does */
static void look(struct bed *bed)
{
	if (!bed->forward.has_listened)
		driver_find_target(&bed->forward);
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
}

static void holds_until_guest_listens(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 3000, false);
	int client = client_to("127.0.0.1"), second = client_to("127.0.0.1");
	unsigned char message, got[LARGEST + 1];

	(void)state;
	for (unsigned i = 0; i < UDP_HELD_MAX + 8; i++) {
		message = (unsigned char)i;
		assert_int_equal(send(client, &message, 1, 0), 1);
	}
	static unsigned char large[30000];
	for (int i = 0; i < 4; i++) /* two fit into UDP_HELD_BYTES */
		assert_int_equal(send(second, large, sizeof(large), 0), sizeof(large));
	expect_nothing(bed, -1);
	look(bed);
	assert_false(bed->forward.has_listened);

	int server = server_at("127.0.0.1");
	look(bed);
	assert_int_equal(bed->told, 1);
	size_t small_count = 0, large_count = 0;
	while (small_count + large_count < UDP_HELD_MAX + 2) {
		ssize_t len = wait_from(bed, server, got, NULL);

		if (len == 1)
			assert_int_equal(got[0], small_count++);
		else
			large_count++;
	}
	assert_int_equal(small_count, UDP_HELD_MAX);
	expect_nothing(bed, server);
	exchange(bed, client, server);
	assert_int_equal(bed->told, 1);
	close(client);
	close(second);
	close(server);
	bed_close(bed);
}

static void does_not_hold_for_ever(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, false);
	int client = client_to("127.0.0.1");
	char got[LARGEST + 1];

	(void)state;
	assert_int_equal(send(client, "early", 5, 0), 5);
	expect_nothing(bed, -1);
	jump(600);
	assert_int_equal(send(client, "late", 4, 0), 4);
	expect_nothing(bed, -1);
	jump(600);
	expect_nothing(bed, -1);
	int server = server_at("127.0.0.1");
	look(bed);
	assert_int_equal(wait_from(bed, server, got, NULL), 4);
	assert_memory_equal(got, "late", 4);
	expect_nothing(bed, server);
	close(client);
	close(server);
	bed_close(bed);
}

static void drops_when_not_to_wait(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 0, false);
	int client = client_to("127.0.0.1");

	(void)state;
	assert_int_equal(send(client, "x", 1, 0), 1);
	expect_nothing(bed, -1);
	int server = server_at("127.0.0.1");
	expect_nothing(bed, server);
	/* nobody looks out for it: the next datagram finds it by itself */
	exchange(bed, client, server);
	assert_int_equal(bed->told, 1);
	close(client);
	close(server);
	bed_close(bed);
}

/* The server comes back elsewhere: flows that were made before find it. */
static void follows_the_server(void **state)
{
	static const char *const homes[] = {"127.0.0.1", "::1", "127.0.0.1", "::", "0.0.0.0"};
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int client = client_to("127.0.0.1");

	(void)state;
	for (size_t i = 0; i < COUNT(homes); i++) {
		int server = server_at(homes[i]);

		for (int tries = 0;; tries++) { /* the first may be lost to find this out */
			struct pollfd ready = {server, POLLIN, 0};

			assert_true(tries < 2);
			assert_int_equal(send(client, "x", 1, 0), 1);
			for (int round = 0; round < 20; round++)
				loop_run_once(bed->loop, 1);
			if (poll(&ready, 1, 0) == 1)
				break;
		}
		assert_int_equal(wait_from(bed, server, NULL, NULL), 1);
		exchange(bed, client, server);
		close(server);
	}
	/* away for a while, then back at the same place: also a new flow starts at once */
	assert_int_equal(send(client, "lost", 4, 0), 4);
	expect_nothing(bed, client);
	int server = server_at("127.0.0.1"), fresh = client_to("127.0.0.1");
	exchange(bed, fresh, server);
	exchange(bed, client, server);
	close(server);
	close(fresh);
	/* elsewhere: a new flow loses nothing */
	server = server_at("::1");
	fresh = client_to("127.0.0.1");
	exchange(bed, fresh, server);
	close(server);
	close(fresh);
	close(client);
	bed_close(bed);
}

/* Connected clients take answers only from where they had sent to. */
static void wildcard_answers_from_the_same_address(void **state)
{
	static const struct {
		const char *host, *own, *peer;
	} cases[] = {
		{"0.0.0.0", "127.0.0.1", "127.0.0.5"},
		{"0.0.0.0", "127.0.0.9", "127.0.0.1"},
		{"::", "::1", "fd00::5"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bed *bed = udp_bed(cases[i].host, 1000, true);
		int server = server_at("127.0.0.1"),
		    client = udp(cases[i].own, 40000, cases[i].peer, HOST_PORT);

		uint16_t port = exchange(bed, client, server);
		assert_int_equal(exchange(bed, client, server), port);
		/* the same client to another of our addresses is another flow */
		close(client);
		client = udp(cases[i].own, 40000, cases[i].own, HOST_PORT);
		assert_int_not_equal(exchange(bed, client, server), port);
		close(client);
		close(server);
		bed_close(bed);
	}
}

static void refuses_other_users(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int server = server_at("127.0.0.1"), client = client_to("127.0.0.1");

	(void)state;
	bed->context.checks_user = true;
	bed->users[0] = geteuid() + 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(client, "x", 1, 0), 1);
	expect_nothing(bed, server);
	bed->users[0] = geteuid();
	assert_int_equal(send(client, "x", 1, 0), 1); /* refused for a moment... */
	expect_nothing(bed, server);
	jump(1100); /* ...but not for good */
	exchange(bed, client, server);
	bed->users[0] = geteuid() + 1; /* the port is somebody else's now */
	assert_int_equal(send(client, "x", 1, 0), 1);
	expect_nothing(bed, server);
	close(client);
	close(server);
	bed_close(bed);
}

static void idle_flows_are_forgotten(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int server = server_at("127.0.0.1"), client = client_to("127.0.0.1");

	(void)state;
	uint16_t port = exchange(bed, client, server); /* fresh: each has spoken once */
	jump(UDP_FRESH_S * 1000 - 1000);
	expect_nothing(bed, -1);
	assert_int_equal(exchange(bed, client, server), port);
	jump(UDP_SETTLED_S * 1000 - 1000); /* settled now */
	expect_nothing(bed, -1);
	assert_int_equal(exchange(bed, client, server), port);
	jump(UDP_SETTLED_S * 1000 + 1000);
	expect_nothing(bed, -1);
	/* its port can be bound: the socket is gone, without any datagram */
	close(udp("127.0.0.1", port, NULL, 0));
	port = exchange(bed, client, server);
	jump(UDP_FRESH_S * 1000 + 1000);
	expect_nothing(bed, -1);
	close(udp("127.0.0.1", port, NULL, 0));
	close(client);
	close(server);
	bed_close(bed);
}

/* No descriptors to spare: no new flows, but those that are there go on. */
static void stops_when_descriptors_are_short(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int server = server_at("127.0.0.1"), old = client_to("127.0.0.1"),
	    client = client_to("127.0.0.1");

	(void)state;
	exchange(bed, old, server);
	bed->budget.max = BUDGET_RESERVED + 1;
	assert_int_equal(send(client, "x", 1, 0), 1);
	expect_nothing(bed, server);
	exchange(bed, old, server);
	bed->budget.max = 1000;
	exchange(bed, client, server);
	close(old);
	close(client);
	close(server);
	bed_close(bed);
}

/* init does not answer for a while: held, and delivered when it does, or dropped in time. */
static void waits_for_sockets(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 0, true);
	int server = server_at("127.0.0.1"), client = client_to("127.0.0.1");
	char got[LARGEST + 1];

	(void)state;
	shut_door(bed, true);
	assert_int_equal(send(client, "1", 1, 0), 1);
	expect_nothing(bed, server);
	jump(1100);
	expect_nothing(bed, server);
	assert_int_equal(send(client, "2", 1, 0), 1);
	expect_nothing(bed, server);
	assert_int_equal(send(client, "3", 1, 0), 1);
	expect_nothing(bed, server);
	shut_door(bed, false);
	assert_int_equal(wait_from(bed, server, got, NULL), 1);
	assert_int_equal(got[0], '2');
	assert_int_equal(wait_from(bed, server, got, NULL), 1);
	assert_int_equal(got[0], '3');
	/* closed while it waits */
	close(server);
	close(client);
	bed_close(bed);
	bed = udp_bed("127.0.0.1", 0, true);
	shut_door(bed, true);
	client = client_to("127.0.0.1");
	assert_int_equal(send(client, "1", 1, 0), 1);
	expect_nothing(bed, -1);
	close(client);
	bed_close(bed);
	/* the forward is closed, its sockets come after that */
	bed = udp_bed("127.0.0.1", 0, true);
	shut_door(bed, true);
	client = client_to("127.0.0.1");
	assert_int_equal(send(client, "1", 1, 0), 1);
	expect_nothing(bed, -1);
	driver_close(&bed->forward);
	shut_door(bed, false);
	struct err err;
	int taken;
	while ((taken = inside_take(bed->context.inside, DOOR_UDP4, NULL)) < 0)
		assert_int_equal(loop_run_once(bed->loop, WAIT_MS), 0);
	inside_put_back(bed->context.inside, DOOR_UDP4, taken);
	assert_int_equal(driver_open(&bed->forward, &err), 0);
	close(client);
	bed_close(bed);
}

/* More clients than flows: who has been answered stays. */
static void a_crowd_does_not_push_out_the_settled(void **state)
{
	struct bed *bed = udp_bed("127.0.0.1", 1000, true);
	int server = server_at("127.0.0.1"), settled = client_to("127.0.0.1");

	(void)state;
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	bed->budget.max = 100000;
	exchange(bed, settled, server);
	uint16_t port = exchange(bed, settled, server);
	for (int i = 0; i < UDP_FLOWS_MAX + 400; i++) {
		int client = client_to("127.0.0.1");

		assert_int_equal(send(client, "x", 1, 0), 1);
		assert_int_equal(wait_from(bed, server, NULL, NULL), 1);
		close(client);
	}
	assert_true(count_fds() < UDP_FLOWS_MAX + 250); /* with those of the pool */
	assert_int_equal(exchange(bed, settled, server), port);
	close(settled);
	close(server);
	bed_close(bed);
}

static size_t forgotten;

static void count_forgotten(struct udp_flow *flow)
{
	assert_non_null(flow->owner);
	forgotten++;
}

static struct udp_key key_of(unsigned number)
{
	struct udp_key key;

	memset(&key, 0, sizeof(key));
	key.peer.sin6_family = AF_INET6;
	key.peer.sin6_port = (in_port_t)number;
	return key;
}

/* The table against arrays: random additions, uses and sweeps. */
static void table_follows_its_model(void **state)
{
	enum { KEYS = 1500 };
	static uint64_t used_s[KEYS];
	static unsigned in[KEYS], out[KEYS];
	static bool is_there[KEYS];
	struct budget budget = {.max = 1000};
	struct udp_flows *flows = udp_flows_new(&budget, count_forgotten, &forgotten);
	uint64_t now_s = 1;
	size_t count = 0;

	(void)state;
	srandom(20);
	for (int step = 0; step < 60000; step++) {
		unsigned k = (unsigned)random() % KEYS;
		struct udp_key key = key_of(k);
		struct udp_flow *flow = udp_flows_find(flows, &key);

		assert_int_equal(flow != NULL, is_there[k]);
		if (!flow && count < UDP_FLOWS_MAX) {
			assert_non_null(udp_flows_add(flows, &key, now_s * NS_PER_S));
			is_there[k] = true;
			used_s[k] = now_s;
			in[k] = out[k] = 0;
			count++;
		} else if (flow) {
			bool is_out = random() & 1;

			udp_flows_use(flows, flow, is_out, 1, now_s * NS_PER_S);
			(*(is_out ? &out[k] : &in[k]))++;
			used_s[k] = now_s;
		}
		if (random() % 50)
			continue;
		now_s += (uint64_t)random() % 20;
		uint64_t expected_s = UINT64_MAX;
		for (unsigned i = 0; i < KEYS; i++) {
			uint64_t end_s = used_s[i] +
					 (in[i] >= 2 && out[i] >= 2 ? UDP_SETTLED_S : UDP_FRESH_S);

			if (is_there[i] && end_s <= now_s) {
				is_there[i] = false;
				count--;
			} else if (is_there[i] && end_s < expected_s) {
				expected_s = end_s;
			}
		}
		uint64_t next_ns = udp_flows_sweep(flows, now_s * NS_PER_S);
		assert_true(
			next_ns == (expected_s == UINT64_MAX ? UINT64_MAX : expected_s * NS_PER_S));
		assert_int_equal(udp_flows_count(flows), count);
	}
	forgotten = 0;
	udp_flows_free(flows);
	assert_int_equal(forgotten, count);
}

static struct udp_key key_from(uint32_t address, uint16_t port)
{
	struct udp_key key;
	const struct addr peer = addr_of4((struct in_addr){htonl(address)}, port);

	memset(&key, 0, sizeof(key));
	memcpy(&key.peer, &peer.v4, sizeof(peer.v4));
	return key;
}

/* Of those who wait for their first answer the address that has most of them makes room. */
static void a_flood_of_one_address_is_its_own(void **state)
{
	enum { OTHERS = 20 };
	struct budget budget = {.max = BUDGET_RESERVED + 4};
	struct udp_flows *flows = udp_flows_new(&budget, count_forgotten, &forgotten);
	struct udp_key key;

	(void)state;
	for (unsigned i = 0; i < OTHERS; i++) {
		key = key_from(0x0a000001 + i, 53);
		assert_non_null(udp_flows_add(flows, &key, 1));
	}
	for (unsigned i = 0; i < 3 * UDP_FLOWS_MAX; i++) {
		key = key_from(0x0a0000ff, (uint16_t)(1 + i));
		assert_non_null(udp_flows_add(flows, &key, 2));
	}
	assert_int_equal(udp_flows_count(flows), UDP_FLOWS_MAX);
	for (unsigned i = 0; i < OTHERS; i++) {
		key = key_from(0x0a000001 + i, 53);
		assert_non_null(udp_flows_find(flows, &key));
	}
	udp_flows_free(flows);
}

static struct udp_flow *add_target(struct udp_flows *flows, uint16_t port)
{
	const struct udp_key key = key_from(0x0a0000ff, port);
	struct udp_flow *flow = udp_flows_add(flows, &key, port);

	assert_true(udp_flows_take_target(flows, flow));
	flow->io.fd = 0;
	return flow;
}

/* Is there room for a target of @key? Nothing is taken. */
static bool has_room(struct udp_flows *flows, const struct udp_key *key)
{
	struct udp_flow *flow = udp_flows_add(flows, key, 1);
	bool is_there = udp_flows_take_target(flows, flow);

	if (is_there)
		udp_flows_give_target(flows, flow);
	udp_flows_forget(flows, flow);
	return is_there;
}

static void give_target(struct udp_flow *flow)
{
	if (flow->io.fd >= 0)
		udp_flows_give_target(*(struct udp_flows **)flow->owner, flow);
}

/* Descriptors come from those that have one, from who has more of them, of any table. */
static void targets_are_shared(void **state)
{
	struct budget budget = {.max = BUDGET_RESERVED + 4};
	struct udp_flows *flows = NULL, *others = NULL;
	const struct udp_key mine = key_from(0x0a0000ff, 9), other = key_from(0x0a000001, 53);

	(void)state;
	flows = udp_flows_new(&budget, give_target, &flows);
	others = udp_flows_new(&budget, give_target, &others);
	add_target(flows, 1);
	add_target(flows, 2);
	add_target(others, 3);
	for (uint16_t port = 4; port < 8; port++) {
		const struct udp_key key = key_from(0x0a0000ff, port);
		assert_non_null(udp_flows_add(flows, &key, 1));
	}
	assert_int_equal(budget.used, 3);
	assert_false(has_room(flows, &mine));
	udp_flows_pin(flows, true);
	udp_flows_pin(others, true);
	assert_false(has_room(others, &other));
	udp_flows_pin(flows, false);
	assert_true(has_room(others, &other));
	assert_int_equal(budget.used, 2);
	assert_int_equal(udp_flows_count(flows), 5); /* those without a target give nothing */
	udp_flows_pin(others, false);
	add_target(flows, 8);
	assert_true(has_room(flows, &other));
	assert_int_equal(udp_flows_count(flows) + udp_flows_count(others), 6);
	udp_flows_free(flows);
	udp_flows_free(others);
	assert_int_equal(budget.used, 0);
}

/* Nor do its datagrams that wait keep those of others from waiting. */
static void what_waits_is_shared(void **state)
{
	enum { HOLDERS = UDP_HELD_ALL_BYTES / UDP_HELD_BYTES, LEN = UDP_HELD_BYTES / 16 };
	static const char bytes[LEN];
	struct budget budget = {.max = 1000};
	struct udp_flows *flows = udp_flows_new(&budget, count_forgotten, &forgotten);
	const struct udp_key last = key_from(0x0a0000ff, HOLDERS), other = key_from(0x0a000001, 53);
	struct udp_flow *first = NULL, *flow = NULL;
	size_t others = 0;

	(void)state;
	for (uint16_t i = 0; i < HOLDERS; i++) {
		const struct udp_key key = key_from(0x0a0000ff, i);

		flow = udp_flows_add(flows, &key, 1);
		first = first ? first : flow;
		while (udp_flows_hold(flows, flow, bytes, LEN, 2))
			;
		assert_int_equal(flow->held_bytes, UDP_HELD_BYTES);
	}
	/* who has all of it loses nothing to itself, and its oldest to another one */
	flow = udp_flows_add(flows, &last, 1);
	assert_false(udp_flows_hold(flows, flow, bytes, LEN, 2));
	assert_int_equal(first->held_bytes, UDP_HELD_BYTES);
	flow = udp_flows_add(flows, &other, 1);
	while (udp_flows_hold(flows, flow, bytes, LEN, 2))
		others += LEN;
	assert_int_equal(others, UDP_HELD_BYTES);
	assert_int_equal(first->held_bytes, 0);
	/* until both have as much */
	for (uint16_t i = 0; i < HOLDERS; i++) {
		const struct udp_key key = key_from(0x0a000001, 54 + i);

		flow = udp_flows_add(flows, &key, 1);
		while (udp_flows_hold(flows, flow, bytes, LEN, 2))
			others += LEN;
	}
	assert_int_equal(others, UDP_HELD_ALL_BYTES / 2);
	udp_flows_free(flows);
}

static int set_lo_up(void **state)
{
	struct in6_addr addr;
	int rtnl = netdev_open(), lo = netdev_index(rtnl, "lo");

	(void)state;
	inet_pton(AF_INET6, "fd00::5", &addr);
	return netdev_set_up(rtnl, lo, 0) || netdev_add_addr(rtnl, lo, AF_INET6, &addr, 128) ||
	       close(rtnl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(borders_stay),
		cmocka_unit_test(clients_do_not_mix),
		cmocka_unit_test(holds_until_guest_listens),
		cmocka_unit_test(does_not_hold_for_ever),
		cmocka_unit_test(drops_when_not_to_wait),
		cmocka_unit_test(follows_the_server),
		cmocka_unit_test(wildcard_answers_from_the_same_address),
		cmocka_unit_test(refuses_other_users),
		cmocka_unit_test(idle_flows_are_forgotten),
		cmocka_unit_test(stops_when_descriptors_are_short),
		cmocka_unit_test(waits_for_sockets),
		cmocka_unit_test(a_crowd_does_not_push_out_the_settled),
		cmocka_unit_test(table_follows_its_model),
		cmocka_unit_test(a_flood_of_one_address_is_its_own),
		cmocka_unit_test(targets_are_shared),
		cmocka_unit_test(what_waits_is_shared),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
