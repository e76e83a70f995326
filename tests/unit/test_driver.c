/* SPDX-License-Identifier: Apache-2.0 */
/* test_driver - which driver leads where, where the guest listens, and who hears of it */
#include "forward_bed.h"

#include <arpa/inet.h>

#include "netns.h"
#include "own_addresses.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct resolve_row {
	const char *rule;
	enum forward_driver_choice choice;
	bool has_outbound, checks_user;
	enum forward_driver_choice expected;
	bool keeps, keeps_local;
};

static void drivers_are_chosen_by_the_client(void **state)
{
	const enum forward_driver_choice any = FORWARD_DRIVER_AUTO, splice = FORWARD_DRIVER_SPLICE,
					 slirp = FORWARD_DRIVER_SLIRP;
	const struct resolve_row rows[] = {
		{"127.0.0.1:80:80", any, true, false, splice, false, false},
		{"127.9.0.1:80:80", any, true, false, splice, false, false},
		{"[::1]:80:80", any, true, false, splice, false, false},
		{"unix:/x:80", any, true, false, splice, false, false},
		{"0.0.0.0:80:80", any, true, false, slirp, false, false},
		{"192.0.2.1:80:80/udp", any, true, false, splice, false, false},
		{"0.0.0.0:80:80/udp", slirp, true, false, splice, false, false},
		{"[::]:80:80", any, true, false, splice, false, false},
		/* on request */
		{"127.0.0.1:80:80", slirp, true, false, slirp, false, false},
		{"0.0.0.0:80:80", splice, true, false, splice, false, false},
		{"[::]:80:80", slirp, true, false, slirp, false, false},
		/* what libslirp cannot do */
		{"unix:/x:80", slirp, true, false, splice, false, false},
		{"127.0.0.1:80:80/udp", slirp, true, false, splice, false, false},
		{"127.0.0.1:80:80", slirp, true, true, splice, false, false},
		{"0.0.0.0:80:80", slirp, false, false, splice, false, false},
		{"0.0.0.0:80:80", slirp, true, true, splice, false, false},
		{"0.0.0.0:80:80", any, true, true, splice, false, false},
		{"[::]:80:80/udp", slirp, true, true, splice, false, false},
		/* which splice can do as well */
		{"0.0.0.0:80:80", any, true, false, splice, true, false},
		{"0.0.0.0:80:80", slirp, true, false, slirp, true, false},
		{"127.0.0.1:80:80", any, true, false, splice, true, true},
		/* with libslirp alone */
		{"127.0.0.1:80:80", any, true, false, slirp, false, true},
		{"127.0.0.1:80:80", any, false, false, splice, false, true},
		{"127.0.0.1:80:80", splice, true, false, splice, false, true},
		{"[::1]:80:80", any, true, false, splice, false, true},
		{"unix:/x:80", any, true, false, splice, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct forward_list list = {0};

		assert_int_equal(spec_list_parse(&list, rows[i].rule, NULL, NULL), 0);
		assert_int_equal(
			driver_resolve(&list.items[0], rows[i].choice, rows[i].has_outbound,
				rows[i].checks_user, rows[i].keeps, rows[i].keeps_local),
			rows[i].expected);
		spec_list_free(&list);
	}
	assert_string_equal(driver_name(splice), "splice");
	assert_string_equal(driver_name(slirp), "slirp");
}

/* What a driver is told. */
static struct {
	int opened, closed, told, owner_told_before;
	int open_error;
	struct bed *bed;
} driver;

static int driver_double_open(struct forward *forward, struct err *err)
{
	(void)forward;
	driver.opened++;
	return driver.open_error ? err_sys(err, driver.open_error, "no") : 0;
}

static void driver_double_close(struct forward *forward)
{
	(void)forward;
	driver.closed++;
}

static void driver_double_told(struct forward *forward)
{
	assert_true(forward->has_listened);
	driver.owner_told_before = driver.bed->told;
	driver.told++;
}

static const struct forward_driver driver_double = {
	driver_double_open, driver_double_close, driver_double_told};

static struct bed *double_bed(enum proto proto)
{
	driver.told = 0;
	driver.bed = bed_open(&driver_double, proto, "127.0.0.1", 1000, false);
	return driver.bed;
}

static int server_at(const char *host, enum proto proto)
{
	struct addr addr;
	int one = 1;

	assert_int_equal(addr_parse(host, &addr, NULL), 0);
	addr_set_port(&addr, GUEST_PORT);
	int fd = socket(addr.family, addr_proto_type(proto) | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, &addr.any, addr_len(&addr)), 0);
	if (proto == PROTO_TCP)
		assert_int_equal(listen(fd, 10), 0);
	return fd;
}

/* A socket that leads to the target comes out at @server. */
static void expect_way(struct bed *bed, int server, enum proto proto)
{
	static const bool is_v6[] = {[DOOR_TCP6] = true, [DOOR_UDP6] = true};
	int fd = socket(is_v6[driver_socket_kind(&bed->forward)] ? AF_INET6 : AF_INET,
		addr_proto_type(proto) | SOCK_CLOEXEC, 0);
	char byte;

	/* a namespace's IPv6 routes come and go for some milliseconds when it is new */
	int result = driver_connect(&bed->forward, fd);
	for (int i = 0; i < 1000 && result == -ENETUNREACH; i++) {
		clock_pause_ms(1);
		result = driver_connect(&bed->forward, fd);
	}
	assert_int_equal(result, 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	int inside = proto == PROTO_TCP ? accept4(server, NULL, NULL, SOCK_CLOEXEC) : dup(server);
	assert_int_equal(recv(inside, &byte, 1, 0), 1);
	close(inside);
	close(fd);
}

static void finds_the_server_wherever_it_is(void **state)
{
	static const struct {
		const char *host;
		enum forward_target expected;
		bool is_own;
	} homes[] = {
		{"127.0.0.1", TARGET_LOOPBACK4, false},
		{"::1", TARGET_LOOPBACK6, false},
		{"127.0.0.7", TARGET_OWN4, true},
		{"fd00::7", TARGET_OWN6, true},
		{"127.0.0.1", TARGET_LOOPBACK4, false},
		{"127.0.0.7", TARGET_OWN4, true},
		{"0.0.0.0", TARGET_OWN4, true}, /* where it was */
		{"::1", TARGET_LOOPBACK6, false},
		{"0.0.0.0", TARGET_LOOPBACK4, false},
	};

	(void)state;
	for (enum proto proto = PROTO_TCP; proto <= PROTO_UDP; proto++) {
		struct bed *bed = double_bed(proto);

		assert_int_equal(addr_proto_type(proto) == SOCK_DGRAM, proto == PROTO_UDP);
		inet_pton(AF_INET, "127.0.0.7", &bed->plan.guest);
		inet_pton(AF_INET6, "fd00::7", &bed->plan.guest6);
		assert_false(driver_find_target(&bed->forward));
		for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
			int server = server_at(homes[i].host, proto);

			/* without a TAP there are no such addresses, nor IPv6 ones without IPv6 */
			bed->plan.has_outbound = bed->plan.has_ipv6 = false;
			if (homes[i].is_own && strcmp(homes[i].host, "0.0.0.0") != 0) {
				enum forward_target before = bed->forward.target;
				assert_false(driver_find_target(&bed->forward));
				bed->plan.has_outbound = true;
				assert_int_equal(driver_find_target(&bed->forward),
					homes[i].expected == TARGET_OWN4);
				bed->forward.target = before;
			}
			bed->plan.has_outbound = bed->plan.has_ipv6 = true;
			assert_true(driver_find_target(&bed->forward));
			assert_int_equal(bed->forward.target, homes[i].expected);
			expect_way(bed, server, proto);
			close(server);
			assert_false(driver_find_target(&bed->forward));
			assert_int_equal(bed->forward.target, homes[i].expected);
		}
		bed_close(bed);
	}
}

/* A server begins to listen at the next question but @begins_in. */
static struct {
	int fd, begins_in;
} late = {-1, 0};

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	if (late.fd >= 0 && late.begins_in-- == 0) {
		assert_int_equal(listen(late.fd, 10), 0);
		late.fd = -1;
	}
	return sendto(fd, bytes, len, flags, NULL, 0);
}

/* Where it was, if it listens there, too: whatever it was asked for first. */
static void it_begins_between_two_questions(void **state)
{
	(void)state;
	for (int begins_in = 0; begins_in < TARGETS; begins_in++) {
		struct bed *bed = double_bed(PROTO_TCP);
		struct addr any = {.family = AF_INET6};
		int server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

		setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		inet_pton(AF_INET, "127.0.0.7", &bed->plan.guest);
		inet_pton(AF_INET6, "fd00::7", &bed->plan.guest6);
		bed->plan.has_outbound = bed->plan.has_ipv6 = true;
		bed->forward.target = TARGET_OWN6;
		addr_set_port(&any, GUEST_PORT);
		assert_int_equal(bind(server, &any.any, addr_len(&any)), 0);
		late.begins_in = begins_in;
		late.fd = server;
		assert_true(driver_find_target(&bed->forward));
		assert_int_equal(late.fd, -1);
		assert_int_equal(bed->forward.target, TARGET_OWN6);
		close(server);
		bed_close(bed);
	}
}

static void tells_once_and_from_the_loop(void **state)
{
	struct bed *bed = double_bed(PROTO_TCP);

	(void)state;
	bed->forward.id = 9;
	for (int i = 0; i < 3; i++) {
		driver_note_listening(&bed->forward);
		assert_true(bed->forward.has_listened);
		assert_int_equal(driver.told, i > 0);
		assert_int_equal(loop_run_once(bed->loop, 0), 0);
		assert_int_equal(driver.told, 1);
		assert_int_equal(driver.owner_told_before, 1); /* the driver may lose the forward */
		assert_int_equal(bed->told, 1);
		assert_int_equal(bed->told_id, 9);
	}
	bed_close(bed);

	/* not any more when it is closed */
	bed = double_bed(PROTO_TCP);
	driver_note_listening(&bed->forward);
	int closed = driver.closed;
	driver_close(&bed->forward);
	assert_int_equal(driver.closed, closed + 1);
	assert_int_equal(loop_run_once(bed->loop, 0), 0);
	assert_int_equal(driver.told, 0);
	assert_int_equal(bed->told, 0);
	/* what opening says is passed on */
	struct err err;
	driver.open_error = EBUSY;
	assert_int_equal(driver_open(&bed->forward, &err), -EBUSY);
	driver.open_error = 0;
	bed_close(bed);
}

/* A socket of this host at @own, by which @peer is reached: who is allowed there? */
static void expect_only_the_user(struct bed *bed, const struct addr *own, const struct addr *peer)
{
	bed->users[0] = geteuid();
	assert_true(driver_is_allowed(&bed->forward, own, peer));
	bed->users[0] = geteuid() + 1;
	assert_false(driver_is_allowed(&bed->forward, own, peer));
}

/* At every listener: a client of this host by its user, one of elsewhere never or always. */
static void clients_are_checked(void **state)
{
	static const char *const listeners[] = {
		"127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.7", "fd00::7"};
	static const char *const own[] = {"127.0.0.1", "::1", "192.0.2.7", "fd00::7"};
	static const char *const foreign[] = {"192.0.2.1", "fd00::1"};

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(listeners); i++) {
		enum proto proto = i & 1 ? PROTO_UDP : PROTO_TCP;
		struct bed *bed = double_bed(proto);
		struct addr nobody = addr_loopback4(1);

		assert_int_equal(addr_parse(listeners[i / 2], &bed->forward.spec.host, NULL), 0);
		assert_true(driver_is_allowed(&bed->forward, &nobody, &nobody));
		bed->context.checks_user = true;
		for (int network = 0; network < 2; network++) {
			bed->context.allows_network = network;
			assert_false(driver_is_allowed(&bed->forward, &nobody, &nobody));
			for (size_t j = 0; j < COUNT(own); j++) {
				int server = server_at(own[j], proto);
				struct addr at, peer;

				assert_int_equal(addr_get_own(server, &at), 0);
				int client =
					socket(at.family, addr_proto_type(proto) | SOCK_CLOEXEC, 0);
				assert_int_equal(connect(client, &at.any, addr_len(&at)), 0);
				assert_int_equal(addr_get_own(client, &peer), 0);
				expect_only_the_user(bed, &peer, &at);
				close(client);
				/* whoever it was */
				bed->users[0] = geteuid();
				assert_false(driver_is_allowed(&bed->forward, &peer, &at));
				close(server);
			}
			for (size_t j = 0; j < COUNT(foreign); j++) {
				/* a socket of ours with the same port does not make it ours */
				int ours = server_at(j ? "::" : "0.0.0.0", proto);
				struct addr peer, at;

				assert_int_equal(addr_parse(foreign[j], &peer, NULL), 0);
				assert_int_equal(addr_parse(own[2 + j], &at, NULL), 0);
				addr_set_port(&peer, GUEST_PORT);
				addr_set_port(&at, HOST_PORT);
				assert_int_equal(
					driver_is_allowed(&bed->forward, &peer, &at), network);
				close(ours);
			}
		}
		bed_close(bed);
	}
}

static void socket_files_are_their_owners(void **state)
{
	struct bed *bed = double_bed(PROTO_TCP);
	const uid_t users[] = {geteuid(), geteuid() + 1};
	struct forward_list list = {0};
	struct err err;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_true(driver_is_allowed_path(&bed->forward, ends[0]));
	bed->context.checks_user = true;
	bed->context.own_user = geteuid();
	assert_true(driver_is_allowed_path(&bed->forward, ends[0]));
	bed->context.own_user = geteuid() + 1;
	assert_false(driver_is_allowed_path(&bed->forward, ends[0]));
	assert_int_equal(bed->forward.refused, 1);
	close(ends[0]);
	close(ends[1]);
	bed_close(bed);

	assert_int_equal(spec_list_parse(&list, "unix:/x:80", NULL, NULL), 0);
	assert_int_equal(spec_list_parse(&list, "80:80", NULL, NULL), 0);
	assert_int_equal(driver_check_users(&list.items[0], users, 1, &err), 0);
	for (int i = 0; i < 2; i++) { /* somebody else, and both */
		assert_int_equal(
			driver_check_users(&list.items[0], users + 1 - i, 1 + i, &err), -EINVAL);
		assert_string_equal(err.text, "unix:/x: a socket file is its owner's alone: "
					      "expected --only-user without a value");
		assert_int_equal(driver_check_users(&list.items[1], users + 1 - i, 1 + i, &err), 0);
	}
	spec_list_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drivers_are_chosen_by_the_client),
		cmocka_unit_test(finds_the_server_wherever_it_is),
		cmocka_unit_test(it_begins_between_two_questions),
		cmocka_unit_test(tells_once_and_from_the_loop),
		cmocka_unit_test(clients_are_checked),
		cmocka_unit_test(socket_files_are_their_owners),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, set_lo_up, NULL);
}
