/* SPDX-License-Identifier: Apache-2.0 */
/* test_front - guests of a proxy: let in, timed out, sent on, parted from */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "proxy/front.h"
#include "proxy_bed.h"

/* A protocol of one letter: what a guest says first is what becomes of it. */
struct letter {
	struct front_guest guest;
	struct guide_trip trip;
	char said[16];
	size_t len;
};

static unsigned ended;

static void on_dialled(struct guide_trip *trip, int result)
{
	struct letter *letter = container_of(trip, struct letter, trip);

	assert_true(result >= 0);
	front_relay(&letter->guest, result, (struct front_bytes){letter->said + 1, letter->len - 1},
		(struct front_bytes){"welcome", 7});
}

static void on_ready(struct front_guest *guest, uint32_t events)
{
	struct letter *letter = container_of(guest, struct letter, guest);
	ssize_t len = recv(guest->io.fd, letter->said, sizeof(letter->said), 0);

	assert_true(events & EPOLLIN);
	letter->len = len > 0 ? (size_t)len : 0;
	if (len <= 0 || letter->said[0] == 'd')
		front_drop(guest);
	else if (letter->said[0] == 'p')
		front_part(guest, letter->said, letter->len);
	else if (letter->said[0] == 'l')
		front_set_deadline(guest, 60000);
	else if (letter->said[0] == 'n')
		front_set_deadline(guest, 0);
	else if (letter->said[0] == 'c') {
		letter->trip.on_dialled = on_dialled;
		int result = guide_dial(
			front_guide(guest->front), &letter->trip, "127.0.0.1", TARGET_PORT);
		if (result != -EINPROGRESS) /* this machine's may be there at once */
			on_dialled(&letter->trip, result);
	}
}

static void on_end(struct front_guest *guest)
{
	ended++;
	guide_cancel(front_guide(guest->front), &container_of(guest, struct letter, guest)->trip);
}

static const struct front_protocol protocol = {
	.name = "letter",
	.guest_bytes = sizeof(struct letter),
	.guest_fds = 2,
	.on_ready = on_ready,
	.on_end = on_end,
};

static struct proxy_bed *world_open(void)
{
	ended = 0;
	return proxy_open(&protocol);
}

static size_t used(const struct proxy_bed *bed)
{
	return bed->bed.budget.used;
}

static void a_guest_counts_until_it_is_gone(void **state)
{
	struct proxy_bed *bed = world_open();
	int client = proxy_client(bed);

	(void)state;
	assert_int_equal(front_guests(bed->front), 1);
	assert_int_equal(used(bed), 2);
	SAY(client, "d");
	assert_int_equal(wait_end(&bed->bed, client), ECONNRESET);
	assert_int_equal(front_guests(bed->front), 0);
	assert_int_equal(used(bed), 0);
	assert_int_equal(ended, 1);
	close(client);
	client = proxy_client(bed);
	close(client);    /* which nobody has seen yet */
	proxy_close(bed); /* looks at the count of descriptors */
	assert_int_equal(ended, 2);
}

/* Guests count for their address, and of one that has most the one that is silent longest goes. */
static void guests_have_a_share(void **state)
{
	struct proxy_bed *bed = world_open();
	struct shares *shares = &bed->bed.budget.shares;
	const struct addr few = addr_of4((struct in_addr){htonl(0x7f000003)}, 0);
	int clients[4];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		clients[i] = proxy_client(bed);
	settle(&bed->bed);
	jump(&bed->bed, 10);
	SAY(clients[0], "n");
	settle(&bed->bed);
	/* one that has just come has not had time to speak */
	jump(&bed->bed, 10);
	clients[3] = proxy_client(bed);
	settle(&bed->bed);
	assert_false(shares_yield(shares, &few, 3, false));
	assert_true(shares_yield(shares, &few, 0, false));
	assert_int_equal(wait_end(&bed->bed, clients[1]), ECONNRESET);
	SAY(clients[2], "n");
	settle(&bed->bed);
	assert_true(shares_yield(shares, &few, 0, false));
	assert_int_equal(wait_end(&bed->bed, clients[0]), ECONNRESET);
	assert_false(shares_yield(shares, &few, 1, false));
	assert_int_equal(shares->totals[SHARES_CONNECTIONS], 2);
	for (size_t i = 0; i < 4; i++)
		close(clients[i]);
	proxy_close(bed);
}

static void who_is_silent_is_reset_in_time(void **state)
{
	struct proxy_bed *bed = world_open();
	int silent = proxy_client(bed), later = proxy_client(bed), never = proxy_client(bed);

	(void)state;
	SAY(later, "l");
	SAY(never, "n");
	settle(&bed->bed);
	jump(&bed->bed, FRONT_WAIT_MS - 1000);
	assert_int_equal(front_guests(bed->front), 3);
	jump(&bed->bed, 1001);
	assert_int_equal(wait_end(&bed->bed, silent), ECONNRESET);
	assert_int_equal(front_guests(bed->front), 2);
	jump(&bed->bed, 60000);
	assert_int_equal(wait_end(&bed->bed, later), ECONNRESET);
	jump(&bed->bed, 3600000);
	assert_int_equal(front_guests(bed->front), 1);
	close(silent);
	close(later);
	close(never);
	run_until(&bed->bed, front_guests(bed->front) == 0);
	proxy_close(bed);
}

/* What was read already arrives first, each way; ends go both ways one after the other. */
static void a_guest_is_relayed_with_what_was_said(void **state)
{
	struct proxy_bed *bed = world_open();
	int client = proxy_client(bed), target;

	(void)state;
	SAY(client, "cearly");
	target = proxy_accept(bed);
	expect_bytes(&bed->bed, target, "early");
	expect_bytes(&bed->bed, client, "welcome");
	assert_int_equal(front_guests(bed->front), 0);
	assert_int_equal(ended, 1);
	expect_joined(&bed->bed, client, target);
	run_until(&bed->bed, used(bed) == 0);
	proxy_close(bed);
}

/* The client said more than was read: a plain close would take its answer away. */
static void last_words_are_heard(void **state)
{
	struct proxy_bed *bed = world_open();
	int client = proxy_client(bed);

	(void)state;
	SAY(client, "pardon, and so much more that nobody reads");
	run_until(&bed->bed, front_guests(bed->front) == 0);
	assert_int_equal(used(bed), 1);
	SAY(client, "and more");
	settle(&bed->bed);
	expect_bytes(&bed->bed, client, "pardon, and so m");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	assert_int_equal(used(bed), 1);
	close(client);
	run_until(&bed->bed, used(bed) == 0);
	proxy_close(bed);
}

static void on_deadline_says(struct front_guest *guest)
{
	front_part(guest, "late", 4);
}

static void a_late_one_may_be_told(void **state)
{
	struct front_protocol polite = protocol;

	(void)state;
	polite.on_late = on_deadline_says;
	struct proxy_bed *bed = proxy_open(&polite);
	int client = proxy_client(bed);
	jump(&bed->bed, FRONT_WAIT_MS + 1);
	expect_bytes(&bed->bed, client, "late");
	assert_int_equal(wait_end(&bed->bed, client), 0);
	close(client);
	proxy_close(bed);
}

static void access_counts_from_when_it_is_set(void **state)
{
	char user[] = "ann", password[] = "secret";
	const struct access access = {.user = user, .password = password, .only_user = true};
	struct proxy_bed *bed = world_open();

	(void)state;
	assert_false(access_wants_password(front_access(bed->front)));
	assert_int_equal(front_set_access(bed->front, &access), 0);
	user[0] = 'x'; /* it is a copy */
	assert_true(access_is_known(front_access(bed->front), "ann", 3, "secret", 6));

	int client = proxy_client(bed);
	assert_int_equal(front_guests(bed->front), 1);
	close(client);
	run_until(&bed->bed, front_guests(bed->front) == 0);
	/* by its address it is not of this machine */
	const struct addr far = addr_at("192.0.2.7", 1);
	client = tcp_connect(NULL, 0, "127.0.0.1", PROXY_PORT);
	front_add(bed->front, wait_accept(&bed->bed, bed->listener), &far);
	assert_int_equal(wait_end(&bed->bed, client), ECONNRESET);
	assert_int_equal(front_guests(bed->front), 0);
	close(client);
	proxy_close(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_counts_until_it_is_gone),
		cmocka_unit_test(guests_have_a_share),
		cmocka_unit_test(who_is_silent_is_reset_in_time),
		cmocka_unit_test(a_guest_is_relayed_with_what_was_said),
		cmocka_unit_test(last_words_are_heard),
		cmocka_unit_test(a_late_one_may_be_told),
		cmocka_unit_test(access_counts_from_when_it_is_set),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
