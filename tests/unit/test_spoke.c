/* SPDX-License-Identifier: Apache-2.0 */
/* test_spoke - a client's connection to its server: which wire that speaks, and how it is lost */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "util/fd.h"

#include "clock_ahead.h"
#include "tunnel_bed.h"

#include "tunnel/spoke.h"

struct bed {
	struct tunnel_bed under;
	struct spoke_house house;
	struct spoke *spoke; /* NULL: it is lost */
	struct list at;
	int server; /* its end */
	enum server_kind kind;
	unsigned ups, greeted, lost, messages;
	enum hail_type said;
	char why[100];
	bool was_silent, is_tcp;
	bool uses_it; /* when it is asked to */
};

static void on_up(struct spoke *spoke, enum server_kind kind)
{
	struct bed *bed = spoke->owner;

	bed->ups++;
	bed->kind = kind;
}

static void on_greeted(struct spoke *spoke)
{
	struct bed *bed = spoke->owner;

	bed->greeted++;
	bed->spoke = NULL;
	close(spoke_take(spoke));
}

static int on_message(struct spoke *spoke, const struct hail *hail)
{
	struct bed *bed = spoke->owner;

	bed->messages++;
	bed->said = hail->type;
	if (bed->uses_it) {
		spoke_use(spoke);
		return 1;
	}
	return hail->type == HAIL_OPEN ? 0 : -EPROTO;
}

static void on_lost(struct spoke *spoke, const char *why)
{
	struct bed *bed = spoke->owner;

	bed->lost++;
	bed->was_silent = spoke->is_silent;
	strncpy(bed->why, why, sizeof(bed->why) - 1);
	bed->spoke = NULL;
}

static const struct spoke_ops ops = {on_up, on_greeted, on_message, on_lost};
static const struct spoke_ops named_ops = {on_up, NULL, on_message, on_lost};

/* The descriptor of what it leads over. */
static int give(void *owner)
{
	struct bed *bed = owner;
	int fds[2];

	if (bed->is_tcp)
		tunnel_tcp_pair(fds);
	else
		tunnel_pair(fds);
	bed->server = fds[1];
	return fds[0];
}

static void bed_open_over(
	struct bed *bed, const struct spoke_ops *with, enum server_kind kind, bool is_tcp)
{
	*bed = (struct bed){.server = -1, .is_tcp = is_tcp};
	tunnel_bed_open(&bed->under, 1000);
	bed->house = (struct spoke_house){.context = &bed->under.context,
		.connect = give,
		.owner = bed,
		.kind = kind,
		.id = "client1",
		.beat_ms = 1000};
	bed->spoke = spoke_open(&bed->house, HAIL_NAMED, with, bed);
	list_init(&bed->at);
	list_add_last(&bed->at, &bed->spoke->at);
	tunnel_bed_settle(&bed->under);
	assert_true(bed->server >= 0);
}

static void bed_open(struct bed *bed, const struct spoke_ops *with, enum server_kind kind)
{
	bed_open_over(bed, with, kind, false);
}

static void bed_close(struct bed *bed)
{
	if (bed->spoke)
		spoke_close(bed->spoke);
	close(bed->server);
	tunnel_bed_close(&bed->under);
}

static void say(struct bed *bed, const void *bytes, size_t len)
{
	assert_int_equal(send(bed->server, bytes, len, MSG_NOSIGNAL), len);
	tunnel_bed_settle(&bed->under);
}

static void pass(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	tunnel_bed_settle(&bed->under);
}

static void assert_hello(struct bed *bed)
{
	struct hail_reader reader = {.have = 0};
	unsigned char id[HAIL_ID_BYTES];
	enum hail_kind kind;
	char bytes[HAIL_BYTES];

	assert_int_equal(recv(bed->server, bytes, HAIL_BYTES, MSG_DONTWAIT), HAIL_BYTES);
	assert_memory_equal(bytes, HAIL_OWN, HAIL_BYTES);
	struct hail hail = tunnel_hail(&bed->under, &reader, bed->server);
	assert_true(hail_read_hello(&hail, id, &kind) && kind == HAIL_NAMED);
	assert_memory_equal(id, "client1", sizeof(id));
}

#define WELCOME "W\0\0\x04\0\0\1\0" /* a sign of life every 256 ms */

static void a_server_of_ours_greets(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, &ops, SERVER_UNKNOWN);
	assert_int_equal(recv(bed.server, &(char){0}, 1, MSG_DONTWAIT), -1); /* not a word first */
	say(&bed, HAIL_OWN, HAIL_BYTES);
	assert_hello(&bed);
	assert_int_equal(bed.ups, 0);
	say(&bed, WELCOME, 8);
	assert_true(bed.ups == 1 && bed.kind == SERVER_OWN && bed.house.kind == SERVER_OWN);
	assert_int_equal(bed.house.beat_ms, 256);
	for (int i = 0; i < 20; i++) {
		struct hail_reader reader = {.have = 0};
		pass(&bed, 500);
		say(&bed, "P\0\0\0", 4);
		assert_int_equal(tunnel_hail(&bed.under, &reader, bed.server).type, HAIL_PONG);
	}
	say(&bed, "O\0\0\3who", 7);
	assert_true(bed.messages == 1 && bed.said == HAIL_OPEN && bed.lost == 0);
	pass(&bed, 4 * 256 + 1);
	assert_true(bed.lost == 1 && bed.was_silent);
	assert_string_equal(bed.why, "it does not answer");
	bed_close(&bed);
}

static void one_that_is_known_is_greeted_at_once(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, &ops, SERVER_OWN);
	assert_hello(&bed);
	say(&bed, HAIL_OWN WELCOME, HAIL_BYTES + 8); /* both may greet at once */
	assert_int_equal(bed.ups, 1);
	bed_close(&bed);
}

static void lennuts_says_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, &ops, SERVER_UNKNOWN);
	pass(&bed, SPOKE_SILENT_MS + 1);
	assert_true(bed.ups == 1 && bed.kind == SERVER_LENNUT);
	pass(&bed, 1000000);
	assert_int_equal(bed.lost, 0);
	say(&bed, "lenn", 4);
	assert_int_equal(bed.greeted, 0);
	say(&bed, "et01", 4);
	assert_int_equal(bed.greeted, 1);
	bed_close(&bed);
}

static void of_no_use_to_who_has_names(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, &named_ops, SERVER_UNKNOWN);
	say(&bed, HAIL_LENNUT, HAIL_BYTES);
	assert_int_equal(bed.lost, 1);
	assert_non_null(strstr(bed.why, "lennut's"));
	bed_close(&bed);
	bed_open(&bed, &named_ops, SERVER_UNKNOWN);
	pass(&bed, SPOKE_SILENT_MS + 1);
	assert_true(bed.lost == 1 && !bed.was_silent);
	bed_close(&bed);
}

static void how_it_is_lost(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} bad[] = {
		{"SSH-2.0-", 8, "it speaks another protocol"},
		{HAIL_OWN "O\0\0\0", 12, "it speaks another protocol"},
		{HAIL_OWN "W\0\0\003"
			  "123",
			15, "it speaks another protocol"},
		{HAIL_OWN "W\0\xff\xff", 12, "it speaks another protocol"},
		{HAIL_OWN WELCOME "A\0\0\0", 20, "it speaks another protocol"},
		{HAIL_OWN WELCOME "\0\0\0\0", 20, "it speaks another protocol"},
	};
	struct bed bed;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bed_open(&bed, &ops, SERVER_UNKNOWN);
		say(&bed, bad[i].text, bad[i].len);
		assert_int_equal(bed.lost, 1);
		assert_string_equal(bed.why, bad[i].why);
		bed_close(&bed);
	}
	for (int said = 0; said < 2; said++) {
		bed_open(&bed, &ops, SERVER_UNKNOWN);
		if (said)
			say(&bed, HAIL_OWN WELCOME, HAIL_BYTES + 8);
		shutdown(bed.server, SHUT_RDWR);
		tunnel_bed_settle(&bed.under);
		assert_int_equal(bed.lost, 1);
		assert_string_equal(bed.why, "it closed the connection");
		bed_close(&bed);
	}
}

static void who_breaks_while_it_is_used(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, &ops, SERVER_UNKNOWN);
	say(&bed, HAIL_OWN WELCOME, HAIL_BYTES + 8);
	spoke_use(bed.spoke);
	pass(&bed, 100000);           /* no signs of life are expected */
	say(&bed, "early bytes", 11); /* they wait */
	assert_int_equal(bed.lost + bed.messages, 0);
	shutdown(bed.server, SHUT_RDWR);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.lost, 1);
	bed_close(&bed);
}

/* Over TCP the end is that of one direction. Whoever is at a server of lennut's may end his early.
 */
static void who_goes_while_it_is_used(void **state)
{
	char said[64];
	struct bed bed;

	(void)state;
	for (int is_early = 0; is_early < 2; is_early++) {
		bed_open_over(&bed, &ops, SERVER_UNKNOWN, true);
		say(&bed, HAIL_OWN WELCOME, HAIL_BYTES + 8);
		assert_true(recv(bed.server, said, sizeof(said), 0) > 0); /* or it is reset */
		bed.uses_it = true;
		assert_int_equal(hail_send(bed.server, HAIL_OPEN, "x", 1), 0);
		if (!is_early) { /* not with the question itself */
			tunnel_bed_settle(&bed.under);
			assert_true(bed.messages == 1 && bed.lost == 0);
		}
		fd_close(&bed.server);
		tunnel_bed_settle(&bed.under);
		assert_true(bed.messages == 1 && bed.lost == 1);
		bed_close(&bed);
	}
	bed_open_over(&bed, &ops, SERVER_UNKNOWN, true);
	pass(&bed, SPOKE_SILENT_MS + 1);
	assert_int_equal(bed.kind, SERVER_LENNUT);
	spoke_use(bed.spoke);
	shutdown(bed.server, SHUT_WR);
	tunnel_bed_settle(&bed.under);
	assert_int_equal(bed.lost, 0);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_of_ours_greets),
		cmocka_unit_test(one_that_is_known_is_greeted_at_once),
		cmocka_unit_test(lennuts_says_nothing),
		cmocka_unit_test(of_no_use_to_who_has_names),
		cmocka_unit_test(how_it_is_lost),
		cmocka_unit_test(who_breaks_while_it_is_used),
		cmocka_unit_test(who_goes_while_it_is_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
