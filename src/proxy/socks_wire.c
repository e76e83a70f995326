/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/socks_wire - the messages of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929) as bytes */
#include "proxy/socks_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "conn/dial.h"

enum method_byte { METHOD_NONE = 0, METHOD_PASSWORD = 2, METHOD_REFUSED = 0xff };
enum address_kind { KIND_IP4 = 1, KIND_NAME = 3, KIND_IP6 = 4 };

/* A message as it is taken apart. */
struct cursor {
	const unsigned char *at;
	size_t left;
	bool is_short; /* more must come; nothing is read any more */
};

static const unsigned char *take(struct cursor *cursor, size_t len)
{
	const unsigned char *at = cursor->at;

	if (cursor->is_short || cursor->left < len) {
		cursor->is_short = true;
		return NULL;
	}
	cursor->at += len;
	cursor->left -= len;
	return at;
}

static unsigned take_byte(struct cursor *cursor)
{
	const unsigned char *at = take(cursor, 1);

	return at ? *at : 0;
}

static uint16_t take_port(struct cursor *cursor)
{
	const unsigned char *at = take(cursor, 2);

	return at ? (uint16_t)(at[0] << 8 | at[1]) : 0;
}

static ssize_t taken(const struct cursor *cursor, const void *bytes)
{
	return cursor->is_short ? 0 : cursor->at - (const unsigned char *)bytes;
}

/* --- reading ------------------------------------------------------------------------------ */

ssize_t socks_wire_read_greeting(const void *bytes, size_t len, unsigned *methods)
{
	struct cursor cursor = {bytes, len, false};

	*methods = 0;
	if (take_byte(&cursor) != SOCKS_5 && !cursor.is_short)
		return -EPROTO;
	size_t count = take_byte(&cursor);
	const unsigned char *offered = take(&cursor, count);
	for (size_t i = 0; offered && i < count; i++) {
		if (offered[i] == METHOD_NONE)
			*methods |= SOCKS_NO_AUTH;
		if (offered[i] == METHOD_PASSWORD)
			*methods |= SOCKS_PASSWORD;
	}
	return taken(&cursor, bytes);
}

ssize_t socks_wire_read_login(const void *bytes, size_t len, struct socks_login *out)
{
	struct cursor cursor = {bytes, len, false};

	if (take_byte(&cursor) != 1 && !cursor.is_short) /* the version of RFC 1929 */
		return -EPROTO;
	out->user_len = (unsigned char)take_byte(&cursor);
	out->user = (const char *)take(&cursor, out->user_len);
	out->password_len = (unsigned char)take_byte(&cursor);
	out->password = (const char *)take(&cursor, out->password_len);
	return taken(&cursor, bytes);
}

/* A NUL would make another name of it on its way. Names of other alphabets may come as UTF-8. */
static bool copy_name(const unsigned char *name, size_t len, char out[SOCKS_HOST_MAX + 1])
{
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] == 0x7f)
			return false;
	memcpy(out, name, len);
	out[len] = '\0';
	return len > 0;
}

static void copy_ip4(const void *ip, char out[SOCKS_HOST_MAX + 1])
{
	inet_ntop(AF_INET, ip, out, SOCKS_HOST_MAX + 1);
}

/* An IPv4 address in IPv6 is the same host. */
static void copy_ip6(const unsigned char *ip, char out[SOCKS_HOST_MAX + 1])
{
	struct in6_addr addr;

	memcpy(&addr, ip, sizeof(addr));
	if (IN6_IS_ADDR_V4MAPPED(&addr))
		copy_ip4(ip + 12, out);
	else
		inet_ntop(AF_INET6, &addr, out, SOCKS_HOST_MAX + 1);
}

/* From the kind of the address to the port. Returns false if it is no address. */
static bool take_address(struct cursor *cursor, struct socks_request *out)
{
	enum address_kind kind = take_byte(cursor);
	const unsigned char *at;
	bool is_fine = true;

	if (cursor->is_short)
		return true;
	if (kind == KIND_IP4 && (at = take(cursor, 4)))
		copy_ip4(at, out->host);
	if (kind == KIND_IP6 && (at = take(cursor, 16)))
		copy_ip6(at, out->host);
	if (kind == KIND_NAME) {
		size_t len = take_byte(cursor);

		at = take(cursor, len);
		is_fine = !at || copy_name(at, len, out->host);
	}
	out->is_other_kind = kind != KIND_IP4 && kind != KIND_IP6 && kind != KIND_NAME;
	if (!out->is_other_kind) /* else its length is not known */
		out->port = take_port(cursor);
	return is_fine;
}

/* A text that ends with NUL, of 255 bytes at most. Returns false if it is longer. */
static bool take_text(struct cursor *cursor, const unsigned char **text, size_t *len)
{
	size_t most = cursor->left < SOCKS_HOST_MAX + 1 ? cursor->left : SOCKS_HOST_MAX + 1;
	const unsigned char *end = cursor->is_short ? NULL : memchr(cursor->at, '\0', most);

	if (!end && cursor->left > SOCKS_HOST_MAX)
		return false;
	*len = end ? (size_t)(end - cursor->at) : 0;
	*text = take(cursor, end ? *len + 1 : most + 1);
	return true;
}

static ssize_t read_request4(const void *bytes, size_t len, struct socks_request *out)
{
	struct cursor cursor = {bytes, len, false};
	const unsigned char *text, *ip;
	size_t text_len;

	take_byte(&cursor);
	out->command = take_byte(&cursor);
	out->port = take_port(&cursor);
	ip = take(&cursor, 4);
	if (!take_text(&cursor, &text, &text_len)) /* who the user is, in its own words */
		return -EPROTO;
	if (cursor.is_short)
		return 0;
	if (memcmp(ip, "\0\0\0", 3) != 0 || ip[3] == 0) {
		copy_ip4(ip, out->host);
		return taken(&cursor, bytes);
	}
	/* 4a: 0.0.0.x, and a name behind it */
	if (!take_text(&cursor, &text, &text_len) ||
		(text && !copy_name(text, text_len, out->host)))
		return -EPROTO;
	return taken(&cursor, bytes);
}

static ssize_t read_request5(const void *bytes, size_t len, struct socks_request *out)
{
	struct cursor cursor = {bytes, len, false};

	take_byte(&cursor);
	out->command = take_byte(&cursor);
	take_byte(&cursor); /* reserved */
	if (!take_address(&cursor, out))
		return -EPROTO;
	return taken(&cursor, bytes);
}

ssize_t socks_wire_read_request(const void *bytes, size_t len, struct socks_request *out)
{
	*out = (struct socks_request){.version = SOCKS_5};
	if (len == 0)
		return 0;
	out->version = *(const unsigned char *)bytes;
	if (out->version == SOCKS_5)
		return read_request5(bytes, len, out);
	return out->version == SOCKS_4 ? read_request4(bytes, len, out) : -EPROTO;
}

ssize_t socks_wire_read_datagram(const void *bytes, size_t len, struct socks_request *out)
{
	struct cursor cursor = {bytes, len, false};

	*out = (struct socks_request){.version = SOCKS_5};
	take(&cursor, 2); /* reserved */
	if (take_byte(&cursor) != 0 || !take_address(&cursor, out) || cursor.is_short ||
		out->is_other_kind)
		return -EPROTO;
	return taken(&cursor, bytes);
}

/* --- writing ------------------------------------------------------------------------------ */

/* RFC 1928 6 */
static unsigned char code5(int result)
{
	switch (result) {
	case 0:
		return 0;
	case -EACCES:
	case -EPERM:
		return 2; /* not allowed */
	case -ENETUNREACH:
	case -ENETDOWN:
		return 3;
	case -EHOSTUNREACH:
	case -EHOSTDOWN:
	case -ENOENT: /* no such name */
	case -EAGAIN:
		return 4;
	case -ECONNREFUSED:
		return 5;
	case -ETIMEDOUT:
		return 6; /* TTL expired */
	case SOCKS_NO_COMMAND:
		return 7;
	case SOCKS_NO_KIND:
	case -EAFNOSUPPORT:
		return 8;
	default:
		return 1;
	}
}

/* An address without its kind, IPv4 or IPv6, and the port. */
static size_t put_address(const struct addr *at, unsigned char *out)
{
	bool is_ip6 = at->family == AF_INET6;
	size_t len = is_ip6 ? 16 : 4;
	uint16_t port = addr_port(at);

	out[0] = is_ip6 ? KIND_IP6 : KIND_IP4;
	if (is_ip6)
		memcpy(out + 1, &at->v6.sin6_addr, len);
	else if (at->family == AF_INET)
		memcpy(out + 1, &at->v4.sin_addr, len);
	else
		memset(out + 1, 0, len);
	out[len + 1] = (unsigned char)(port >> 8);
	out[len + 2] = (unsigned char)port;
	return len + 3;
}

size_t socks_wire_write_reply(
	enum socks_version version, int result, const struct addr *at, unsigned char *out)
{
	if (version == SOCKS_5) {
		out[0] = SOCKS_5;
		out[1] = code5(result);
		out[2] = 0;
		return 3 + put_address(at, out + 3);
	}
	memset(out, 0, 8);
	out[1] = result == 0 ? 0x5a : 0x5b;
	if (result == 0 && at->family == AF_INET) {
		out[2] = (unsigned char)(addr_port(at) >> 8);
		out[3] = (unsigned char)addr_port(at);
		memcpy(out + 4, &at->v4.sin_addr, 4);
	}
	return 8;
}

size_t socks_wire_write_method(unsigned method, unsigned char *out)
{
	out[0] = SOCKS_5;
	out[1] = method == SOCKS_NO_AUTH    ? METHOD_NONE
		 : method == SOCKS_PASSWORD ? METHOD_PASSWORD
					    : METHOD_REFUSED;
	return 2;
}

size_t socks_wire_write_login(bool is_known, unsigned char *out)
{
	out[0] = 1;
	out[1] = !is_known;
	return 2;
}

size_t socks_wire_write_datagram(const struct addr *from, unsigned char *out)
{
	memset(out, 0, 3);
	return 3 + put_address(from, out + 3);
}
