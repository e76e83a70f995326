/* SPDX-License-Identifier: Apache-2.0 */
/* test_vectors - what a real NoRouter sent: decoded, answered and written again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/configure.h"
#include "mesh/info.h"
#include "mesh/message.h"
#include "net/packet.h"
#include "wire/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FOLDER       "tests/data/norouter/"
#define FILE_MAX     8192

#define PCAP_HEADER_BYTES 24
#define PCAP_RECORD_BYTES 16

/* Each stream with how many frames it has; the first one is a message, the others are packets. */
static const struct {
	const char *name;
	size_t frames;
} streams[] = {
	{FOLDER "request.bin", 1},
	{FOLDER "reply.bin", 1},
	{FOLDER "streams/host1.m2a.bin", 31},
	{FOLDER "streams/host1.a2m.bin", 31},
	{FOLDER "streams/host2.m2a.bin", 11},
	{FOLDER "streams/host2.a2m.bin", 11},
	{FOLDER "streams/host3.m2a.bin", 6},
	{FOLDER "streams/host3.a2m.bin", 6},
};

static const char *const agents[] = {"host1", "host2", "host3"};

struct bytes {
	unsigned char at[FILE_MAX];
	size_t len;
};

static void load(const char *name, struct bytes *out)
{
	FILE *file = fopen(name, "rb");

	if (!file)
		fail_msg("cannot open %s", name);
	out->len = fread(out->at, 1, sizeof(out->at), file);
	fclose(file);
	assert_in_range(out->len, 1, sizeof(out->at) - 1);
}

/* The message in the first frame of @name. */
static void load_message(const char *name, struct bytes *file, struct message *out)
{
	struct frame frame;
	struct err err;

	load(name, file);
	assert_true(frame_decode(file->at, file->len, &frame, &err) > 0);
	assert_int_equal(frame.type, FRAME_MESSAGE);
	if (message_decode(frame.payload, frame.len, out, &err) != 0)
		fail_msg("%s: %s", name, err.text);
}

static void expect_ip(struct in_addr ip, const char *text)
{
	char found[INET_ADDRSTRLEN];

	assert_string_equal(inet_ntop(AF_INET, &ip, found, sizeof(found)), text);
}

/* --- frames ------------------------------------------------------------------------------- */

/* Decode all frames of @file, write each again, and compare. Returns how many there are. */
static size_t check_frames(const char *name, struct bytes *file)
{
	unsigned char again[FRAME_HEADER_BYTES];
	size_t count = 0;
	ssize_t size;

	for (size_t at = 0; at < file->len; at += (size_t)size, count++) {
		struct packet_view view;
		struct frame frame;
		struct err err;

		size = frame_decode(file->at + at, file->len - at, &frame, &err);
		if (size <= 0)
			fail_msg("%s: at byte %zu: %s", name, at, size ? err.text : "cut");
		frame_encode_header(again, (enum frame_type)frame.type, frame.len);
		assert_memory_equal(again, frame.start, sizeof(again));
		assert_int_equal(frame.type, count == 0 ? FRAME_MESSAGE : FRAME_PACKET);
		if (frame.type != FRAME_PACKET)
			continue;
		assert_true(packet_parse(frame.payload, frame.len, &view));
		assert_int_equal(view.proto, IPPROTO_TCP);
		assert_int_equal(ntohl(view.src.ip.s_addr) >> 8, 0x7f002a);
		assert_int_equal(ntohl(view.dst.ip.s_addr) >> 8, 0x7f002a);
	}
	return count;
}

static void streams_are_frames(void **state)
{
	struct bytes file;

	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		load(streams[i].name, &file);
		assert_int_equal(check_frames(streams[i].name, &file), streams[i].frames);
	}
}

/* How many whole frames a reader finds that keeps what is left over and has @len bytes so far. */
static size_t take_frames(unsigned char *bytes, size_t len, size_t *used)
{
	struct frame frame;
	struct err err;
	size_t count = 0;
	ssize_t size;

	while ((size = frame_decode(bytes + *used, len - *used, &frame, &err)) > 0) {
		*used += (size_t)size;
		count++;
	}
	if (size < 0)
		fail_msg("at byte %zu: %s", *used, err.text);
	return count;
}

/* Wherever the stream is cut in two, and byte by byte. */
static void streams_in_parts(void **state)
{
	struct bytes file;

	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		size_t bytewise = 0, bytewise_used = 0;

		load(streams[i].name, &file);
		for (size_t cut = 0; cut <= file.len; cut++) {
			size_t used = 0;
			size_t count = take_frames(file.at, cut, &used);

			count += take_frames(file.at, file.len, &used);
			assert_int_equal(count, streams[i].frames);
			assert_int_equal(used, file.len);
			bytewise += take_frames(file.at, cut, &bytewise_used);
		}
		assert_int_equal(bytewise, streams[i].frames);
	}
}

static void pcap_packets_are_packets(void **state)
{
	struct bytes file;
	size_t count = 0;

	(void)state;
	load(FOLDER "get.pcap", &file);
	for (size_t at = PCAP_HEADER_BYTES; at < file.len; count++) {
		struct packet_view view;
		uint32_t len;

		memcpy(&len, file.at + at + 8, sizeof(len)); /* little-endian, as this machine */
		at += PCAP_RECORD_BYTES;
		assert_true(at + len <= file.len);
		assert_true(packet_parse(file.at + at, len, &view));
		assert_int_equal(view.proto, IPPROTO_TCP);
		at += len;
	}
	assert_int_equal(count, 12);
}

/* --- messages ----------------------------------------------------------------------------- */

/* Encode @message, whose members are taken over, and compare with the payload of @file's first
 * frame, byte for byte. */
static void expect_bytes(struct message *message, struct bytes *file)
{
	unsigned char header[FRAME_HEADER_BYTES];
	size_t len;
	char *text = message_encode(message, &len);

	assert_non_null(text);
	frame_encode_header(header, FRAME_MESSAGE, len);
	assert_true(file->len >= sizeof(header) + len);
	assert_memory_equal(file->at, header, sizeof(header));
	assert_memory_equal(file->at + sizeof(header), text, len);
	free(text);
}

static void messages_are_written_again(void **state)
{
	struct bytes file;
	struct message message;

	(void)state;
	for (size_t i = 0; i < COUNT(streams); i++) {
		load_message(streams[i].name, &file, &message);
		assert_string_equal(message.op, "configure");
		assert_null(message.error);
		assert_non_null(message.data);
		expect_bytes(&message, &file);
	}
}

/* Read into a configuration and written from that alone. */
static void configurations_are_written_again(void **state)
{
	struct message message;
	struct mesh_config config;
	struct bytes file;
	char name[64];
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNT(agents); i++) {
		snprintf(name, sizeof(name), FOLDER "streams/%s.m2a.bin", agents[i]);
		load_message(name, &file, &message);
		assert_int_equal(message.type, MESSAGE_REQUEST);
		assert_int_equal(message.id, i + 1);
		if (configure_decode(message.data, &config, &err) != 0)
			fail_msg("%s: %s", name, err.text);
		json_decref(message.data);
		message.data = configure_encode(&config, 0);
		config_free(&config);
		expect_bytes(&message, &file);
	}
}

static void the_recorded_configuration(void **state)
{
	struct message message;
	struct mesh_config config;
	struct bytes file;
	struct err err;

	(void)state;
	load_message(FOLDER "request.bin", &file, &message);
	assert_int_equal(message.id, 1);
	assert_int_equal(configure_decode(message.data, &config, &err), 0);
	message_fini(&message);
	expect_ip(config.me, "127.0.42.101");
	assert_int_equal(config.noffers, 1);
	assert_int_equal(config.offers[0].listen_port, 8080);
	assert_string_equal(config.offers[0].connect_host, "127.0.0.1");
	assert_int_equal(config.offers[0].connect_port, 18081);
	assert_int_equal(config.nothers, 4);
	expect_ip(config.others[3].ip, "127.0.42.103");
	assert_int_equal(config.others[1].port, 9000);
	assert_int_equal(config.nnames, 3);
	assert_string_equal(config.names[2].name, "host3");
	expect_ip(config.names[2].ip, "127.0.42.103");
	assert_string_equal(config.http_listen, "127.0.0.1:18180");
	assert_string_equal(config.socks_listen, "127.0.0.1:18181");
	assert_false(config.loopback_disable || config.write_etc_hosts || config.any_port);
	assert_true(config.state_dir_disable);
	assert_null(config.state_dir_path);
	assert_int_equal(config.nroutes, 0);
	assert_int_equal(config.nname_servers, 3);
	assert_int_equal(config.name_servers[0].port, 10053);
	config_free(&config);
}

/* An agent that can do what that one could answers the request with the same bytes. */
static void the_recorded_answer(void **state)
{
	static const char *const names[] = {"loopback", "tcp", "http", "loopback.disable", "socks",
		"hostaliases", "etchosts", "routes", "dns"};
	struct message request, recorded;
	struct mesh_agent_info info;
	struct bytes file;
	struct err err;
	unsigned features = 0;

	(void)state;
	load_message(FOLDER "request.bin", &file, &request);
	load_message(FOLDER "reply.bin", &file, &recorded);
	assert_int_equal(recorded.type, MESSAGE_RESULT);
	assert_int_equal(recorded.id, request.id);
	assert_int_equal(info_decode(recorded.data, &info, &err), 0);
	message_fini(&recorded);
	assert_string_equal(info.version, "0.6.5+dev");
	for (unsigned bit = 1; bit <= FEATURE_ERROR; bit <<= 1)
		for (size_t i = 0; i < COUNT(names); i++)
			if (strcmp(info_feature_name((enum mesh_feature)bit), names[i]) == 0)
				features |= bit;
	assert_int_equal(info.features, features);

	struct message answer = {.type = MESSAGE_RESULT, .id = request.id};
	strcpy(answer.op, request.op);
	answer.data = info_encode(&info);
	message_fini(&request);
	expect_bytes(&answer, &file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_frames),
		cmocka_unit_test(streams_in_parts),
		cmocka_unit_test(pcap_packets_are_packets),
		cmocka_unit_test(messages_are_written_again),
		cmocka_unit_test(configurations_are_written_again),
		cmocka_unit_test(the_recorded_configuration),
		cmocka_unit_test(the_recorded_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
