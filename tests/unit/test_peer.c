/* SPDX-License-Identifier: Apache-2.0 */
/* test_peer - a host is started, lost, and started again, by commands that are this very program */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "mesh/manager/peer.h"
#include "util/clock.h"

#define ROUNDS     5000 /* of a millisecond: then it is in vain */
#define STEPS      3000
#define TEXT_BYTES 4096
#define FEATURES   "[\"tcp\",\"ping\",\"reconfigure\",\"sandbox.run\"]"

/* --- the agent ------------------------------------------------------------------------------ */

static bool read_whole(unsigned char *bytes, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t got = read(STDIN_FILENO, bytes + have, len - have);

		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

static void write_frame(enum frame_type type, const void *payload, size_t len)
{
	unsigned char bytes[FRAME_HEADER_BYTES + TEXT_BYTES];

	frame_encode_header(bytes, type, len);
	memcpy(bytes + FRAME_HEADER_BYTES, payload, len);
	if (write(STDOUT_FILENO, bytes, FRAME_HEADER_BYTES + len) < 0)
		_exit(9);
}

/* Answers until its stdin ends; what else it does is @mode. */
static int be_agent(const char *mode)
{
	unsigned char head[FRAME_HEADER_BYTES], text[TEXT_BYTES];
	char reply[TEXT_BYTES];

	if (strcmp(mode, "broken") == 0) {
		fprintf(stderr, "it is broken\n");
		return 7;
	}
	while (read_whole(head, sizeof(head))) {
		size_t len = (size_t)(head[2] << 8 | head[3]) + 4 - FRAME_HEADER_BYTES;

		if (len >= sizeof(text) || !read_whole(text, len))
			return 8;
		text[len] = '\0';
		const char *id = strstr((char *)text, "\"id\":");
		if (head[5] == FRAME_PACKET) /* back to where it came from */
			write_frame(FRAME_PACKET, text, len);
		if (!id || strcmp(mode, "mute") == 0)
			continue;
		int reply_len = snprintf(reply, sizeof(reply),
			"{\"type\":\"result\",\"body\":{\"request_id\":%d,\"op\":\"%s\",\"data\":"
			"{\"features\":" FEATURES ",\"version\":\"1\"}}}",
			atoi(id + 5), strstr((char *)text, "\"ping\"") ? "ping" : "configure");
		write_frame(FRAME_MESSAGE, reply, (size_t)reply_len);
		if (strncmp(mode, "ended", 5) == 0) {
			reply_len = snprintf(reply, sizeof(reply),
				"{\"type\":\"event\",\"body\":{\"type\":\"ended\",\"data\":"
				"{\"status\":%s}}}",
				mode + 5);
			write_frame(FRAME_MESSAGE, reply, (size_t)reply_len);
			return 0;
		}
		if (strcmp(mode, "quits") == 0)
			return 0;
	}
	return 0;
}

/* --- the manager ---------------------------------------------------------------------------- */

struct bed {
	struct loop *loop;
	struct children children;
	struct manifest_host host;
	struct manifest manifest;
	struct fabric fabric;
	struct fabric_port *port;
	struct peer_context context;
	struct peer *peer;
	uint64_t seed;
	/* what was seen */
	enum peer_state state;
	size_t changes, suggestions;
	char notice[TEXT_BYTES], line[TEXT_BYTES];
	/* what was wanted, for the model */
	bool is_retired, is_asked, has_succeeded;
};

static uint32_t random_below(struct bed *bed, uint32_t limit)
{
	bed->seed = bed->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(bed->seed >> 33) % limit;
}

/* Where ENDING leads to. */
static enum peer_state after_ending(const struct bed *bed)
{
	if (bed->is_retired)
		return PEER_DOWN;
	if (bed->is_asked)
		return PEER_STARTING;
	return bed->host.no_restart || bed->has_succeeded ? PEER_DOWN : PEER_WAITING;
}

/* Is each step one that the header has, and one that was asked for? */
static void on_change(struct peer *peer)
{
	struct bed *bed = peer->context->owner;
	enum peer_state was = bed->state, is = peer->state;
	bool may_be = false;

	switch (was) {
	case PEER_DOWN:
		may_be = is == PEER_STARTING && !bed->is_retired;
		break;
	case PEER_STARTING:
		may_be = is == PEER_READY || is == PEER_ENDING;
		break;
	case PEER_READY:
		may_be = is == PEER_ENDING;
		break;
	case PEER_ENDING:
		may_be = is == after_ending(bed);
		break;
	case PEER_WAITING:
		may_be = is == (bed->is_retired ? PEER_DOWN : PEER_STARTING);
		break;
	case PEER_STATES:
		break;
	}
	if (!may_be)
		fail_msg("from state %d to %d", was, is);
	if (is == PEER_STARTING)
		bed->is_asked = false;
	if (is == PEER_DOWN || is == PEER_WAITING)
		assert_int_equal(peer->link.child.pid, 0);
	assert_true(is == PEER_READY || is == PEER_ENDING || !peer->port.wire);
	bed->state = is;
	bed->changes++;
}

static void on_notice(struct session *session, enum log_level level, const char *text)
{
	struct bed *bed = peer_of(session)->context->owner;

	(void)level;
	snprintf(bed->notice, sizeof(bed->notice), "%s", text);
}

static void on_stderr(struct peer *peer, const char *text, size_t len)
{
	struct bed *bed = peer->context->owner;

	snprintf(bed->line, sizeof(bed->line), "%.*s", (int)len, text);
}

static int configure(struct session *session, struct mesh_config *out)
{
	struct peer *peer = peer_of(session);
	struct bed *bed = peer->context->owner;

	return manifest_configure(&bed->manifest, (size_t)peer->port.number, out);
}

static void on_suggestion(
	struct session *session, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct bed *bed = peer_of(session)->context->owner;

	(void)ips, (void)via;
	bed->suggestions += count;
}

static const struct session_ops ops = {configure, on_notice, on_suggestion};

static char program[] = "/proc/self/exe", good[] = "good", mute[] = "mute", broken[] = "broken";

static struct bed *bed_new(char *mode)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	char **cmd = calloc(3, sizeof(*cmd));

	cmd[0] = program;
	cmd[1] = mode;
	bed->seed = 3;
	bed->loop = loop_new();
	children_init(&bed->children, bed->loop);
	bed->host =
		(struct manifest_host){.name = "host", .vip.s_addr = htonl(0x7f002a01), .cmd = cmd};
	bed->manifest = (struct manifest){.hosts = &bed->host, .nhosts = 1};
	bed->fabric = (struct fabric){.router = router_new(&bed->manifest), .ports = &bed->port};
	bed->context = (struct peer_context){
		.loop = bed->loop,
		.hub = wire_hub_new(bed->loop),
		.children = &bed->children,
		.fabric = &bed->fabric,
		.session_ops = &ops,
		.on_change = on_change,
		.on_stderr = on_stderr,
		.owner = bed,
	};
	getrlimit(RLIMIT_NOFILE, &bed->context.nofile);
	bed->peer = peer_new(&bed->context, &bed->host);
	bed->port = &bed->peer->port;
	assert_int_equal(bed->peer->state, PEER_DOWN);
	assert_string_equal(peer_state_name(bed->peer), "stopped");
	return bed;
}

static void bed_free(struct bed *bed)
{
	peer_free(bed->peer);
	assert_int_equal(children_end(&bed->children, ROUNDS), 0);
	router_free((struct router *)bed->fabric.router);
	wire_hub_free(bed->context.hub);
	loop_free(bed->loop);
	free(bed->host.cmd);
	free(bed);
}

static void run(struct bed *bed)
{
	assert_int_equal(loop_run_once(bed->loop, 1), 0);
	children_reap(&bed->children);
}

#define run_until(bed, condition)                                      \
	do {                                                           \
		for (int ms_ = 0; ms_ < ROUNDS && !(condition); ms_++) \
			run(bed);                                      \
		if (!(condition))                                      \
			fail_msg("in vain: %s", #condition);           \
	} while (0)

static void jump(struct bed *bed, uint64_t ms)
{
	run(bed);
	clock_ahead_ns += ms * NS_PER_MS;
	run(bed);
	run(bed);
}

static void start(struct bed *bed)
{
	bed->is_retired = false;
	peer_start(bed->peer);
}

static void stop(struct bed *bed)
{
	bed->is_retired = true;
	bed->is_asked = bed->is_asked || bed->state == PEER_STARTING || bed->state == PEER_READY;
	peer_stop(bed->peer);
}

static void restart(struct bed *bed)
{
	bed->is_retired = false;
	bed->is_asked = bed->state != PEER_WAITING && bed->state != PEER_DOWN;
	peer_restart(bed->peer, "so it goes");
}

/* --- one step after the other --------------------------------------------------------------- */

static void from_start_to_stop(void **state)
{
	struct bed *bed = bed_new(good);
	struct peer *peer = bed->peer;

	(void)state;
	start(bed);
	assert_string_equal(peer_state_name(peer), "starting");
	assert_true(peer->port.is_starting);
	run_until(bed, peer->state == PEER_READY);
	assert_false(peer->port.is_starting);
	assert_false(peer->port.knows_icmp);
	assert_string_equal(peer_state_name(peer), "ready");
	assert_string_equal(bed->notice, "ready at 127.0.42.1");
	assert_string_equal(peer->session.info.version, "1");
	assert_ptr_equal(peer->port.wire, &peer->link.wire);
	run_until(bed, peer->session.rtt_ns > 0);
	start(bed); /* nothing happens */
	stop(bed);
	assert_string_equal(peer_state_name(peer), "stopping");
	assert_false(peer->port.is_starting);
	run_until(bed, peer->state == PEER_DOWN);
	assert_string_equal(peer_state_name(peer), "stopped");
	assert_string_equal(bed->notice, "stopped");
	assert_string_equal(peer->reason, "");
	assert_int_equal(peer->restarts, 0);
	bed_free(bed);
}

/* A packet to itself, which its agent sends back; counted over all of its links. */
static void packets_are_counted(void **state)
{
	unsigned char packet[20] = {0x45, 0, 0, 20, [12] = 127, 0, 42, 1, 127, 0, 42, 1};
	unsigned char bytes[FRAME_HEADER_BYTES + sizeof(packet)];
	struct bed *bed = bed_new(good);
	struct peer *peer = bed->peer;
	struct peer_traffic last = {0};

	(void)state;
	frame_encode_header(bytes, FRAME_PACKET, sizeof(packet));
	memcpy(bytes + FRAME_HEADER_BYTES, packet, sizeof(packet));
	start(bed);
	for (unsigned round = 0; round < 4; round++) {
		run_until(bed, peer->state == PEER_READY);
		/* it goes to and fro until the link ends */
		uint64_t before = peer_traffic(peer).packets_in;
		struct iovec part = {bytes, sizeof(bytes)};
		assert_int_equal(wire_send(peer->port.wire, 0, &part, 1), 0);
		run_until(bed, peer_traffic(peer).packets_in >= before + 10);
		struct peer_traffic now = peer_traffic(peer);
		assert_true(now.packets_out >= now.packets_in);
		assert_true(now.packets_out <= now.packets_in + round + 1);
		assert_true(now.bytes_in > last.bytes_in && now.bytes_out > last.bytes_out);
		assert_true(now.packets_in < last.packets_in + 10000);
		last = now;
		if (round == 1)
			restart(bed);
		else
			child_signal(&peer->link.child, SIGKILL);
		run_until(bed, peer->state == PEER_STARTING || peer->state == PEER_WAITING);
		now = peer_traffic(peer);
		assert_true(now.packets_in >= last.packets_in);
		if (peer->state == PEER_WAITING)
			jump(bed, 40000);
	}
	assert_int_equal(peer->restarts, 4);
	assert_int_equal(peer->port.drops.malformed, 0);
	bed_free(bed);
}

static void pauses_grow(void **state)
{
	struct bed *bed = bed_new(broken);
	struct peer *peer = bed->peer;
	uint64_t wanted_ms = 500;

	(void)state;
	start(bed);
	for (int i = 0; i < 9; i++) {
		run_until(bed, peer->state == PEER_WAITING);
		assert_string_equal(peer->reason, "ended with status 7");
		assert_false(peer->port.is_starting);
		assert_string_equal(bed->line, "it is broken");
		assert_int_equal(
			strncmp(bed->notice, "lost: ended with status 7; again in ", 36), 0);
		/* within a fifth; counted from when it was lost */
		uint64_t pause_ms = (peer->pause.deadline_ns - peer->ended_ns) / NS_PER_MS;
		assert_true(pause_ms + 1 >= wanted_ms * 4 / 5);
		assert_true(pause_ms <= wanted_ms * 6 / 5 + 1000);
		wanted_ms = wanted_ms * 2 < 30000 ? wanted_ms * 2 : 30000;
		jump(bed, pause_ms);
	}
	assert_true(peer->restarts >= 8);
	/* who was ready for ten seconds begins with the shortest one */
	run_until(bed, peer->state == PEER_WAITING);
	bed->host.cmd[1] = good;
	jump(bed, 40000);
	run_until(bed, peer->state == PEER_READY);
	child_signal(&peer->link.child, SIGKILL);
	run_until(bed, peer->state == PEER_WAITING);
	assert_int_equal(peer->pauses.ms, 30000);
	assert_string_equal(peer_state_name(peer), "waiting");
	jump(bed, 40000);
	run_until(bed, peer->state == PEER_READY);
	clock_ahead_ns += 11 * NS_PER_S;
	run(bed);
	child_signal(&peer->link.child, SIGKILL);
	run_until(bed, peer->state == PEER_WAITING);
	assert_int_equal(peer->pauses.ms, 500);
	assert_string_equal(peer->reason, "was ended by signal 9 (Killed)");
	/* it need not wait */
	restart(bed);
	assert_int_equal(peer->state, PEER_STARTING);
	run_until(bed, peer->state == PEER_READY);
	bed_free(bed);
}

static void lost_for_good(void **state)
{
	struct bed *bed = bed_new(broken);

	(void)state;
	bed->host.no_restart = true;
	start(bed);
	run_until(bed, bed->peer->state == PEER_DOWN);
	assert_string_equal(peer_state_name(bed->peer), "lost");
	assert_string_equal(bed->notice, "lost: ended with status 7");
	/* a restart brings it back */
	bed->host.cmd[1] = good;
	restart(bed);
	run_until(bed, bed->peer->state == PEER_READY);
	/* that is for a moment only: who wants to talk to it may wait */
	restart(bed);
	assert_int_equal(bed->peer->state, PEER_ENDING);
	assert_true(bed->peer->port.is_starting);
	run_until(bed, bed->peer->state == PEER_READY);
	bed_free(bed);
}

/* Its last words are still read, and it would be lost for good. */
static void started_again_while_it_ends(void **state)
{
	struct bed *bed = bed_new(good);

	(void)state;
	bed->host.no_restart = true;
	start(bed);
	run_until(bed, bed->peer->state == PEER_READY);
	link_lose(&bed->peer->link, "so it goes");
	assert_int_equal(bed->peer->state, PEER_ENDING);
	restart(bed);
	assert_int_equal(bed->peer->state, PEER_ENDING);
	run_until(bed, bed->peer->state != PEER_ENDING);
	assert_int_equal(bed->peer->state, PEER_STARTING);
	run_until(bed, bed->peer->state == PEER_READY);
	bed_free(bed);
}

/* What became of the command of a sandbox says whether it is to run again, and how it is shown. */
static void the_command_of_a_sandbox_ends(void **state)
{
	static char ended0[] = "ended0", ended3[] = "ended3", quits[] = "quits", x[] = "x";
	static char *const command[] = {x, NULL};
	static const struct {
		char *mode;
		bool has_sandbox, no_restart, only_failures;
		enum peer_state state;
		const char *name, *reason;
	} rows[] = {
		{ended0, true, false, false, PEER_WAITING, "waiting",
			"its command ended with status 0"},
		{ended3, true, false, true, PEER_WAITING, "waiting",
			"its command ended with status 3"},
		{ended0, true, false, true, PEER_DOWN, "ended", "its command ended with status 0"},
		{ended3, true, true, false, PEER_DOWN, "ended", "its command ended with status 3"},
		/* only the link has ended */
		{quits, true, false, true, PEER_WAITING, "waiting", "ended with status 0"},
		{quits, false, false, true, PEER_DOWN, "lost", "ended with status 0"},
		{broken, false, false, true, PEER_WAITING, "waiting", "ended with status 7"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bed *bed = bed_new(rows[i].mode);

		if (rows[i].has_sandbox)
			bed->host.own.sandbox.command = (char **)command;
		bed->host.no_restart = rows[i].no_restart;
		bed->host.only_failures = rows[i].only_failures;
		bed->has_succeeded = rows[i].state == PEER_DOWN;
		start(bed);
		run_until(bed, bed->peer->state == PEER_WAITING || bed->peer->state == PEER_DOWN);
		assert_int_equal(bed->peer->state, rows[i].state);
		assert_string_equal(peer_state_name(bed->peer), rows[i].name);
		assert_string_equal(bed->peer->reason, rows[i].reason);
		assert_int_equal(
			bed->peer->session.knows_end, strncmp(rows[i].mode, "ended", 5) == 0);
		bed->host.own.sandbox.command = NULL;
		bed_free(bed);
	}
}

static void no_answer(void **state)
{
	struct bed *bed = bed_new(mute);

	(void)state;
	start(bed);
	jump(bed, 100000);
	assert_int_equal(bed->peer->state, PEER_STARTING);
	assert_string_equal(peer_note(bed->peer), "");
	/* SIGSTOP: it answers configure, and no ping later on */
	bed->host.cmd[1] = good;
	restart(bed);
	run_until(bed, bed->peer->session.rtt_ns > 0);
	child_signal(&bed->peer->link.child, SIGSTOP);
	for (int beats = 0; beats < 6 && bed->peer->state == PEER_READY; beats++)
		jump(bed, 5000);
	run_until(bed, bed->peer->state != PEER_READY);
	jump(bed, 300); /* SIGKILL */
	run_until(bed, bed->peer->state == PEER_WAITING);
	assert_string_equal(bed->peer->reason, "no answer for 20 s");
	bed_free(bed);
}

/* --- at random: on_change looks ------------------------------------------------------------- */

static void at_random(void **state)
{
	static char *const modes[] = {good, good, good, broken};
	struct bed *bed = bed_new(good);
	struct peer *peer = bed->peer;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		switch (random_below(bed, 12)) {
		case 0:
			start(bed);
			break;
		case 1:
			stop(bed);
			break;
		case 2:
			restart(bed);
			break;
		case 3:
			child_signal(&peer->link.child, SIGKILL);
			break;
		case 4:
			link_kill(&peer->link);
			break;
		case 5:
			bed->host.cmd[1] = modes[random_below(bed, 4)];
			bed->host.no_restart = random_below(bed, 4) == 0;
			break;
		case 6:
			if (random_below(bed, 4) == 0)
				jump(bed, random_below(bed, 3000));
			break;
		case 7:
			session_reconfigure(&peer->session);
			break;
		default:
			for (uint32_t n = random_below(bed, 20); n > 0; n--)
				run(bed);
			break;
		}
	}
	assert_true(bed->changes > 200);
	/* in the end it is as it was wanted last */
	bed->host.cmd[1] = good;
	bed->host.no_restart = false;
	start(bed);
	for (int i = 0; i < ROUNDS && peer->state != PEER_READY; i++)
		jump(bed, 10);
	assert_int_equal(peer->state, PEER_READY);
	stop(bed);
	run_until(bed, peer->state == PEER_DOWN);
	bed_free(bed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_start_to_stop),
		cmocka_unit_test(packets_are_counted),
		cmocka_unit_test(pauses_grow),
		cmocka_unit_test(lost_for_good),
		cmocka_unit_test(started_again_while_it_ends),
		cmocka_unit_test(the_command_of_a_sandbox_ends),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(at_random),
	};

	if (argc == 4 && strcmp(argv[2], "agent") == 0 && strcmp(argv[3], "--automated") == 0)
		return be_agent(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
