/* SPDX-License-Identifier: Apache-2.0 */
/* conn/udp_batch - datagrams received and sent many at a time, with the addresses at both ends */
#include "conn/udp_batch.h"

#include <errno.h>
#include <string.h>

#include "util/addr.h"

int udp_batch_prepare(int fd)
{
	struct addr own;
	int on = 1, result = addr_get_own(fd, &own);

	if (result < 0 || !addr_is_wildcard(&own))
		return result;
	if (own.family == AF_INET)
		result = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	else
		result = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	return result < 0 ? -errno : 0;
}

int udp_batch_receive(struct udp_batch *batch, int fd, bool wants_names)
{
	for (size_t i = 0; i < UDP_BATCH; i++) {
		batch->parts[i] = (struct iovec){batch->bytes[i], UDP_DATAGRAM_BYTES};
		batch->messages[i].msg_hdr = (struct msghdr){
			.msg_name = wants_names ? &batch->names[i] : NULL,
			.msg_namelen = wants_names ? sizeof(batch->names[i]) : 0,
			.msg_iov = &batch->parts[i],
			.msg_iovlen = 1,
			.msg_control = wants_names ? &batch->controls[i] : NULL,
			.msg_controllen = wants_names ? sizeof(batch->controls[i]) : 0,
		};
	}
	int count = recvmmsg(fd, batch->messages, UDP_BATCH, MSG_DONTWAIT, NULL);
	if (count < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (int i = 0; i < count; i++)
		batch->parts[i].iov_len = batch->messages[i].msg_len;
	return count;
}

static void read_pktinfo(struct msghdr *header, struct udp_key *key)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&v4, CMSG_DATA(c), sizeof(v4));
			/* not ipi_addr: that may be a broadcast address */
			memcpy(&key->local, &v4.ipi_spec_dst, sizeof(v4.ipi_spec_dst));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&v6, CMSG_DATA(c), sizeof(v6));
			if (IN6_IS_ADDR_MULTICAST(&v6.ipi6_addr))
				continue;
			key->local = v6.ipi6_addr;
			if (IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
				key->ifindex = v6.ipi6_ifindex;
		}
	}
}

void udp_batch_take_key(struct udp_batch *batch, size_t i, struct udp_key *key)
{
	struct msghdr *header = &batch->messages[i].msg_hdr;

	memset(key, 0, sizeof(*key));
	memcpy(&key->peer, header->msg_name, header->msg_namelen);
	read_pktinfo(header, key);
	header->msg_name = header->msg_control = NULL;
	header->msg_namelen = 0;
	header->msg_controllen = 0;
}

/* Returns the size of the control data. */
static size_t write_pktinfo(const struct udp_key *key, union udp_control *control)
{
	struct cmsghdr *header = &control->align;
	struct in_pktinfo v4 = {0};
	struct in6_pktinfo v6 = {.ipi6_addr = key->local, .ipi6_ifindex = key->ifindex};

	memset(control, 0, sizeof(*control));
	if (key->peer.sin6_family == AF_INET) {
		memcpy(&v4.ipi_spec_dst, &key->local, sizeof(v4.ipi_spec_dst));
		header->cmsg_level = IPPROTO_IP;
		header->cmsg_type = IP_PKTINFO;
		header->cmsg_len = CMSG_LEN(sizeof(v4));
		memcpy(CMSG_DATA(header), &v4, sizeof(v4));
		return sizeof(control->v4);
	}
	header->cmsg_level = IPPROTO_IPV6;
	header->cmsg_type = IPV6_PKTINFO;
	header->cmsg_len = CMSG_LEN(sizeof(v6));
	memcpy(CMSG_DATA(header), &v6, sizeof(v6));
	return sizeof(control->v6);
}

void udp_batch_answer(struct udp_batch *batch, int fd, const struct udp_key *key, size_t count)
{
	struct mmsghdr *messages = batch->messages;
	union udp_control control;
	struct udp_key to = *key; /* msg_name is not const */
	bool has_local = !IN6_IS_ADDR_UNSPECIFIED(&key->local);
	size_t control_len = has_local ? write_pktinfo(key, &control) : 0;

	for (size_t i = 0; i < count; i++) {
		struct msghdr *header = &messages[i].msg_hdr;

		header->msg_name = &to.peer;
		header->msg_namelen = key->peer.sin6_family == AF_INET
					      ? sizeof(struct sockaddr_in)
					      : sizeof(struct sockaddr_in6);
		header->msg_control = has_local ? &control : NULL;
		header->msg_controllen = control_len;
	}
	while (count > 0) {
		int sent = sendmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0)
			sent = 1; /* that one cannot be sent: the next one, perhaps */
		messages += sent;
		count -= (size_t)sent;
	}
}
