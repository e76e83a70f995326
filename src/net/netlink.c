/* SPDX-License-Identifier: Apache-2.0 */
/* net/netlink - one request to the kernel over a netlink socket, and its answer */
#include "net/netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/clock.h"

/* The kernel fills dump answers up to what the reader offers, at most 32 KiB */
#define ANSWER_CAP 16384

int netlink_open(int protocol)
{
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	return nl < 0 ? -errno : nl;
}

static struct nlmsghdr *header(struct netlink_msg *msg)
{
	/* cppcheck-suppress ctuuninitvar ; it is filled here */
	return (struct nlmsghdr *)msg->bytes;
}

/* Room for @len bytes at the aligned end of the request, zeroed */
static void *reserve(struct netlink_msg *msg, size_t len)
{
	size_t at = NLMSG_ALIGN(header(msg)->nlmsg_len);

	assert(at + NLMSG_ALIGN(len) <= sizeof(msg->bytes));
	memset(msg->bytes + at, 0, NLMSG_ALIGN(len));
	header(msg)->nlmsg_len = (uint32_t)(at + len);
	return msg->bytes + at;
}

void netlink_begin(
	struct netlink_msg *msg, uint16_t type, uint16_t flags, const void *body, size_t len)
{
	*header(msg) = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN,
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
	};
	memcpy(reserve(msg, len), body, len);
}

void netlink_put(struct netlink_msg *msg, uint16_t type, const void *data, size_t len)
{
	struct nlattr *attr = reserve(msg, NLA_HDRLEN + len);

	attr->nla_len = (uint16_t)(NLA_HDRLEN + len);
	attr->nla_type = type;
	if (len)
		memcpy((unsigned char *)attr + NLA_HDRLEN, data, len);
}

void netlink_put_u32(struct netlink_msg *msg, uint16_t type, uint32_t value)
{
	netlink_put(msg, type, &value, sizeof(value));
}

size_t netlink_nest(struct netlink_msg *msg, uint16_t type)
{
	size_t at = NLMSG_ALIGN(header(msg)->nlmsg_len);

	netlink_put(msg, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void netlink_nest_end(struct netlink_msg *msg, size_t at)
{
	((struct nlattr *)(msg->bytes + at))->nla_len = (uint16_t)(header(msg)->nlmsg_len - at);
}

static int send_request(int nl, struct netlink_msg *msg)
{
	struct nlmsghdr *h = header(msg);
	ssize_t n;

	/* no state but the socket is kept, so the clock tells requests apart: it wraps in 4.3 s */
	h->nlmsg_seq = (uint32_t)clock_now_ns();
	do
		n = send(nl, h, h->nlmsg_len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Bytes of one datagram from the kernel, or -errno; never 0 */
static ssize_t receive(int nl, void *answer, size_t cap_bytes)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t from_len = sizeof(from);
		/* MSG_TRUNC: the true length comes back, so that a cut answer is noticed */
		ssize_t n = recvfrom(
			nl, answer, cap_bytes, MSG_TRUNC, (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -EPROTO : -errno;
		if (from.nl_pid != 0 || n == 0)
			continue;
		return (size_t)n > cap_bytes ? -EMSGSIZE : n;
	}
}

/* What an NLMSG_ERROR or NLMSG_DONE carries in front: 0 or -errno */
static int status_of(const struct nlmsghdr *h)
{
	int status = 0;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(status)))
		memcpy(&status, NLMSG_DATA(h), sizeof(status));
	else if (h->nlmsg_type == NLMSG_ERROR)
		return -EPROTO;
	return status > 0 ? -EPROTO : status;
}

/* Send @msg and walk the messages of its answer, as netlink_dump says. */
static int exchange(int nl, struct netlink_msg *msg,
	int (*on_message)(const void *body, size_t len, void *context), void *context)
{
	_Alignas(struct nlmsghdr) unsigned char answer[ANSWER_CAP];

	int result = send_request(nl, msg);

	if (result < 0)
		return result;
	for (;;) {
		ssize_t n = receive(nl, answer, sizeof(answer));
		if (n < 0)
			return (int)n;
		size_t left = (size_t)n;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, left);
			h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != header(msg)->nlmsg_seq)
				continue;
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE)
				return status_of(h);
			result = on_message(NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN, context);
			if (result)
				return result;
		}
	}
}

struct reply {
	void *data;
	size_t cap_bytes;
};

static int on_reply(const void *body, size_t len, void *context)
{
	const struct reply *reply = context;

	if (len > reply->cap_bytes)
		len = reply->cap_bytes;
	memcpy(reply->data, body, len);
	return (int)len;
}

int netlink_call(int nl, struct netlink_msg *msg, void *reply, size_t cap_bytes)
{
	return exchange(nl, msg, on_reply, &(struct reply){reply, cap_bytes});
}

int netlink_dump(int nl, struct netlink_msg *msg,
	int (*on_message)(const void *body, size_t len, void *context), void *context)
{
	header(msg)->nlmsg_flags |= NLM_F_DUMP;
	return exchange(nl, msg, on_message, context);
}
