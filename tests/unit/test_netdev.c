/* SPDX-License-Identifier: Apache-2.0 */
/* test_netdev - what net/netdev and net/tap set up is there, and works */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/netdev.h"
#include "net/tap.h"
#include "netns.h"
#include "util/err.h"

#define WAIT_MS 5000 /* far above what anything here takes */

struct device {
	int nl, tap, index;
};

static struct in6_addr ip(const char *text)
{
	struct in6_addr out = {0};

	assert_int_equal(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &out), 1);
	return out;
}

static int family_of(const char *text)
{
	return strchr(text, ':') ? AF_INET6 : AF_INET;
}

static int add_addr(const struct device *dev, const char *addr, int prefix_len)
{
	struct in6_addr bytes = ip(addr);

	return netdev_add_addr(dev->nl, dev->index, family_of(addr), &bytes, prefix_len);
}

static int add_route(const struct device *dev, const void *dst, int prefix_len, const void *gateway,
	const void *source, int table)
{
	struct netdev_route route = {AF_INET, dst, prefix_len, gateway, source, table, false};

	return netdev_add_route(dev->nl, dev->index, &route);
}

static int add_default(const struct device *dev, const char *gateway)
{
	struct in6_addr bytes = ip(gateway);

	return netdev_add_default_route(dev->nl, dev->index, family_of(gateway), &bytes);
}

/* The prefix length with which @name has @addr, -1 when it has not */
static int prefix_of(const char *name, const char *addr)
{
	struct in6_addr wanted = ip(addr);
	struct ifaddrs *list, *one;
	int found = -1;

	assert_int_equal(getifaddrs(&list), 0);
	for (one = list; one; one = one->ifa_next) {
		size_t off = offsetof(struct sockaddr_in6, sin6_addr), len = 16;

		if (!one->ifa_addr || one->ifa_addr->sa_family != family_of(addr) ||
			strcmp(one->ifa_name, name))
			continue;
		if (one->ifa_addr->sa_family == AF_INET) {
			off = offsetof(struct sockaddr_in, sin_addr);
			len = 4;
		}
		if (memcmp((char *)one->ifa_addr + off, &wanted, len))
			continue;
		found = 0;
		for (size_t i = 0; i < len; i++)
			found += __builtin_popcount(((uint8_t *)one->ifa_netmask)[off + i]);
	}
	freeifaddrs(list);
	return found;
}

static int link_local_count(const char *name)
{
	struct ifaddrs *list, *one;
	int count = 0;

	assert_int_equal(getifaddrs(&list), 0);
	for (one = list; one; one = one->ifa_next)
		if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET6 &&
			!strcmp(one->ifa_name, name) &&
			IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr))
			count++;
	freeifaddrs(list);
	return count;
}

static int device_ioctl(int fd, unsigned long what, const char *name)
{
	struct ifreq request = {0};

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(fd, what, &request) < 0)
		return -errno;
	return what == SIOCGIFMTU ? request.ifr_mtu : request.ifr_flags;
}

static int read_conf(const char *family, const char *name, const char *key)
{
	char path[128];
	int value = -1;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &value), 1);
	fclose(file);
	return value;
}

/* The address that the kernel would send from to @dst; "" when there is no route */
static const char *source_for(const char *dst, char text[INET6_ADDRSTRLEN])
{
	struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct in6_addr bytes = ip(dst);
	int family = family_of(dst);
	struct sockaddr *sa = family == AF_INET ? (void *)&sa4 : (void *)&sa6;
	socklen_t len = family == AF_INET ? sizeof(sa4) : sizeof(sa6);

	memcpy(&sa4.sin_addr, &bytes, sizeof(sa4.sin_addr));
	sa6.sin6_addr = bytes;
	text[0] = '\0';
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, sa, len) == 0 && getsockname(fd, sa, &len) == 0)
		inet_ntop(family,
			family == AF_INET ? (void *)&sa4.sin_addr : (void *)&sa6.sin6_addr, text,
			INET6_ADDRSTRLEN);
	close(fd);
	return text;
}

/* A TAP as a sandbox has it, up, without addresses */
static int device_setup(void **state)
{
	static struct device dev;
	struct err err = {0};

	dev.nl = netdev_open();
	dev.tap = tap_open("tap0", false, &err);
	if (dev.tap < 0)
		print_error("%s\n", err.text);
	if (dev.nl < 0 || dev.tap < 0)
		return -1;
	dev.index = netdev_index(dev.nl, "tap0");
	*state = &dev;
	return netdev_set_addrgen_none(dev.nl, dev.index) || netdev_set_up(dev.nl, dev.index, 9000);
}

static int device_teardown(void **state)
{
	struct device *dev = *state;

	close(dev->tap);
	close(dev->nl);
	return if_nametoindex("tap0") ? -1 : 0;
}

static void test_index(void **state)
{
	(void)state;
	int nl = netdev_open();

	assert_true(nl >= 0);
	assert_int_equal(fcntl(nl, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(netdev_index(nl, "lo"), if_nametoindex("lo"));
	assert_int_equal(netdev_index(nl, "none0"), -ENODEV);
	assert_int_equal(netdev_index(nl, "a-name-that-is-far-too-long"), -ENODEV);
	close(nl);
}

static void test_lo_up(void **state)
{
	(void)state;
	int nl = netdev_open();

	assert_int_equal(device_ioctl(nl, SIOCGIFFLAGS, "lo") & IFF_UP, 0);
	assert_int_equal(netdev_set_up(nl, netdev_index(nl, "lo"), 0), 0);
	assert_int_equal(device_ioctl(nl, SIOCGIFFLAGS, "lo") & IFF_UP, IFF_UP);
	assert_int_equal(device_ioctl(nl, SIOCGIFMTU, "lo"), 65536);
	assert_int_equal(prefix_of("lo", "127.0.0.1"), 8);
	assert_int_equal(prefix_of("lo", "::1"), 128);
	assert_int_equal(netdev_set_up(nl, 12345, 0), -ENODEV);
	close(nl);
}

static void test_tap_flags(void **state)
{
	(void)state;
	struct err err = {0};

	for (int vnet_hdr = 0; vnet_hdr < 2; vnet_hdr++) {
		struct ifreq request = {0};
		int fd = tap_open("flags0", vnet_hdr, &err);

		assert_true(fd >= 0);
		assert_int_equal(ioctl(fd, TUNGETIFF, &request), 0);
		assert_string_equal(request.ifr_name, "flags0");
		assert_int_equal(request.ifr_flags & (IFF_TAP | IFF_TUN | IFF_NO_PI | IFF_VNET_HDR),
			IFF_TAP | IFF_NO_PI | (vnet_hdr ? IFF_VNET_HDR : 0));
		assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
		assert_int_equal(tap_open("flags0", vnet_hdr, &err), -EBUSY);
		assert_int_equal(err.code, EBUSY);
		assert_non_null(strstr(err.text, "flags0"));
		close(fd);
		assert_int_equal(if_nametoindex("flags0"), 0);
	}
}

static void test_tun_flags(void **state)
{
	(void)state;
	struct ifreq request = {0};
	struct err err = {0};
	int header_bytes = 0, fd = tap_open_tun("tun7", &err);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNGETIFF, &request), 0);
	assert_string_equal(request.ifr_name, "tun7");
	assert_int_equal(request.ifr_flags & (IFF_TAP | IFF_TUN | IFF_NO_PI | IFF_VNET_HDR),
		IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(ioctl(fd, TUNGETVNETHDRSZ, &header_bytes), 0);
	assert_int_equal(header_bytes, 10);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(tap_open_tun("tun7", &err), -EBUSY);
	close(fd);
	assert_int_equal(if_nametoindex("tun7"), 0);
}

static void test_tap_names(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "tap%d", "sixteen-letters0", "a/b", ".", "lo"};
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = (struct err){0};
		assert_int_equal(tap_open(bad[i], false, &err), -EINVAL);
		assert_int_equal(err.code, EINVAL);
		assert_true(err.text[0] != '\0');
	}
}

/* What a process without any capability gets; the child's exit status counts what was wrong */
static void test_without_rights(void **state)
{
	const struct device *dev = *state;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		cap_t none = cap_init();
		struct err err = {0};
		int wrong = cap_set_proc(none) != 0;

		wrong += tap_open("norights0", false, &err) != -EPERM;
		wrong += strstr(err.text, "CAP_NET_ADMIN") == NULL;
		wrong += add_addr(dev, "10.9.9.9", 24) != -EPERM;
		wrong += netdev_set_up(dev->nl, dev->index, 0) != -EPERM;
		wrong += netdev_set_route_localnet(dev->nl, dev->index) != -EPERM;
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_addresses(void **state)
{
	const struct device *dev = *state;
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = ip("fd00::100")};

	assert_int_equal(device_ioctl(dev->nl, SIOCGIFMTU, "tap0"), 9000);
	assert_int_equal(device_ioctl(dev->nl, SIOCGIFFLAGS, "tap0") & IFF_UP, IFF_UP);
	assert_int_equal(add_addr(dev, "10.0.2.100", 24), 0);
	assert_int_equal(add_addr(dev, "10.0.2.100", 24), -EEXIST);
	assert_int_equal(prefix_of("tap0", "10.0.2.100"), 24);
	assert_int_equal(add_addr(dev, "fd00::100", 64), 0);
	assert_int_equal(prefix_of("tap0", "fd00::100"), 64);
	/* at once: an address that is still being probed cannot be bound */
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(add_addr(dev, "10.0.3.1", 33), -EINVAL);
	assert_int_equal(add_addr(dev, "10.0.3.1", -1), -EINVAL);
	assert_int_equal(add_addr(dev, "fd00::101", 129), -EINVAL);
	assert_int_equal(netdev_add_addr(dev->nl, dev->index, AF_UNIX, &sa, 8), -EAFNOSUPPORT);
}

static void test_default_routes(void **state)
{
	const struct device *dev = *state;
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(add_addr(dev, "10.0.2.100", 24), 0);
	assert_int_equal(add_addr(dev, "fd00::100", 64), 0);
	assert_string_equal(source_for("192.0.2.1", text), "");
	assert_string_equal(source_for("2001:db8::1", text), "");
	assert_int_equal(add_default(dev, "10.0.2.2"), 0);
	assert_int_equal(add_default(dev, "10.0.2.2"), -EEXIST);
	assert_int_equal(add_default(dev, "fd00::2"), 0);
	assert_string_equal(source_for("192.0.2.1", text), "10.0.2.100");
	assert_string_equal(source_for("2001:db8::1", text), "fd00::100");
	assert_int_equal(add_default(dev, "10.77.0.1"), -ENETUNREACH);
}

/* A route in the local table wins over 127.0.0.0/8 on lo, for that address alone */
static void test_route_tables(void **state)
{
	const struct device *dev = *state;
	struct in6_addr vip = ip("127.0.5.1"), net = ip("10.50.0.0"), gateway = ip("10.0.2.2");
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(add_addr(dev, "10.0.2.100", 24), 0);
	assert_string_equal(source_for("127.0.5.1", text), "127.0.0.1");
	assert_int_equal(add_route(dev, &vip, 32, NULL, NULL, RT_TABLE_LOCAL), 0);
	assert_string_equal(source_for("127.0.5.1", text), "10.0.2.100");
	assert_string_equal(source_for("127.0.5.2", text), "127.0.0.1");
	assert_int_equal(add_route(dev, &net, 16, &gateway, NULL, RT_TABLE_MAIN), 0);
	assert_string_equal(source_for("10.50.1.1", text), "10.0.2.100");
	assert_string_equal(source_for("10.51.1.1", text), "");
	/* a table that nothing looks into */
	net = ip("10.60.0.0");
	assert_int_equal(add_route(dev, &net, 16, &gateway, NULL, 1000), 0);
	assert_string_equal(source_for("10.60.1.1", text), "");
}

/* As a mesh has it: the device's own address in 127/8, others of 127/8 behind it */
static void test_route_source(void **state)
{
	const struct device *dev = *state;
	struct in6_addr self = ip("127.0.42.1"), peer = ip("127.0.42.2"), none = ip("10.9.9.9");
	struct netdev_route route = {AF_INET, &peer, 32, NULL, &self, RT_TABLE_LOCAL, false};
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(add_addr(dev, "10.0.2.100", 24), 0);
	assert_int_equal(add_addr(dev, "127.0.42.1", 32), 0);
	assert_int_equal(netdev_set_route_localnet(dev->nl, dev->index), 0);
	assert_int_equal(add_route(dev, &peer, 32, NULL, &none, RT_TABLE_LOCAL), -EINVAL);
	assert_int_equal(netdev_add_route(dev->nl, dev->index, &route), 0);
	assert_int_equal(netdev_add_route(dev->nl, dev->index, &route), -EEXIST);
	assert_string_equal(source_for("127.0.42.2", text), "127.0.42.1");
	assert_int_equal(netdev_del_route(dev->nl, dev->index, &route), 0);
	assert_int_equal(netdev_del_route(dev->nl, dev->index, &route), -ESRCH);
	assert_string_equal(source_for("127.0.42.2", text), "127.0.0.1");
	assert_int_equal(netdev_del_addr(dev->nl, dev->index, AF_INET, &self, 32), 0);
	assert_int_equal(netdev_del_addr(dev->nl, dev->index, AF_INET, &self, 32), -EADDRNOTAVAIL);
	assert_int_equal(prefix_of("tap0", "127.0.42.1"), -1);
	assert_int_equal(prefix_of("tap0", "10.0.2.100"), 24);
}

/* Down: routes are lost, addresses stay */
static void test_down(void **state)
{
	const struct device *dev = *state;
	struct in6_addr peer = ip("127.0.42.2");
	struct netdev_route route = {AF_INET, &peer, 32, NULL, NULL, RT_TABLE_LOCAL, false};

	assert_int_equal(add_addr(dev, "127.0.42.1", 32), 0);
	assert_int_equal(netdev_add_route(dev->nl, dev->index, &route), 0);
	assert_int_equal(netdev_set_down(dev->nl, dev->index), 0);
	assert_int_equal(device_ioctl(dev->nl, SIOCGIFFLAGS, "tap0") & IFF_UP, 0);
	assert_int_equal(netdev_set_up(dev->nl, dev->index, 0), 0);
	assert_int_equal(netdev_del_route(dev->nl, dev->index, &route), -ESRCH);
	assert_int_equal(prefix_of("tap0", "127.0.42.1"), 32);
	assert_int_equal(device_ioctl(dev->nl, SIOCGIFMTU, "tap0"), 9000);
}

static void test_addrgen(void **state)
{
	const struct device *dev = *state;
	struct err err;

	assert_int_equal(link_local_count("tap0"), 0);
	/* the same without it does get one, so the line above says something */
	int other = tap_open("auto0", false, &err);
	assert_true(other >= 0);
	assert_int_equal(netdev_set_up(dev->nl, netdev_index(dev->nl, "auto0"), 0), 0);
	assert_int_equal(link_local_count("auto0"), 1);
	close(other);
}

static void test_write_conf(void **state)
{
	(void)state;
	int result = netdev_write_conf(AF_INET6, "tap0", "accept_ra", 0);

	if (result == -EROFS || result == -EACCES)
		skip();
	assert_int_equal(result, 0);
	assert_int_equal(read_conf("ipv6", "tap0", "accept_ra"), 0);
	assert_int_equal(netdev_write_conf(AF_INET, "tap0", "rp_filter", 2), 0);
	assert_int_equal(read_conf("ipv4", "tap0", "rp_filter"), 2);
	assert_int_equal(netdev_write_conf(AF_INET, "none0", "rp_filter", 2), -ENOENT);
	assert_int_equal(netdev_write_conf(AF_INET, "../conf/tap0", "rp_filter", 2), -EINVAL);
	assert_int_equal(netdev_write_conf(AF_INET, "tap0", "../tap0/rp_filter", 2), -EINVAL);
	assert_int_equal(netdev_write_conf(AF_UNIX, "tap0", "rp_filter", 2), -EAFNOSUPPORT);
	char text[8];
	assert_int_equal(netdev_read_sysctl("ipv4/conf/tap0/rp_filter", text, sizeof(text)), 0);
	assert_string_equal(text, "2");
	assert_int_equal(netdev_read_sysctl("ipv4/none", text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
}

/* Wait until @fd is readable; the result of poll */
static int wait_readable(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, timeout_ms);
}

static uint16_t checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void device_mac(const struct device *dev, uint8_t mac[6])
{
	struct ifreq request = {.ifr_name = "tap0"};

	assert_int_equal(ioctl(dev->nl, SIOCGIFHWADDR, &request), 0);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
}

/* A datagram from 10.0.2.2 to 127.0.0.1:@port comes in over the TAP */
static void inject_udp(const struct device *dev, uint16_t port_be)
{
	struct {
		uint8_t dst[6], src[6];
		uint16_t type;
		struct iphdr ip;
		struct udphdr udp;
		char text[4];
	} __attribute__((packed)) frame = {
		.src = {0x52, 0x55, 10, 0, 2, 2},
		.type = htons(0x0800),
		.ip = {.version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.tot_len = htons(32),
			.saddr = htonl(0x0a000202),
			.daddr = htonl(0x7f000001)},
		.udp = {.source = htons(53), .dest = port_be, .len = htons(12)},
		.text = "ping",
	};

	device_mac(dev, frame.dst);
	struct iphdr header = frame.ip;
	frame.ip.check = checksum(&header, sizeof(header), 0);
	assert_int_equal(write(dev->tap, &frame, sizeof(frame)), sizeof(frame));
}

static void test_route_localnet(void **state)
{
	const struct device *dev = *state;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sa);
	char text[8];

	assert_int_equal(add_addr(dev, "10.0.2.100", 24), 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	/* without it the kernel drops the datagram; write(2) to a TAP delivers, so no wait */
	inject_udp(dev, sa.sin_port);
	assert_int_equal(wait_readable(fd, 0), 0);
	assert_int_equal(netdev_set_route_localnet(dev->nl, dev->index), 0);
	assert_int_equal(read_conf("ipv4", "tap0", "route_localnet"), 1);
	assert_int_equal(read_conf("ipv4", "lo", "route_localnet"), 0);
	inject_udp(dev, sa.sin_port);
	assert_int_equal(wait_readable(fd, WAIT_MS), 1);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 4);
	close(fd);
}

/* One IPv6 frame of the guest's; anything else is passed over */
struct frame6 {
	uint8_t dst[6], src[6];
	uint16_t type;
	struct ip6_hdr ip;
	uint8_t payload[1500];
} __attribute__((packed));

static void next_frame6(const struct device *dev, struct frame6 *frame)
{
	do {
		assert_int_equal(wait_readable(dev->tap, WAIT_MS), 1);
		assert_true(read(dev->tap, frame, sizeof(*frame)) > 54);
	} while (frame->type != htons(0x86dd));
}

/* The router's answer to the solicitation in @frame */
static void advertise(const struct device *dev, const struct frame6 *ask)
{
	static const uint8_t mac[6] = {0x52, 0x56, 0, 0, 0, 2};
	struct {
		uint8_t dst[6], src[6];
		uint16_t type;
		struct ip6_hdr ip;
		struct nd_neighbor_advert na;
		uint8_t option[8];
	} __attribute__((packed)) frame = {.type = htons(0x86dd), .option = {2, 1}};
	struct ip6_hdr header = {.ip6_plen = htons(32), .ip6_nxt = IPPROTO_ICMPV6, .ip6_hlim = 255};
	struct nd_neighbor_advert na = {0};
	uint32_t sum = 32 + IPPROTO_ICMPV6;

	header.ip6_vfc = 0x60;
	header.ip6_dst = ask->ip.ip6_src;
	memcpy(&header.ip6_src, ask->payload + 8, 16);
	na.nd_na_type = ND_NEIGHBOR_ADVERT;
	na.nd_na_flags_reserved = ND_NA_FLAG_ROUTER | ND_NA_FLAG_SOLICITED | ND_NA_FLAG_OVERRIDE;
	na.nd_na_target = header.ip6_src;
	memcpy(frame.dst, ask->src, 6);
	memcpy(frame.src, mac, 6);
	memcpy(frame.option + 2, mac, 6);
	sum += (uint16_t)~ntohs(checksum(&header.ip6_src, 32, 0));
	sum += (uint16_t)~ntohs(checksum(frame.option, 8, 0));
	na.nd_na_cksum = checksum(&na, sizeof(na), sum);
	frame.ip = header;
	frame.na = na;
	assert_int_equal(write(dev->tap, &frame, sizeof(frame)), sizeof(frame));
}

/* The guest asks for its router and reaches it, and never solicits routers */
static void reach_router6(const struct device *dev)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
	struct frame6 frame;

	assert_int_equal(add_addr(dev, "fd00::100", 64), 0);
	assert_int_equal(add_default(dev, "fd00::2"), 0);
	to.sin6_addr = ip("2001:db8::1");
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sendto(fd, "ping", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
	for (;;) {
		next_frame6(dev, &frame);
		uint8_t type = frame.payload[0];

		if (frame.ip.ip6_nxt == IPPROTO_UDP)
			break;
		if (frame.ip.ip6_nxt != IPPROTO_ICMPV6)
			continue;
		assert_int_not_equal(type, ND_ROUTER_SOLICIT);
		if (type == ND_NEIGHBOR_SOLICIT)
			advertise(dev, &frame);
	}
	assert_memory_equal(frame.dst, ((uint8_t[]){0x52, 0x56, 0, 0, 0, 2}), 6);
	assert_memory_equal(&frame.ip.ip6_dst, &to.sin6_addr, 16);
	close(fd);
}

static void test_neighbours_without_link_local(void **state)
{
	reach_router6(*state);
}

static void test_neighbours_with_link_local(void **state)
{
	const struct device *dev = *state;

	if (netdev_write_conf(AF_INET6, "tap0", "accept_ra", 0) < 0)
		skip();
	assert_int_equal(add_addr(dev, "fe80::100", 64), 0);
	reach_router6(dev);
}

int main(void)
{
#define WITH_DEVICE(test) cmocka_unit_test_setup_teardown(test, device_setup, device_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_lo_up),
		cmocka_unit_test(test_tap_flags),
		cmocka_unit_test(test_tun_flags),
		cmocka_unit_test(test_tap_names),
		WITH_DEVICE(test_without_rights),
		WITH_DEVICE(test_addresses),
		WITH_DEVICE(test_default_routes),
		WITH_DEVICE(test_route_tables),
		WITH_DEVICE(test_route_source),
		WITH_DEVICE(test_down),
		WITH_DEVICE(test_addrgen),
		WITH_DEVICE(test_write_conf),
		WITH_DEVICE(test_route_localnet),
		WITH_DEVICE(test_neighbours_without_link_local),
		WITH_DEVICE(test_neighbours_with_link_local),
	};

	netns_enter_or_skip();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
