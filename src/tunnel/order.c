/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/order - what a client of a tunnel has led through it by name: NAME=ADDR:TO */
#include "tunnel/order.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/parse.h"

#define ORDER_FORM "expected NAME=ADDR:TO, such as web=127.0.0.1:8000:localhost:80"

/* Enough for both places, a name and a protocol. */
#define ORDER_TEXT_BYTES (2 * ENDPOINT_TEXT_BYTES)

static bool is_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			return false;
	return len > 0 && len <= ORDER_NAME_MAX;
}

/* The colon between ADDR and TO, or NULL. */
static char *border(char *places)
{
	char *at = places;

	if (strncmp(at, "unix:", 5) == 0)
		return strchr(at + 5, ':');
	if (*at == '[') /* nobody else's colons */
		at += strcspn(at, "]");
	at = strchr(at, ':');
	return at ? strchr(at + 1, ':') : NULL;
}

static bool has_path(const struct order *order)
{
	return order->at.family == AF_UNIX || order->to.addr.family == AF_UNIX;
}

/* Cut "/tcp" or "/udp" off; a path may have slashes of its own. */
static int take_proto(char *places, enum proto *out, struct err *err)
{
	char *last = strrchr(places, '/');

	if (!strstr(places, "unix:"))
		return addr_take_proto(places, out, err);
	*out = PROTO_TCP;
	if (!last || (strcmp(last, "/tcp") != 0 && strcmp(last, "/udp") != 0))
		return 0;
	return addr_take_proto(last, out, err);
}

static int parse_places(char *places, struct order *order, struct err *err)
{
	char *to;
	int result = take_proto(places, &order->proto, err);

	if (result < 0)
		return result;
	to = border(places);
	if (!to)
		return err_set(err, EINVAL, "%s: " ORDER_FORM, PARSE_QUOTED(places));
	*to++ = '\0';
	result = endpoint_parse_own(places, &order->at, err);
	if (result == 0)
		result = endpoint_parse(to, &order->to, err);
	if (result == 0 && order->proto == PROTO_UDP && has_path(order))
		return err_set(err, EINVAL,
			"%s: a path is for connections, expected HOST:PORT for /udp",
			PARSE_QUOTED(order->at.family == AF_UNIX ? places : to));
	return result;
}

int order_parse(const char *text, bool is_reverse, struct order *out, struct err *err)
{
	struct order order = {.is_reverse = is_reverse};
	const char *equals = strchr(text, '=');
	char places[ORDER_TEXT_BYTES];
	size_t len = equals ? (size_t)(equals - text) : 0;

	if (!equals)
		return err_set(err, EINVAL, "%s: " ORDER_FORM, PARSE_QUOTED(text));
	if (!is_name(text, len))
		return err_set(err, EINVAL,
			"%s: expected a name of 1 to %d letters, digits, - _ or . in front of =",
			PARSE_QUOTED(text), ORDER_NAME_MAX);
	if (strlen(equals + 1) >= sizeof(places))
		return err_set(err, EINVAL, "%s: " ORDER_FORM, PARSE_QUOTED(text));
	memcpy(order.name, text, len);
	strcpy(places, equals + 1);
	int result = parse_places(places, &order, err);
	if (result == 0)
		*out = order;
	return result;
}

/* --- on the wire ----------------------------------------------------------------------------- */

size_t order_encode(const struct order *order, unsigned char out[HAIL_TEXT_MAX])
{
	char place[ENDPOINT_TEXT_BYTES];

	if (order->is_reverse)
		endpoint_format(&order->to, place, sizeof(place));
	else
		addr_format(&order->at, place, sizeof(place));
	out[0] = order->is_reverse ? 'r' : 'f';
	out[1] = order->proto == PROTO_UDP ? 'u' : 't';
	size_t name_len = strlen(order->name), len = strlen(place);
	memcpy(out + 2, order->name, name_len + 1);
	memcpy(out + 3 + name_len, place, len);
	return 3 + name_len + len;
}

int order_decode(const unsigned char *bytes, size_t len, struct order *out)
{
	struct order order = {.is_reverse = len > 0 && bytes[0] == 'r'};
	const unsigned char *end = len > 2 ? memchr(bytes + 2, '\0', len - 2) : NULL;
	char place[HAIL_TEXT_MAX + 1];

	if (!end || !memchr("fr", bytes[0], 2) || !memchr("tu", bytes[1], 2) || len > HAIL_TEXT_MAX)
		return -EPROTO;
	size_t name_len = (size_t)(end - bytes) - 2, place_len = len - name_len - 3;
	if (name_len > 0 && !is_name((const char *)bytes + 2, name_len))
		return -EPROTO;
	if (memchr(end + 1, '\0', place_len))
		return -EPROTO;
	memcpy(order.name, bytes + 2, name_len);
	memcpy(place, end + 1, place_len);
	place[place_len] = '\0';
	order.proto = bytes[1] == 'u' ? PROTO_UDP : PROTO_TCP;
	int result = order.is_reverse ? endpoint_parse(place, &order.to, NULL)
				      : endpoint_parse_own(place, &order.at, NULL);
	if (result < 0 || (order.proto == PROTO_UDP && has_path(&order)))
		return -EPROTO;
	/* the same as where is listened: what is allowed is an address */
	if (strcasecmp(order.to.host, "localhost") == 0)
		order.to = (struct endpoint){.addr = addr_loopback4(order.to.port)};
	*out = order;
	return 0;
}

size_t order_label(const char *name, const char *text, unsigned char out[HAIL_TEXT_MAX])
{
	char label[HAIL_TEXT_MAX + 1];
	int len = snprintf(label, sizeof(label), "%s%c%s", name, '\0', text);

	if (len > HAIL_TEXT_MAX)
		len = HAIL_TEXT_MAX;
	memcpy(out, label, (size_t)len);
	return (size_t)len;
}

bool order_read_label(const struct hail *hail, char name[ORDER_NAME_MAX + 1], char *text)
{
	const unsigned char *end = hail->len > 0 ? memchr(hail->text, '\0', hail->len) : NULL;
	size_t name_len = end ? (size_t)(end - hail->text) : 0, skipped = end ? name_len + 1 : 0;

	if (name_len > ORDER_NAME_MAX)
		return false;
	memcpy(name, hail->text, name_len);
	name[name_len] = '\0';
	memcpy(text, hail->text + skipped, hail->len - skipped);
	text[hail->len - skipped] = '\0';
	return true;
}

size_t order_encode_open(const char *name, const struct addr *peer, const struct addr *dialled,
	unsigned char out[HAIL_TEXT_MAX])
{
	char text[ADDR_TEXT_BYTES];
	size_t len = order_label(name, addr_format(peer, text, sizeof(text)), out);

	if (dialled->family == AF_UNSPEC)
		return len;
	size_t dialled_len = strlen(addr_format(dialled, text, sizeof(text)));
	out[len++] = '\0';
	memcpy(out + len, text, dialled_len);
	return len + dialled_len;
}

bool order_decode_open(const struct hail *hail, char name[ORDER_NAME_MAX + 1],
	char peer[ADDR_TEXT_BYTES], char dialled[ADDR_TEXT_BYTES])
{
	char texts[HAIL_TEXT_MAX + 2] = {0}; /* there is a second one, if an empty one */

	if (!order_read_label(hail, name, texts))
		return false;
	const char *second = texts + strlen(texts) + 1;
	if (strlen(texts) >= ADDR_TEXT_BYTES || strlen(second) >= ADDR_TEXT_BYTES)
		return false;
	strcpy(peer, texts);
	strcpy(dialled, second);
	return true;
}
