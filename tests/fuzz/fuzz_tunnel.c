/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/tunnel - any bytes from the other end of a tunnel, and what is done with strands meanwhile
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tunnel/bundle.h"
#include "tunnel/envoy.h"
#include "tunnel/hail.h"
#include "tunnel/lane.h"
#include "tunnel/order.h"
#include "tunnel/permit.h"
#include "tunnel/reverse.h"
#include "util/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STRANDS = 16, ROUNDS = 4 };

struct bed {
	struct bundle bundle;
	struct loop *loop;
	struct budget budget;
	int raw;          /* the other end's */
	int fds[STRANDS]; /* ours of strands, -1: none */
	int ends;
};

static struct bed *bed_of(struct bundle *bundle)
{
	return container_of(bundle, struct bed, bundle);
}

static void on_up(struct bundle *bundle)
{
	(void)bundle;
}

static void on_strand(struct bundle *bundle, int fd)
{
	int *at = &bed_of(bundle)->fds[(unsigned)fd % STRANDS];

	if (*at >= 0)
		close(*at);
	*at = fd;
}

static void on_end(struct bundle *bundle, const char *why)
{
	if (!why || ++bed_of(bundle)->ends > 1)
		abort();
}

static const struct bundle_ops ops = {on_up, on_strand, on_end};

static void drain(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* One step: an operation, which strand or how much, and perhaps bytes. Returns how many it took. */
static size_t step(struct bed *bed, const uint8_t *data, size_t size)
{
	size_t len = data[1] < size - 2 ? data[1] : size - 2;
	int *strand = &bed->fds[data[1] % STRANDS];

	switch (data[0] % 8) {
	case 0:
		if (bed->ends == 0 && *strand < 0)
			*strand = bundle_dial(&bed->bundle);
		return 2;
	case 1:
		if (*strand >= 0)
			close(*strand);
		*strand = -1;
		return 2;
	case 2:
		if (*strand >= 0)
			shutdown(*strand, SHUT_WR);
		return 2;
	case 3:
		if (*strand >= 0)
			drain(*strand);
		return 2;
	case 4:
		for (int i = 0; i < STRANDS; i++)
			if (bed->fds[i] >= 0 &&
				send(bed->fds[i], data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
				continue;
		return 2 + len;
	default:
		if (send(bed->raw, data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return size;
		return 2 + len;
	}
}

static void carry(const uint8_t *data, size_t size)
{
	struct bed bed = {.loop = loop_new(), .budget = {.max = 1000}, .ends = 0};
	int pair[2];

	for (int i = 0; i < STRANDS; i++)
		bed.fds[i] = -1;
	if (!bed.loop ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	bed.raw = pair[1];
	bed.bundle = (struct bundle){
		.ops = &ops, .loop = bed.loop, .budget = &bed.budget, .is_asker = size & 1};
	if (bundle_open(&bed.bundle, pair[0], pair[0]) < 0)
		abort();
	while (size >= 2) {
		size_t took = step(&bed, data, size);

		data += took;
		size -= took;
		for (int i = 0; i < ROUNDS; i++)
			loop_run_once(bed.loop, 0);
		drain(bed.raw);
		if (bed.bundle.count > BUNDLE_MAX)
			abort();
	}
	bundle_close(&bed.bundle);
	for (int i = 0; i < STRANDS; i++)
		if (bed.fds[i] >= 0)
			close(bed.fds[i]);
	close(bed.raw);
	loop_free(bed.loop);
	if (bed.budget.used != 0)
		abort();
}

/* Messages, and not a byte behind them. */
static void hear(const uint8_t *data, size_t size)
{
	struct hail_reader reader = {.have = 0};
	struct hail hail;
	size_t taken = 0;
	char byte;
	int pair[2], result;

	if (size > 4096 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	if (write(pair[0], data, size) != (ssize_t)size)
		abort();
	hail_peek(pair[1], HAIL_OWN);
	while ((result = hail_read(&reader, pair[1], &hail)) == 1) {
		if (hail.len > HAIL_TEXT_MAX || hail.text[-HAIL_HEADER_BYTES] != data[taken])
			abort();
		hail_number(&hail);
		taken += HAIL_HEADER_BYTES + hail.len;
	}
	taken += reader.have;
	if (taken < size &&
		(recv(pair[1], &byte, 1, MSG_DONTWAIT) != 1 || (uint8_t)byte != data[taken]))
		abort();
	close(pair[0]);
	close(pair[1]);
}

/* What a client asks for: what is taken is sent again as it came. */
static void ask(const uint8_t *data, size_t size)
{
	const struct hail hail = {.text = data, .len = size < HAIL_TEXT_MAX ? size : HAIL_TEXT_MAX};
	unsigned char bytes[HAIL_TEXT_MAX], again[HAIL_TEXT_MAX];
	char name[ORDER_NAME_MAX + 1], text[HAIL_TEXT_MAX + 1], line[1024];
	char peer[ADDR_TEXT_BYTES], dialled[ADDR_TEXT_BYTES];
	struct order order, second;
	struct err err;

	if (order_decode(data, size, &order) == 0) {
		size_t len = order_encode(&order, bytes);
		if (order_decode(bytes, len, &second) < 0 || order_encode(&second, again) != len ||
			memcmp(bytes, again, len) != 0)
			abort();
	}
	if (order_read_label(&hail, name, text) && name[0] &&
		strlen(name) + 1 + strlen(text) > hail.len)
		abort();
	if (order_decode_open(&hail, name, peer, dialled) &&
		strlen(name) + strlen(peer) + strlen(dialled) > hail.len)
		abort();
	if (size >= sizeof(line))
		return;
	memcpy(line, data, size);
	line[size] = '\0';
	if (order_parse(line, size & 1, &order, &err) == 0) {
		size_t len = order_encode(&order, bytes);
		if (order_decode(bytes, len, &second) < 0 || strcmp(second.name, order.name) != 0)
			abort();
	}
	struct permits permits = {.count = 0};
	permit_add(&permits, line, &err);
}

/* --- lanes of a server ------------------------------------------------------------------------ */

enum { LANES = 4 };

struct server {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct lane_house house;
	struct list waiting;
	size_t asked;
};

static bool on_new(struct lane *lane)
{
	list_add_last(&((struct server *)lane->house->owner)->waiting, &lane->at);
	return true;
}

static void on_opened(struct lane *lane)
{
	((struct server *)lane->house->owner)->asked--;
	lane->inbound = NULL;
	close(lane_take(lane));
}

static void on_refused(struct lane *lane)
{
	((struct server *)lane->house->owner)->asked--;
	lane->inbound = NULL;
	on_new(lane);
}

static int on_message(struct lane *lane, const struct hail *hail)
{
	return lane->kind == HAIL_CONTROL && hail->type == HAIL_LEAVE ? 0 : -EPROTO;
}

static void on_dead(struct lane *lane)
{
	(void)lane;
}

/* Nobody was asked who was opened or refused. */
static void on_over(struct lane *lane)
{
	struct server *server = lane->house->owner;

	if (lane->inbound)
		server->asked--;
}

static const struct lane_ops lane_ops = {
	on_new, on_opened, on_refused, on_message, on_dead, on_over};

static int add_lane(struct server *server)
{
	struct addr peer = {.family = AF_UNIX};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	lane_add(&server->house, pair[0], &peer, false);
	return pair[1];
}

static void ask_lane(struct server *server)
{
	struct lane *lane = list_first(&server->waiting, struct lane, at);

	list_del(&lane->at);
	if ((lane->is_own ? lane_ask(lane, "x", 1, 1) : lane_use(lane)) < 0 || !lane->is_own) {
		lane_close(lane);
		return;
	}
	lane->inbound = (struct inbound *)server; /* some mark */
	server->asked++;
}

static void serve(const uint8_t *data, size_t size)
{
	struct server server = {.loop = loop_new(), .budget = {.max = 1000}};
	int fds[LANES];

	if (!server.loop || context_open(&server.context, server.loop, &server.budget, -1) < 0)
		abort();
	list_init(&server.waiting);
	server.house = (struct lane_house){
		.ops = &lane_ops, .owner = &server, .context = &server.context, .beat_ms = 1000};
	lane_house_init(&server.house);
	for (int i = 0; i < LANES; i++)
		fds[i] = add_lane(&server);
	while (size >= 2) {
		int *fd = &fds[data[0] % LANES];
		size_t len = data[1] % 64 < size - 2 ? data[1] % 64 : size - 2;

		if (data[0] & 0x40) {
			close(*fd);
			*fd = add_lane(&server);
		} else if (send(*fd, data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			len = size - 2;
		}
		for (int i = 0; i < ROUNDS; i++)
			loop_run_once(server.loop, 0);
		if ((data[0] & 0x80) && !list_is_empty(&server.waiting))
			ask_lane(&server);
		drain(*fd);
		data += 2 + len;
		size -= 2 + len;
		if (server.house.count > LANES || server.asked > LANES)
			abort();
	}
	lane_house_fini(&server.house);
	for (int i = 0; i < LANES; i++)
		close(fds[i]);
	context_close(&server.context);
	if (server.budget.used != 0)
		abort();
	loop_free(server.loop);
}

/* --- spokes of a client ----------------------------------------------------------------------- */

struct client {
	struct loop *loop;
	struct budget budget;
	struct conn_context context;
	struct spoke_house house;
	struct passage passage;
	struct order orders[2];
	struct envoy envoy;
	struct reverse reverse;
	int fds[LANES]; /* the server's ends of the newest */
	size_t count;
};

static int connect_client(void *owner)
{
	struct client *client = owner;
	int pair[2], *at = &client->fds[client->count++ % LANES];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if (*at >= 0)
		close(*at);
	*at = pair[1];
	return pair[0];
}

static void on_answer(void *owner, struct wish *wish)
{
	reverse_answer(&((struct client *)owner)->reverse, wish);
}

static void open_client(struct client *client)
{
	struct err err;

	if (!client->loop || context_open(&client->context, client->loop, &client->budget, -1) < 0)
		abort();
	client->house = (struct spoke_house){.context = &client->context,
		.connect = connect_client,
		.owner = client,
		.kind = SERVER_OWN};
	passage_init(&client->passage, &client->context);
	if (order_parse("f=127.0.0.1:0:a:1", false, &client->orders[0], &err) < 0 ||
		order_parse("r=127.0.0.1:0:a:1", true, &client->orders[1], &err) < 0)
		abort();
	client->envoy = (struct envoy){.house = &client->house,
		.on_answer = on_answer,
		.owner = client,
		.server = "server"};
	envoy_init(&client->envoy, client->orders, 2);
	client->reverse = (struct reverse){
		.house = &client->house, .passage = &client->passage, .envoy = &client->envoy};
	if (reverse_open(&client->reverse, client->orders, 2, &err) < 0)
		abort();
	envoy_up(&client->envoy);
}

static void close_client(struct client *client)
{
	reverse_fini(&client->reverse);
	envoy_fini(&client->envoy);
	passage_fini(&client->passage);
	for (int i = 0; i < LANES; i++)
		if (client->fds[i] >= 0)
			close(client->fds[i]);
	context_close(&client->context);
	if (client->budget.used != 0)
		abort();
	loop_free(client->loop);
}

/* Somebody comes in at what the client listens for. */
static int come_in(const struct client *client)
{
	struct addr at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (endpoint_parse_own(client->envoy.wishes[1].at, &at, NULL) < 0 ||
		(connect(fd, &at.any, addr_len(&at)) < 0 && errno != EINPROGRESS))
		abort();
	return fd;
}

/* What a server says over any of its connections, welcomed or not. */
static void visit(const uint8_t *data, size_t size)
{
	static const char welcome[] = HAIL_OWN "W\0\0\4\0\0\1";
	struct client client = {
		.loop = loop_new(), .budget = {.max = 1000}, .fds = {-1, -1, -1, -1}};
	int inbound = -1;

	open_client(&client);
	while (size >= 2) {
		int fd = client.fds[(data[0] >> 4) % LANES];
		size_t len = data[1] % 64 < size - 2 ? data[1] % 64 : size - 2;

		for (int i = 0; i < ROUNDS; i++)
			loop_run_once(client.loop, 0);
		if (data[0] & 1 && inbound < 0)
			inbound = come_in(&client);
		if (fd >= 0 && data[0] & 2)
			shutdown(fd, SHUT_RDWR);
		if (fd >= 0 && data[0] & 4 &&
			send(fd, welcome, sizeof(welcome), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			len = 0;
		if (fd >= 0 && send(fd, data + 2, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			len = 0;
		if (data[0] & 8) {
			envoy_down(&client.envoy);
			reverse_down(&client.reverse);
			envoy_up(&client.envoy);
		}
		if (fd >= 0)
			drain(fd);
		data += 2 + len;
		size -= 2 + len;
		if (reverse_connecting(&client.reverse) > 1)
			abort();
	}
	if (inbound >= 0)
		close(inbound);
	close_client(&client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_ERROR);
	if (size > 1 && size < 2048 && data[0] == 'l') {
		serve(data + 1, size - 1);
		return 0;
	}
	if (size > 1 && size < 2048 && data[0] == 'v') {
		visit(data + 1, size - 1);
		return 0;
	}
	if (size > 1 && data[0] == 'o')
		ask(data + 1, size - 1);
	else if (size > 1 && data[0] == 'm')
		hear(data + 1, size - 1);
	else
		carry(data, size);
	return 0;
}
