/* SPDX-License-Identifier: Apache-2.0 */
/* test_session - configure once or twice, pings, and messages that should not have come */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock_ahead.h"
#include "mesh/manager/session.h"
#include "util/clock.h"
#include "util/fd.h"
#include "version.h"
#include "wire/frame.h"

#define TEXT_BYTES (1 << 16)
#define PLAIN      "\"tcp\""
#define FULL       "\"tcp\",\"udp\",\"reconfigure\",\"ping\",\"sandbox\""

/* A session on a socket whose other end, the agent's, the test holds. */
struct bed {
	struct loop *loop;
	struct wire_hub *hub;
	struct link link;
	struct session session;
	int far;
	struct mesh_config told; /* what the manifest has for it */
	struct mesh_offer offer;
	/* what was seen */
	size_t readies, ends, notices, suggestions;
	char notice[TEXT_BYTES];
	struct in_addr suggested, via;
};

static void on_frame(struct link *link, struct frame *frame)
{
	session_on_frame(&container_of(link, struct bed, link)->session, frame);
}

static void on_round_end(struct link *link)
{
	(void)link;
}

static void on_ending(struct link *link)
{
	session_end(&container_of(link, struct bed, link)->session);
}

static void on_end(struct link *link)
{
	container_of(link, struct bed, link)->ends++;
}

static void on_line(struct link *link, const char *text, size_t len)
{
	struct bed *bed = container_of(link, struct bed, link);

	(void)text;
	(void)len;
	session_heard(&bed->session);
}

static const struct link_ops link_ops = {.on_frame = on_frame,
	.on_line = on_line,
	.on_begun = on_line,
	.on_round_end = on_round_end,
	.on_ending = on_ending,
	.on_end = on_end};

static struct bed *bed_of(struct session *session)
{
	return container_of(session, struct bed, session);
}

static int configure(struct session *session, struct mesh_config *out)
{
	return config_fill(out, &bed_of(session)->told);
}

static void on_ready(struct session *session)
{
	bed_of(session)->readies++;
}

static void on_notice(struct session *session, enum log_level level, const char *text)
{
	struct bed *bed = bed_of(session);

	if (level > LOG_NOTICE)
		return;
	bed->notices++;
	snprintf(bed->notice, sizeof(bed->notice), "%s", text);
}

static void on_suggestion(
	struct session *session, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct bed *bed = bed_of(session);

	bed->suggestions += count;
	bed->suggested = ips[count - 1];
	bed->via = via;
}

static const struct session_ops session_ops = {configure, on_notice, on_suggestion};

static void begin(struct bed *bed)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	link_close(&bed->link);
	fd_close(&bed->far);
	bed->far = pair[1];
	bed->readies = bed->ends = bed->notices = 0;
	link_attach(&bed->link, pair[0], pair[0]);
	session_begin(&bed->session);
}

static struct bed *bed_new(void)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->far = -1;
	bed->loop = loop_new();
	bed->hub = wire_hub_new(bed->loop);
	bed->link = (struct link){.ops = &link_ops, .hub = bed->hub, .loop = bed->loop};
	bed->session =
		(struct session){.ops = &session_ops, .on_ready = on_ready, .link = &bed->link};
	bed->told.me.s_addr = htonl(0x7f002a01);
	begin(bed);
	return bed;
}

static void bed_free(struct bed *bed)
{
	session_end(&bed->session);
	link_close(&bed->link);
	wire_hub_free(bed->hub);
	loop_free(bed->loop);
	fd_close(&bed->far);
	free(bed);
}

/* It offers UDP: then an agent with that feature is told more than others. */
static void offer_udp(struct bed *bed)
{
	bed->offer = (struct mesh_offer){53, "127.0.0.1", 53, PROTO_UDP};
	bed->told.offers = &bed->offer;
	bed->told.noffers = 1;
}

static void run(struct bed *bed)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(bed->loop, 1), 0);
}

static void jump(struct bed *bed, uint64_t ms)
{
	clock_ahead_ns += ms * NS_PER_MS;
	run(bed);
}

static void say_frame(struct bed *bed, enum frame_type type, const char *text)
{
	unsigned char bytes[TEXT_BYTES];
	size_t len = strlen(text);

	frame_encode_header(bytes, type, len);
	memcpy(bytes + FRAME_HEADER_BYTES, text, len);
	assert_int_equal(write(bed->far, bytes, FRAME_HEADER_BYTES + len),
		(ssize_t)(FRAME_HEADER_BYTES + len));
}

static void say(struct bed *bed, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct bed *bed, const char *format, ...)
{
	char text[TEXT_BYTES / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say_frame(bed, FRAME_MESSAGE, text);
	run(bed);
}

/* The one request that has come: its op and id; @with is in its arguments, unless it is NULL. */
static int64_t expect_request(struct bed *bed, const char *op, const char *with)
{
	char bytes[TEXT_BYTES], wanted[64];
	struct frame frame;
	struct err err;
	ssize_t got = read(bed->far, bytes, sizeof(bytes) - 1);

	if (got <= 0)
		fail_msg("no %s: \"%s\", \"%s\"", op, bed->notice, bed->link.reason);
	bytes[got] = '\0';
	assert_int_equal(frame_decode((unsigned char *)bytes, (size_t)got, &frame, &err), got);
	json_t *json = json_loadb((char *)frame.payload, frame.len, 0, NULL);
	json_t *body = json_object_get(json, "body");
	int64_t id = json_integer_value(json_object_get(body, "id"));
	assert_string_equal(json_string_value(json_object_get(json, "type")), "request");
	assert_string_equal(json_string_value(json_object_get(body, "op")), op);
	snprintf(wanted, sizeof(wanted), "%s", with ? with : "");
	if (!strstr((char *)frame.payload, wanted))
		fail_msg("no %s in %s", wanted, (char *)frame.payload);
	json_decref(json);
	return id;
}

static void expect_nothing(struct bed *bed)
{
	char byte;

	assert_int_equal(read(bed->far, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void answer(struct bed *bed, int64_t id, const char *features)
{
	say(bed,
		"{\"type\":\"result\",\"body\":{\"request_id\":%lld,\"op\":\"configure\",\"data\":"
		"{\"features\":[%s],\"version\":\"" NSWRAP_VERSION "\"}}}",
		(long long)id, features);
}

static void expect_lost(struct bed *bed, const char *reason)
{
	run(bed);
	assert_int_equal(bed->ends, 1);
	assert_string_equal(bed->link.reason, reason);
	assert_false(bed->session.patience.on_expired == NULL);
}

/* --- configure ------------------------------------------------------------------------------ */

static void once_or_twice(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	/* nothing more to tell */
	answer(bed, expect_request(bed, "configure", "127.0.42.1"), FULL);
	assert_int_equal(bed->readies, 1);
	assert_true(bed->session.is_answered);
	assert_string_equal(bed->session.info.version, NSWRAP_VERSION);
	expect_nothing(bed);

	/* with an offer that not every agent may see */
	offer_udp(bed);
	begin(bed);
	int64_t first =
		expect_request(bed, "configure", "\"args\":{\"me\":\"127.0.42.1\",\"http\"");
	answer(bed, first, FULL);
	assert_int_equal(bed->readies, 0);
	int64_t second = expect_request(bed, "configure", "\"udp\"");
	assert_true(second > first);
	answer(bed, second, FULL);
	assert_int_equal(bed->readies, 1);
	expect_nothing(bed);

	/* to one that cannot be told again it is not told, and that is said once */
	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), PLAIN);
	assert_int_equal(bed->readies, 1);
	assert_string_equal(
		bed->notice, "the manifest asks for what its agent does not support: udp");
	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), PLAIN);
	assert_int_equal(bed->notices, 0);
	bed_free(bed);
}

/* What has come is acknowledged to agents that know of it; nobody else, NoRouter's, sees any of
 * that. */
static void acknowledged_to_who_knows_it(void **state)
{
	unsigned char bytes[100];
	struct bed *bed = bed_new();
	struct frame frame;
	struct err err;

	(void)state;
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	for (int i = 0; i < 5; i++)
		loop_run_once(bed->loop, 5);
	expect_nothing(bed);
	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), FULL ",\"acknowledge\"");
	ssize_t got = read(bed->far, bytes, sizeof(bytes));
	assert_int_equal(got, FRAME_HEADER_BYTES + FRAME_ACK_BYTES);
	assert_int_equal(frame_decode(bytes, (size_t)got, &frame, &err), got);
	assert_int_equal(frame.type, FRAME_ACKNOWLEDGEMENT);
	bed_free(bed);
}

/* Hosts that have gone are told of to who is ready and knows of such, in one event. */
static void gone_is_told_to_who_knows_it(void **state)
{
	static const char wanted[] = "{\"type\":\"event\",\"body\":{\"type\":\"gone\",\"data\":"
				     "{\"ip\":[\"127.0.42.7\",\"127.0.42.8\"]}}}";
	const struct in_addr gone[] = {{htonl(0x7f002a07)}, {htonl(0x7f002a08)}};
	unsigned char bytes[200];
	struct bed *bed = bed_new();
	struct frame frame;
	struct err err;

	(void)state;
	answer(bed, expect_request(bed, "configure", NULL), PLAIN);
	session_tell_gone(&bed->session, gone, 2, true);
	expect_nothing(bed);
	begin(bed);
	session_tell_gone(&bed->session, gone, 2, true);
	answer(bed, expect_request(bed, "configure", NULL), "\"tcp\",\"gone\"");
	expect_nothing(bed);
	session_tell_gone(&bed->session, gone, 2, false);
	ssize_t got = read(bed->far, bytes, sizeof(bytes));
	assert_int_equal(frame_decode(bytes, (size_t)got, &frame, &err), got);
	assert_int_equal(frame.type, FRAME_MESSAGE);
	assert_int_equal(frame.len, strlen(wanted));
	assert_memory_equal(frame.payload, wanted, frame.len);
	bed_free(bed);
}

static void told_anew(void **state)
{
	struct bed *bed = bed_new();
	int64_t id = expect_request(bed, "configure", NULL);

	(void)state;
	/* before the answer: afterwards, and only then it is ready */
	session_reconfigure(&bed->session);
	expect_nothing(bed);
	answer(bed, id, FULL);
	assert_int_equal(bed->readies, 0);
	id = expect_request(bed, "configure", NULL);
	answer(bed, id, FULL);
	assert_int_equal(bed->readies, 1);
	/* when it is ready: at once; a second time when that is answered */
	session_reconfigure(&bed->session);
	id = expect_request(bed, "configure", NULL);
	session_reconfigure(&bed->session);
	session_reconfigure(&bed->session);
	expect_nothing(bed);
	answer(bed, id, FULL);
	id = expect_request(bed, "configure", NULL);
	answer(bed, id, FULL);
	expect_nothing(bed);
	assert_int_equal(bed->readies, 1);
	/* one that does not answer that is lost as well */
	session_reconfigure(&bed->session);
	jump(bed, 9900);
	assert_int_equal(bed->ends, 0);
	jump(bed, 200);
	expect_lost(bed, "no answer to configure in 10 s");
	session_reconfigure(&bed->session); /* nothing happens */

	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), PLAIN);
	session_reconfigure(&bed->session);
	expect_nothing(bed);
	assert_string_equal(bed->notice, "learns of the new manifest at its next start");
	bed_free(bed);
}

static void answer_amend(struct bed *bed, int64_t id, const char *error)
{
	say(bed,
		"{\"type\":\"result\",\"body\":{\"request_id\":%lld,\"op\":\"amend\",\"error\":%s}}",
		(long long)id, error);
}

static json_t *text_of(size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	memset(text, 'x', len);
	json_t *result = json_stringn(text, len);
	free(text);
	return result;
}

/* What is different, at once and one behind the other; all of it, if there is any doubt. */
static void told_what_is_different(void **state)
{
	struct bed *bed = bed_new();
	int64_t id = expect_request(bed, "configure", NULL);
	json_t *args = json_pack("{s:{}, s:{}}", "remove", "add");

	(void)state;
	/* nothing is known of the agent yet */
	session_amend(&bed->session, args);
	expect_nothing(bed);
	answer(bed, id, FULL);
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	assert_int_equal(bed->readies, 1);

	session_amend(&bed->session, args);
	int64_t first = expect_request(bed, "amend", "\"args\":{\"remove\":{},\"add\":{}}");
	session_amend(&bed->session, args);
	int64_t second = expect_request(bed, "amend", NULL);
	answer_amend(bed, first, "null");
	answer_amend(bed, second, "null");
	expect_nothing(bed);
	assert_int_equal(bed->session.bad_messages, 0);
	answer_amend(bed, second, "null");
	assert_int_equal(bed->session.bad_messages, 1);

	/* one that is too long, while another is under way */
	json_t *long_args = json_pack("{s:o}", "add", text_of(FRAME_MESSAGE_MAX));
	session_amend(&bed->session, args);
	first = expect_request(bed, "amend", NULL);
	session_amend(&bed->session, long_args);
	answer_amend(bed, first, "null");
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	assert_int_equal(bed->session.bad_messages, 1);
	assert_int_equal(bed->session.namends, 0);
	json_decref(long_args);

	/* no difference that can be told */
	session_amend(&bed->session, NULL);
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	/* one that is not taken */
	session_amend(&bed->session, args);
	answer_amend(bed, expect_request(bed, "amend", NULL), "\"no\"");
	assert_string_equal(
		bed->notice, "is told all anew: it cannot be told what is different: no");
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	expect_nothing(bed);
	json_decref(args);
	bed_free(bed);
}

/* Nobody knows how long logging in takes: see the header. */
static void logging_in(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	/* nobody takes it: no end */
	for (int i = 0; i < 100; i++)
		jump(bed, 60000);
	assert_int_equal(bed->ends, 0);
	assert_int_equal(bed->notices, 0);
	assert_false(session_is_late(&bed->session));
	/* it is taken, and nothing comes: that is told once */
	int64_t id = expect_request(bed, "configure", NULL);
	jump(bed, 500);
	jump(bed, 9000);
	assert_int_equal(bed->notices, 0);
	jump(bed, 1000);
	assert_int_equal(bed->notices, 1);
	assert_non_null(strstr(bed->notice, "not answered for 10 s"));
	assert_true(session_is_late(&bed->session));
	/* words are a sign of life, those in front of frames as well */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(write(bed->far, "pulling B\n", 10), 10);
		jump(bed, 50000);
	}
	assert_int_equal(bed->ends, 0);
	assert_int_equal(bed->notices, 1);
	answer(bed, id, FULL);
	assert_int_equal(bed->readies, 1);
	assert_false(session_is_late(&bed->session));

	/* something else than an agent, and nothing more */
	begin(bed);
	expect_request(bed, "configure", NULL);
	assert_int_equal(write(bed->far, "login: ", 7), 7);
	jump(bed, 500);
	jump(bed, 500); /* it is told as a line that has begun */
	jump(bed, 59000);
	assert_int_equal(bed->ends, 0);
	jump(bed, 1500);
	expect_lost(bed, "at byte 0: expected a frame, found other bytes: \"login: \"");

	/* nothing at all */
	begin(bed);
	expect_request(bed, "configure", NULL);
	jump(bed, 500);
	jump(bed, 599000);
	assert_int_equal(bed->ends, 0);
	jump(bed, 1500);
	expect_lost(bed, "no answer to configure in 600 s");
	bed_free(bed);
}

static void lost_at_once(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	/* an agent that is there: the beginning of a frame */
	assert_int_equal(write(bed->far, "\102\0\0\6\0\2\0\0", 8), 8);
	jump(bed, 500);
	jump(bed, 10100);
	expect_lost(bed, "no answer to configure in 10 s");

	begin(bed);
	say(bed,
		"{\"type\":\"result\",\"body\":{\"request_id\":%lld,\"op\":\"configure\","
		"\"error\":\"no\\nway\"}}",
		(long long)expect_request(bed, "configure", NULL));
	expect_lost(bed, "cannot be configured: no\\x0away");

	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), "7");
	run(bed);
	assert_int_equal(bed->ends, 1);
	assert_int_equal(strncmp(bed->link.reason, "its answer to configure is wrong: ", 34), 0);

	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), "\"udp\"");
	expect_lost(bed, "the agent does not support tcp");

	bed->told.loopback_disable = true;
	begin(bed);
	answer(bed, expect_request(bed, "configure", NULL), PLAIN);
	expect_lost(
		bed, "the agent does not support loopback.disable, which the manifest asks for");
	assert_int_equal(bed->readies, 0);
	bed_free(bed);
}

/* --- the rest ------------------------------------------------------------------------------- */

static void pings(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	session_ping(&bed->session); /* not known to be able to answer */
	int64_t id = expect_request(bed, "configure", NULL);
	answer(bed, id, FULL);
	session_ping(&bed->session);
	id = expect_request(bed, "ping", NULL);
	session_ping(&bed->session); /* one at a time */
	expect_nothing(bed);
	clock_ahead_ns += 70 * NS_PER_MS;
	say(bed, "{\"type\":\"result\",\"body\":{\"request_id\":%lld,\"op\":\"ping\"}}",
		(long long)id);
	assert_true(bed->session.rtt_ns >= 70 * NS_PER_MS);
	assert_true(bed->session.rtt_ns < 10070 * NS_PER_MS);
	session_ping(&bed->session);
	assert_true(expect_request(bed, "ping", NULL) > id);
	assert_int_equal(bed->session.frames_in, 2);
	assert_int_equal(bed->session.frames_out, 3);
	assert_int_equal(bed->session.bad_messages, 0);
	bed_free(bed);
}

static void suggestions(void **state)
{
	struct bed *bed = bed_new();

	(void)state;
	say(bed, "{\"type\":\"event\",\"body\":{\"type\":\"routeSuggestion\",\"data\":"
		 "{\"ip\":[\"10.1.1.1\",\"10.1.1.2\"],\"route\":\"127.0.42.2\"}}}");
	assert_int_equal(bed->suggestions, 2);
	assert_int_equal(bed->suggested.s_addr, htonl(0x0a010102));
	assert_int_equal(bed->via.s_addr, htonl(0x7f002a02));
	say(bed, "{\"type\":\"event\",\"body\":{\"type\":\"newer\",\"data\":7}}");
	assert_int_equal(bed->session.bad_messages, 0);
	say(bed, "{\"type\":\"event\",\"body\":{\"type\":\"routeSuggestion\",\"data\":7}}");
	assert_int_equal(bed->session.bad_messages, 1);
	bed_free(bed);
}

static void bad_messages(void **state)
{
	static const char *const bad[] = {
		"no JSON",
		"{\"type\":\"request\",\"body\":{\"id\":1,\"op\":\"x\"}}",
		"{\"type\":\"result\",\"body\":{\"request_id\":77,\"op\":\"configure\"}}",
		"{\"type\":\"result\",\"body\":{\"request_id\":1,\"op\":\"ping\"}}",
	};
	struct bed *bed = bed_new();

	(void)state;
	answer(bed, expect_request(bed, "configure", NULL), FULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		say(bed, "%s", bad[i]);
	assert_int_equal(bed->session.bad_messages, 4);
	assert_int_equal(bed->notices, 1);
	assert_non_null(strstr(bed->notice, "sent 1 bad message, the last one was no JSON"));
	/* a frame of a type to come is no message */
	say_frame(bed, 9, "newer");
	run(bed);
	assert_int_equal(bed->session.unknown_frames, 1);
	assert_int_equal(bed->session.bad_messages, 4);
	/* once a minute, with all of them */
	clock_ahead_ns += 61 * NS_PER_S;
	answer(bed, 77, FULL);
	answer(bed, 77, FULL);
	assert_int_equal(bed->notices, 2);
	assert_string_equal(bed->notice,
		"sent 4 bad messages, the last one was a result of configure that nobody asked "
		"for");
	/* at last it is lost; a new session begins with none */
	for (int i = 7; i <= 1000; i++) {
		assert_int_equal(bed->link.state, LINK_OPEN);
		say_frame(bed, FRAME_MESSAGE, "7");
		if (i % 50 == 0) {
			run(bed);
			jump(bed, 100);
		}
	}
	say_frame(bed, FRAME_MESSAGE, "7");
	run(bed);
	assert_int_equal(bed->ends, 1);
	assert_int_equal(strncmp(bed->link.reason,
				 "it sent more than 1000 bad messages, the last one was ", 54),
		0);
	begin(bed);
	assert_int_equal(bed->session.bad_messages, 0);
	bed_free(bed);
}

/* Good ones, but more than anybody needs: what comes too fast is not looked at. */
static void too_many(void **state)
{
	struct bed *bed = bed_new();
	char event[] = "{\"type\":\"event\",\"body\":{\"type\":\"x\"}}";
	int count = 0;

	(void)state;
	jump(bed, 5000); /* credit is for two seconds, however long it was silent */
	for (; bed->session.bad_messages == 0 && count < 100000; count++) {
		say_frame(bed, FRAME_MESSAGE, event);
		if (count % 64 == 0) /* crumbs would be read less often */
			assert_int_equal(loop_run_once(bed->loop, 0), 0);
	}
	/* 200 us each, and one more for each of its bytes */
	int wanted = (int)(2000000 / (200 + strlen(event)));
	assert_true(count > wanted && count < 3 * wanted);
	assert_string_equal(bed->notice,
		"sent 1 bad message, the last one was one of too many in a short time");
	bed->session.bad_messages = 0;
	jump(bed, 500);
	say(bed, "%s", event);
	assert_int_equal(bed->session.bad_messages, 0);
	bed_free(bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once_or_twice),
		cmocka_unit_test(acknowledged_to_who_knows_it),
		cmocka_unit_test(gone_is_told_to_who_knows_it),
		cmocka_unit_test(told_anew),
		cmocka_unit_test(told_what_is_different),
		cmocka_unit_test(logging_in),
		cmocka_unit_test(lost_at_once),
		cmocka_unit_test(pings),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(bad_messages),
		cmocka_unit_test(too_many),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
