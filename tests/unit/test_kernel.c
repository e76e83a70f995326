/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel - namespaces with a TUN device: what they can do, what they may do, how they end */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "conn/door.h"
#include "conn/inside.h"
#include "exit/kernel.h"
#include "netns.h"
#include "util/fd.h"
#include "util/list.h"

#define WAIT_MS      5000 /* far above what anything here takes */
#define HEADER_BYTES 10   /* struct virtio_net_hdr */
#define STREAM_BYTES (8 << 20)

static struct in_addr ip(const char *text)
{
	struct in_addr out;

	assert_int_equal(inet_pton(AF_INET, text, &out), 1);
	return out;
}

static struct sockaddr_in at(const char *text, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = ip(text), .sin_port = htons(port)};
}

static struct kernel *start(bool is_new)
{
	struct err err = {0};
	struct stack *stack = kernel_open(is_new, &err);

	if (!stack)
		fail_msg("%s", err.text);
	return container_of(stack, struct kernel, stack);
}

static void stop(struct kernel *kernel)
{
	kernel->stack.ops->stop(&kernel->stack);
}

static int set_self(struct kernel *kernel, const char *text)
{
	return kernel->stack.ops->change(&kernel->stack, STACK_SET_SELF, ip(text));
}

static int add_peer(struct kernel *kernel, const char *text)
{
	return kernel->stack.ops->change(&kernel->stack, STACK_ADD_PEER, ip(text));
}

static int del_peer(struct kernel *kernel, const char *text)
{
	return kernel->stack.ops->change(&kernel->stack, STACK_DEL_PEER, ip(text));
}

static int reserve_ports(struct kernel *kernel, const char *ports)
{
	return kernel->stack.ops->reserve_ports(&kernel->stack, ports);
}

static int wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd pollfd = {.fd = fd, .events = events};

	return poll(&pollfd, 1, timeout_ms);
}

/* A socket of the namespace, blocking */
static int socket_inside(struct kernel *kernel, enum door_kind kind)
{
	enum door_kind got;
	int fds[DOOR_BATCH_MAX];

	assert_int_equal(door_request(kernel->stack.door, kind, 1), 0);
	assert_int_equal(wait_for(kernel->stack.door, POLLIN, WAIT_MS), 1);
	assert_int_equal(door_receive(kernel->stack.door, &got, fds), 1);
	assert_int_equal(got, kind);
	assert_int_equal(fd_set_nonblock(fds[0], 0), 0);
	return fds[0];
}

/* It has ended; whoever is its parent now may never reap it. */
static bool is_gone(pid_t pid)
{
	char path[64], stat[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < WAIT_MS; i++) {
		ssize_t len = fd_read_file(path, stat, sizeof(stat));
		const char *after = len > 0 ? strrchr(stat, ')') : NULL;
		if (!after || after[2] == 'Z' || after[2] == 'X')
			return true;
		usleep(1000);
	}
	return false;
}

/* The value of "NAME:\t" in /proc/PID/status */
static void read_status(pid_t pid, const char *name, char value[64])
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	value[0] = '\0';
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			snprintf(value, 64, "%.*s", (int)strcspn(line + strlen(name) + 2, "\n"),
				line + strlen(name) + 2);
	fclose(file);
}

static void assert_status(pid_t pid, const char *name, const char *expected)
{
	char value[64];

	read_status(pid, name, value);
	assert_string_equal(value, expected);
}

static uint16_t checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* A datagram that says "ping" as it crosses the TUN device */
struct datagram {
	struct iphdr ip;
	struct udphdr udp;
	char text[4];
} __attribute__((packed));

struct pseudo_header {
	uint32_t src, dst;
	uint16_t proto, len;
};

static uint16_t udp_checksum(const struct datagram *packet)
{
	struct pseudo_header pseudo = {
		packet->ip.saddr, packet->ip.daddr, htons(IPPROTO_UDP), packet->udp.len};
	uint16_t sum = ntohs((uint16_t)~checksum(&pseudo, sizeof(pseudo), 0));

	return checksum((const char *)packet + 20, sizeof(*packet) - 20, sum);
}

static void test_rights(void **state)
{
	(void)state;
	struct kernel *kernel = start(true);
	char path[64];

	assert_status(kernel->pid, "Name", "nswrap: stack");
	assert_status(kernel->pid, "CapEff", "0000000000001000"); /* CAP_NET_ADMIN */
	assert_status(kernel->pid, "CapPrm", "0000000000001000");
	assert_status(kernel->pid, "CapInh", "0000000000000000");
	assert_status(kernel->pid, "CapBnd", "0000000000000000");
	assert_status(kernel->pid, "CapAmb", "0000000000000000");
	assert_status(kernel->pid, "NoNewPrivs", "1");
	assert_int_equal(getsid(kernel->pid), kernel->pid);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", kernel->pid);
	if (geteuid() != 0)
		assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
	stop(kernel);
}

static void test_lives_with_the_agent(void **state)
{
	(void)state;
	struct kernel *kernel = start(true);
	pid_t pid = kernel->pid;
	int status, ends[2];

	close(kernel->control_io.fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	kernel->control_io.fd = -1;
	kernel->pid = 0;
	stop(kernel);
	/* a stopped one is ended all the same */
	kernel = start(true);
	pid = kernel->pid;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	stop(kernel);
	assert_int_equal(kill(pid, 0), -1);
	/* an agent that is killed takes its stack with it, even a stopped one */
	assert_int_equal(pipe(ends), 0);
	pid_t agent = fork();
	if (agent == 0) {
		kernel = start(true);
		kill(kernel->pid, SIGSTOP);
		fd_write_all(ends[1], &kernel->pid, sizeof(kernel->pid));
		raise(SIGKILL);
	}
	assert_int_equal(fd_read_all(ends[0], &pid, sizeof(pid)), sizeof(pid));
	assert_int_equal(waitpid(agent, &status, 0), agent);
	assert_true(is_gone(pid));
	close(ends[0]);
	close(ends[1]);
}

static void test_requests(void **state)
{
	(void)state;
	struct kernel *kernel = start(true);

	/* a source that is not there */
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	assert_int_equal(del_peer(kernel, "127.0.42.2"), 0);
	assert_int_equal(set_self(kernel, "127.0.42.1"), 0);
	assert_int_equal(set_self(kernel, "127.0.42.1"), 0);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), -EEXIST);
	assert_int_equal(add_peer(kernel, "10.1.2.3"), 0);
	assert_int_equal(del_peer(kernel, "127.0.42.3"), -ENOENT);
	/* another address of its own: peers are lost, and are told the new one */
	assert_int_equal(set_self(kernel, "192.168.42.1"), 0);
	assert_int_equal(del_peer(kernel, "127.0.42.2"), -ENOENT);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	int fd = socket_inside(kernel, DOOR_UDP4);
	struct sockaddr_in addr = at("127.0.42.2", 9);
	socklen_t len = sizeof(addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(addr.sin_addr.s_addr, ip("192.168.42.1").s_addr);
	close(fd);
	kill(kernel->pid, SIGKILL);
	assert_int_equal(set_self(kernel, "127.0.42.1"), -EPIPE);
	stop(kernel);
	/* one that was stopped is not waited for for ever */
	kernel = start(true);
	kill(kernel->pid, SIGSTOP);
	assert_int_equal(set_self(kernel, "127.0.42.1"), -EPIPE);
	stop(kernel);
}

static uint16_t port_of_choice(struct kernel *kernel)
{
	int fd = socket_inside(kernel, DOOR_TCP4);
	struct sockaddr_in addr = at("127.0.0.1", 0);
	socklen_t len = sizeof(addr);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

/* Ports that are reserved are not chosen: here all but one of the kernel's usual range */
static void test_reserved_ports(void **state)
{
	char text[STACK_PORTS_BYTES + 1];
	struct kernel *kernel = start(true);

	(void)state;
	assert_int_equal(reserve_ports(kernel, "80,32768-60997,60999"), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(port_of_choice(kernel), 60998);
	assert_int_equal(reserve_ports(kernel, "80,60998"), 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(port_of_choice(kernel), 60998);
	assert_int_equal(reserve_ports(kernel, ""), 0);
	assert_int_equal(reserve_ports(kernel, "80;81"), -EINVAL);
	memset(text, '1', sizeof(text));
	text[STACK_PORTS_BYTES] = '\0';
	assert_int_equal(reserve_ports(kernel, text), -ENAMETOOLONG);
	stop(kernel);
}

/* Own programs' packets to the own address come out, whatever it is now; what comes in is local. */
static void test_own_packets_come_back(void **state)
{
	struct kernel *kernel = start(true);
	struct datagram got;
	struct in_addr net;
	bool turns = true;

	(void)state;
	for (int round = 0; round < 3; round++) {
		const char *self = round == 1 ? "127.0.42.9" : "127.0.42.1";
		struct sockaddr_in to = at(self, 53), bound = at("0.0.0.0", 53);
		int client = socket_inside(kernel, DOOR_UDP4);
		int server = socket_inside(kernel, DOOR_UDP4);

		assert_int_equal(set_self(kernel, self), 0);
		assert_int_equal(
			kernel->stack.ops->open_aliases(&kernel->stack, ip(self), &net, &turns), 0);
		assert_true(turns);
		assert_int_equal(ntohl(net.s_addr) >> 28, 15);
		assert_int_equal(bind(server, (struct sockaddr *)&bound, sizeof(bound)), 0);
		assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(client, "ping", 4, 0), 4);
		assert_int_equal(wait_for(kernel->tun_io.fd, POLLIN, WAIT_MS), 1);
		assert_true(kernel->stack.ops->take(&kernel->stack, &got, sizeof(got)) > 0);
		assert_int_equal(got.ip.daddr, ip(self).s_addr);
		assert_int_equal(got.ip.saddr, ip(self).s_addr);
		assert_int_equal(kernel->stack.ops->deliver(&kernel->stack, &got, sizeof(got)), 0);
		assert_int_equal(wait_for(server, POLLIN, WAIT_MS), 1);
		/* an alias is answered by way of the device, too */
		struct sockaddr_in alias = {.sin_family = AF_INET, .sin_port = htons(9)};
		alias.sin_addr.s_addr = net.s_addr | htonl(7);
		assert_int_equal(
			sendto(server, "pong", 4, 0, (struct sockaddr *)&alias, sizeof(alias)), 4);
		assert_int_equal(wait_for(kernel->tun_io.fd, POLLIN, WAIT_MS), 1);
		assert_true(kernel->stack.ops->take(&kernel->stack, &got, sizeof(got)) > 0);
		assert_int_equal(got.ip.daddr, alias.sin_addr.s_addr);
		close(client);
		close(server);
	}
	stop(kernel);
}

static int on_connection(void *owner, const struct addr *own, const struct addr *peer)
{
	assert_int_equal(own->v4.sin_addr.s_addr, ip("127.0.42.1").s_addr);
	assert_int_equal(peer->v4.sin_addr.s_addr, ip("127.0.42.1").s_addr);
	++*(int *)owner;
	return 0;
}

/* Low ports, and what 127.0.0.1 is there */
static void test_sockets(void **state)
{
	(void)state;
	struct kernel *kernel = start(true);
	struct sockaddr_in addr = at("127.0.42.1", 80);
	int fd = socket_inside(kernel, DOOR_TCP4);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(set_self(kernel, "127.0.42.1"), 0);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	fd = socket_inside(kernel, DOOR_TCP4);
	int client = socket_inside(kernel, DOOR_TCP4);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* both ends of it are seen from here */
	int seen = 0;
	assert_int_equal(kernel->stack.ops->connections(&kernel->stack, on_connection, &seen), 0);
	assert_int_equal(seen, 2);
	close(client);
	/* and so is one that begins, also where it is bound to the device */
	for (int is_bound = 0; is_bound < 2; is_bound++) {
		struct addr own, peer = addr_of4(ip("127.0.42.2"), 80);

		client = socket_inside(kernel, DOOR_TCP4);
		assert_int_equal(fd_set_nonblock(client, 1), 0);
		if (is_bound)
			assert_int_equal(
				setsockopt(client, SOL_SOCKET, SO_BINDTODEVICE, "mesh0", 6), 0);
		assert_int_equal(connect(client, &peer.any, addr_len(&peer)), -1);
		assert_int_equal(errno, EINPROGRESS);
		assert_int_equal(addr_get_own(client, &own), 0);
		assert_int_equal(kernel->stack.ops->is_connected(&kernel->stack, &own, &peer), 1);
		addr_set_port(&peer, 81);
		assert_int_equal(kernel->stack.ops->is_connected(&kernel->stack, &own, &peer), 0);
		close(client);
	}
	/* next to the addresses of the mesh lo is as ever */
	client = socket_inside(kernel, DOOR_TCP4);
	addr = at("127.0.1.1", 80);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof(addr)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(client);
	close(fd);
	stop(kernel);
}

/* What is read has a complete checksum; what is said to lack its checksum is not verified */
static void test_packets(void **state)
{
	(void)state;
	struct kernel *kernel = start(true);
	struct sockaddr_in addr = at("127.0.42.2", 9);
	struct {
		unsigned char header[HEADER_BYTES];
		struct datagram packet;
	} __attribute__((packed)) wire;
	char text[16];

	assert_int_equal(set_self(kernel, "127.0.42.1"), 0);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	int fd = socket_inside(kernel, DOOR_UDP4);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	/* no router solicitation, no report of a group comes before it */
	assert_int_equal(wait_for(kernel->tun_io.fd, POLLIN, WAIT_MS), 1);
	assert_int_equal(read(kernel->tun_io.fd, &wire, sizeof(wire)), sizeof(wire));
	assert_int_equal(read(kernel->tun_io.fd, &wire, sizeof(wire)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(wire.header[0], 0); /* nothing left to be done */
	struct datagram packet = wire.packet;
	assert_int_equal(packet.ip.saddr, ip("127.0.42.1").s_addr);
	assert_int_equal(packet.ip.daddr, ip("127.0.42.2").s_addr);
	assert_memory_equal(packet.text, "ping", 4);
	assert_int_equal(udp_checksum(&packet), 0);
	/* and back, once with a wrong checksum */
	uint16_t port = packet.udp.source;
	packet.ip.saddr = ip("127.0.42.2").s_addr;
	packet.ip.daddr = ip("127.0.42.1").s_addr;
	packet.udp.source = packet.udp.dest;
	packet.udp.dest = port;
	packet.udp.check = (uint16_t)~packet.udp.check;
	memset(wire.header, 0, HEADER_BYTES);
	wire.packet = packet;
	assert_int_equal(write(kernel->tun_io.fd, &wire, sizeof(wire)), sizeof(wire));
	/* struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset */
	wire.header[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	wire.header[6] = sizeof(struct iphdr);
	wire.header[8] = offsetof(struct udphdr, check);
	memcpy(wire.packet.text, "pong", 4);
	assert_int_equal(write(kernel->tun_io.fd, &wire, sizeof(wire)), sizeof(wire));
	assert_int_equal(wait_for(fd, POLLIN, WAIT_MS), 1);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "pong", 4);
	close(fd);
	stop(kernel);
}

/* --- as the agent uses it ----------------------------------------------------------------- */

struct owner {
	struct stack *stack;
	int packets, gone;
	bool takes;
	struct datagram taken;
};

static void on_packets(void *told)
{
	struct owner *owner = told;

	owner->packets++;
	if (!owner->takes)
		return;
	assert_int_equal(owner->stack->ops->take(owner->stack, &owner->taken, sizeof(owner->taken)),
		sizeof(owner->taken));
	assert_int_equal(owner->stack->ops->take(owner->stack, &owner->taken, sizeof(owner->taken)),
		-EAGAIN);
}

static void on_gone(void *told, const char *why)
{
	(void)why;
	((struct owner *)told)->gone++;
}

static void run_to(struct loop *loop, const int *count, int wanted)
{
	for (int ms = 0; ms < WAIT_MS && *count < wanted; ms++)
		assert_int_equal(loop_run_once(loop, 1), 0);
	assert_int_equal(*count, wanted);
}

static void test_watched(void **state)
{
	static const struct stack_events events = {on_packets, on_gone};
	struct kernel *kernel = start(true);
	struct owner owner = {.stack = &kernel->stack, .takes = true};
	const struct stack_ops *ops = owner.stack->ops;
	struct loop *loop = loop_new();
	struct conn_context context = {.loop = loop, .inside = inside_new(loop, owner.stack->door)};
	const struct addr self = addr_of4(ip("127.0.42.1"), 53);
	struct sockaddr_in peer = at("127.0.42.2", 9);
	char text[8];

	(void)state;
	assert_int_equal(ops->watch(owner.stack, &context, &events, &owner), 0);
	assert_int_equal(set_self(kernel, "127.0.42.1"), 0);
	assert_int_equal(add_peer(kernel, "127.0.42.2"), 0);
	int fd = ops->open_bound(owner.stack, PROTO_UDP, &self);
	assert_true(fd >= 0);
	assert_int_equal(ops->open_bound(owner.stack, PROTO_UDP, &self), -EADDRINUSE);
	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	run_to(loop, &owner.packets, 1);
	assert_int_equal(owner.taken.ip.daddr, ip("127.0.42.2").s_addr);
	assert_int_equal(udp_checksum(&owner.taken), 0);
	/* and back; its checksum is that of the other way, and not looked at */
	struct datagram answer = owner.taken;
	answer.ip.saddr = owner.taken.ip.daddr;
	answer.ip.daddr = owner.taken.ip.saddr;
	answer.udp.source = owner.taken.udp.dest;
	answer.udp.dest = owner.taken.udp.source;
	memcpy(answer.text, "pong", 4);
	assert_int_equal(ops->deliver(owner.stack, &answer, sizeof(answer)), 0);
	assert_int_equal(wait_for(fd, POLLIN, WAIT_MS), 1);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "pong", 4);
	/* while it rests packets wait */
	ops->rest(owner.stack, true);
	assert_int_equal(send(fd, "ping", 4, 0), 4);
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(loop, 1), 0);
	assert_int_equal(owner.packets, 1);
	ops->rest(owner.stack, false);
	run_to(loop, &owner.packets, 2);
	kill(kernel->pid, SIGKILL);
	for (int ms = 0; ms < WAIT_MS && owner.gone == 0; ms++)
		assert_int_equal(loop_run_once(loop, 1), 0);
	assert_true(owner.gone > 0);
	close(fd);
	inside_free(context.inside);
	context = (struct conn_context){0}; /* its owner has closed it by now */
	ops->stop(owner.stack);
	loop_free(loop);
}

/* --- two of them, joined ------------------------------------------------------------------ */

/* Everything that one of them sends goes to the other one, as two agents would do it. */
static void pump(int a, int b)
{
	struct pollfd ends[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
	static unsigned char packet[HEADER_BYTES + STACK_MTU];

	while (poll(ends, 2, -1) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t len =
				ends[i].revents ? read(ends[i].fd, packet, sizeof(packet)) : 0;

			if (len > 0 && write(ends[1 - i].fd, packet, (size_t)len) != len)
				_exit(1);
		}
}

static pid_t fork_child(void (*run)(int a, int b), int a, int b)
{
	pid_t pid = fork();

	if (pid == 0) {
		run(a, b);
		_exit(0);
	}
	return pid;
}

static void send_stream(int fd, int unused)
{
	static unsigned char chunk[65536];

	(void)unused;
	for (size_t sent = 0; sent < STREAM_BYTES; sent += sizeof(chunk)) {
		memset(chunk, (int)(sent >> 16), sizeof(chunk));
		if (fd_write_all(fd, chunk, sizeof(chunk)) < 0)
			_exit(1);
	}
}

static void receive_stream(int fd)
{
	static unsigned char chunk[65536];
	size_t got = 0;

	for (;;) {
		ssize_t len = read(fd, chunk, sizeof(chunk));

		assert_true(len >= 0);
		if (len == 0)
			break;
		for (ssize_t i = 0; i < len; i++, got++)
			if (chunk[i] != (unsigned char)(got >> 16))
				fail_msg("wrong byte at %zu", got);
	}
	assert_int_equal(got, STREAM_BYTES);
}

static void test_joined(void **state)
{
	(void)state;
	struct kernel *one = start(true), *two = start(true);
	struct sockaddr_in addr = at("127.0.42.2", 80), peer;
	socklen_t len = sizeof(peer);
	int status;

	assert_int_equal(set_self(one, "127.0.42.1"), 0);
	assert_int_equal(add_peer(one, "127.0.42.2"), 0);
	assert_int_equal(set_self(two, "127.0.42.2"), 0);
	assert_int_equal(add_peer(two, "127.0.42.1"), 0);
	pid_t wire = fork_child(pump, one->tun_io.fd, two->tun_io.fd);
	int client = socket_inside(one, DOOR_TCP4), listener = socket_inside(two, DOOR_TCP4);
	/* nobody listens yet */
	assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof(addr)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
	int server = accept(listener, (struct sockaddr *)&peer, &len);
	assert_true(server >= 0);
	assert_int_equal(peer.sin_addr.s_addr, ip("127.0.42.1").s_addr);
	pid_t sender = fork_child(send_stream, client, -1);
	close(client);
	receive_stream(server);
	assert_int_equal(waitpid(sender, &status, 0), sender);
	assert_int_equal(status, 0);
	close(server);
	close(listener);
	kill(wire, SIGKILL);
	waitpid(wire, NULL, 0);
	stop(one);
	stop(two);
}

/* --- in the namespace of the caller ------------------------------------------------------- */

static void assert_sysctl(const char *key, const char *expected)
{
	char path[128], text[128];

	snprintf(path, sizeof(path), "/proc/sys/net/%s", key);
	assert_true(fd_read_file(path, text, sizeof(text)) > 0);
	text[strcspn(text, "\n")] = '\0';
	assert_string_equal(text, expected);
}

static void test_here(void **state)
{
	(void)state;
	struct kernel *first = start(false), *second = start(false);

	assert_true(if_nametoindex("mesh0") > 0);
	assert_true(if_nametoindex("mesh1") > 0);
	assert_int_equal(if_nametoindex("mesh2"), 0);
	assert_sysctl("ipv4/tcp_rmem", "4096\t131072\t67108864");
	assert_sysctl("ipv4/tcp_wmem", "4096\t16384\t67108864");
	assert_sysctl("ipv4/tcp_slow_start_after_idle", "0");
	assert_sysctl("ipv4/conf/all/rp_filter", "0");
	assert_sysctl("ipv4/conf/mesh0/rp_filter", "0");
	assert_sysctl("ipv4/conf/mesh0/route_localnet", "1");
	assert_sysctl("ipv6/conf/mesh0/disable_ipv6", "1");
	assert_int_equal(set_self(first, "127.0.42.1"), 0);
	assert_int_equal(set_self(second, "127.0.42.1"), 0);
	/* devices, addresses and routes go with it; a name that is free again is used again */
	stop(first);
	assert_int_equal(if_nametoindex("mesh0"), 0);
	first = start(false);
	assert_true(if_nametoindex("mesh0") > 0);
	stop(first);
	stop(second);
}

static void test_no_name_left(void **state)
{
	(void)state;
	struct kernel *kernels[10];
	struct err err = {0};

	for (int i = 0; i < 10; i++)
		kernels[i] = start(false);
	assert_null(kernel_open(false, &err));
	assert_int_equal(err.code, EBUSY);
	assert_non_null(strstr(err.text, "mesh9"));
	for (int i = 0; i < 10; i++)
		stop(kernels[i]);
}

/* Without rights: one line that tells where help is, and no way out that is for sandboxes only */
static void test_refused(void **state)
{
	(void)state;
	struct err err = {0};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		cap_t none = cap_init();
		int wrong = cap_set_proc(none) != 0;

		wrong += kernel_open(false, &err) != NULL || err.code != EPERM;
		wrong += strstr(err.text, "CAP_NET_ADMIN") == NULL;
		wrong += strstr(err.text, "nswrap doctor") == NULL;
		wrong += strstr(err.text, "--network") != NULL || strchr(err.text, '\n') != NULL;
		wrong += waitpid(-1, NULL, 0) != -1;
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Root of a container: no user namespaces, but network namespaces of its own */
static void test_without_user_namespaces(void **state)
{
	(void)state;
	struct err err = {0};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char map[64];

		snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
		int wrong = unshare(CLONE_NEWUSER) != 0;
		wrong += !netns_write("/proc/self/uid_map", map);
		wrong += !netns_write("/proc/sys/user/max_user_namespaces", "0");
		struct stack *stack = kernel_open(true, &err);
		wrong += !stack ||
			 stack->ops->change(stack, STACK_SET_SELF, ip("127.0.42.1")) != 0 ||
			 stack->ops->change(stack, STACK_ADD_PEER, ip("127.0.42.2")) != 0;
		if (stack)
			stack->ops->stop(stack);
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Stop the first child of the main thread, as soon as it is there. */
static void *stop_child(void *told)
{
	char path[64], text[64];

	(void)told;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	while (fd_read_file(path, text, sizeof(text)) <= 0)
		;
	kill((pid_t)strtol(text, NULL, 10), SIGSTOP);
	return NULL;
}

/* A program of the same user stops it while it sets up: its silence has an end. */
static void test_stopped_at_the_start(void **state)
{
	struct err err = {0};
	pthread_t stopper;

	(void)state;
	/* until one is stopped early enough */
	for (int i = 0; i < 100 && err.code == 0; i++) {
		assert_int_equal(pthread_create(&stopper, NULL, stop_child, NULL), 0);
		struct stack *stack = kernel_open(true, &err);
		pthread_join(stopper, NULL);
		if (stack)
			stack->ops->stop(stack);
	}
	assert_int_equal(err.code, ETIMEDOUT);
	assert_non_null(strstr(err.text, "has said nothing for 5 s"));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_lives_with_the_agent),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_reserved_ports),
		cmocka_unit_test(test_own_packets_come_back),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_watched),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_here),
		cmocka_unit_test(test_no_name_left),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_without_user_namespaces),
		cmocka_unit_test(test_stopped_at_the_start),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
