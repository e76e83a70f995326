/* SPDX-License-Identifier: Apache-2.0 */
/* net/netdev - network devices, addresses and routes of the current network namespace */
#include "net/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netlink.h"
#include "util/fd.h"

/* Bytes of an address of @family, 0 for a family that is not IP */
static size_t family_bytes(int family)
{
	if (family == AF_INET)
		return sizeof(struct in_addr);
	return family == AF_INET6 ? sizeof(struct in6_addr) : 0;
}

int netdev_open(void)
{
	return netlink_open(NETLINK_ROUTE);
}

int netdev_index(int nl, const char *name)
{
	struct ifreq request = {0};

	if (strlen(name) >= sizeof(request.ifr_name))
		return -ENODEV;
	memcpy(request.ifr_name, name, strlen(name));
	/* every socket takes this ioctl; RTM_GETLINK answers with a kilobyte of statistics */
	return ioctl(nl, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

/* @flags: IFF_UP or 0 */
static int set_flags(int nl, int ifindex, unsigned flags, unsigned mtu)
{
	struct ifinfomsg body = {.ifi_index = ifindex, .ifi_flags = flags, .ifi_change = IFF_UP};
	struct netlink_msg msg;

	netlink_begin(&msg, RTM_SETLINK, NLM_F_ACK, &body, sizeof(body));
	if (mtu)
		netlink_put_u32(&msg, IFLA_MTU, mtu);
	return netlink_call(nl, &msg, NULL, 0);
}

int netdev_set_up(int nl, int ifindex, unsigned mtu)
{
	return set_flags(nl, ifindex, IFF_UP, mtu);
}

int netdev_set_down(int nl, int ifindex)
{
	return set_flags(nl, ifindex, 0, 0);
}

static int change_addr(int nl, uint16_t type, uint16_t flags, int ifindex, int family,
	const void *addr, int prefix_len)
{
	struct ifaddrmsg body = {
		.ifa_family = (unsigned char)family,
		.ifa_prefixlen = (unsigned char)prefix_len,
		.ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_scope = RT_SCOPE_UNIVERSE,
		.ifa_index = (unsigned)ifindex,
	};
	struct netlink_msg msg;

	if (!family_bytes(family))
		return -EAFNOSUPPORT;
	netlink_begin(&msg, type, NLM_F_ACK | flags, &body, sizeof(body));
	netlink_put(&msg, IFA_LOCAL, addr, family_bytes(family));
	netlink_put(&msg, IFA_ADDRESS, addr, family_bytes(family));
	return netlink_call(nl, &msg, NULL, 0);
}

int netdev_add_addr(int nl, int ifindex, int family, const void *addr, int prefix_len)
{
	return change_addr(
		nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, family, addr, prefix_len);
}

int netdev_del_addr(int nl, int ifindex, int family, const void *addr, int prefix_len)
{
	return change_addr(nl, RTM_DELADDR, 0, ifindex, family, addr, prefix_len);
}

static int change_route(
	int nl, uint16_t type, uint16_t flags, int ifindex, const struct netdev_route *route)
{
	struct rtmsg body = {
		.rtm_family = (unsigned char)route->family,
		.rtm_dst_len = (unsigned char)route->prefix_len,
		.rtm_table = RT_TABLE_UNSPEC, /* RTA_TABLE has the number: it may exceed 255 */
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = route->is_local  ? RT_SCOPE_HOST
			     : route->gateway ? RT_SCOPE_UNIVERSE
					      : RT_SCOPE_LINK,
		.rtm_type = route->is_local ? RTN_LOCAL : RTN_UNICAST,
	};
	size_t len = family_bytes(route->family);
	struct netlink_msg msg;

	if (!len)
		return -EAFNOSUPPORT;
	netlink_begin(&msg, type, NLM_F_ACK | flags, &body, sizeof(body));
	if (route->prefix_len > 0)
		netlink_put(&msg, RTA_DST, route->dst, len);
	if (route->gateway)
		netlink_put(&msg, RTA_GATEWAY, route->gateway, len);
	if (route->source)
		netlink_put(&msg, RTA_PREFSRC, route->source, len);
	netlink_put_u32(&msg, RTA_OIF, (uint32_t)ifindex);
	netlink_put_u32(&msg, RTA_TABLE, (uint32_t)route->table);
	return netlink_call(nl, &msg, NULL, 0);
}

int netdev_add_route(int nl, int ifindex, const struct netdev_route *route)
{
	return change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, ifindex, route);
}

int netdev_del_route(int nl, int ifindex, const struct netdev_route *route)
{
	return change_route(nl, RTM_DELROUTE, 0, ifindex, route);
}

static int change_rule(int nl, uint16_t type, uint16_t flags, const struct netdev_rule *rule)
{
	struct fib_rule_hdr body = {
		.family = (uint8_t)(rule->family ? rule->family : AF_INET),
		.dst_len = rule->dst ? 32 : 0,
		.action = FR_ACT_TO_TBL,
	};
	struct netlink_msg msg;

	netlink_begin(&msg, type, flags | NLM_F_ACK, &body, sizeof(body));
	netlink_put_u32(&msg, FRA_PRIORITY, rule->priority);
	netlink_put_u32(&msg, FRA_TABLE, (uint32_t)rule->table);
	if (rule->dst)
		netlink_put(&msg, FRA_DST, rule->dst, sizeof(*rule->dst));
	if (rule->mark)
		netlink_put_u32(&msg, FRA_FWMARK, rule->mark);
	if (rule->iif)
		netlink_put(&msg, FRA_IIFNAME, rule->iif, strlen(rule->iif) + 1);
	return netlink_call(nl, &msg, NULL, 0);
}

int netdev_add_rule(int nl, const struct netdev_rule *rule)
{
	return change_rule(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
}

int netdev_del_rule(int nl, const struct netdev_rule *rule)
{
	return change_rule(nl, RTM_DELRULE, 0, rule);
}

int netdev_add_default_route(int nl, int ifindex, int family, const void *gateway)
{
	struct netdev_route route = {.family = family, .gateway = gateway, .table = RT_TABLE_MAIN};

	return netdev_add_route(nl, ifindex, &route);
}

/* Set one attribute inside IFLA_AF_SPEC / @family [/ @inner, when not 0] */
static int set_af_spec(int nl, int ifindex, uint16_t family, uint16_t inner, uint16_t type,
	const void *value, size_t len)
{
	struct ifinfomsg body = {.ifi_index = ifindex};
	struct netlink_msg msg;

	netlink_begin(&msg, RTM_SETLINK, NLM_F_ACK, &body, sizeof(body));
	size_t spec = netlink_nest(&msg, IFLA_AF_SPEC);
	size_t af = netlink_nest(&msg, family);
	size_t in = inner ? netlink_nest(&msg, inner) : 0;
	netlink_put(&msg, type, value, len);
	if (inner)
		netlink_nest_end(&msg, in);
	netlink_nest_end(&msg, af);
	netlink_nest_end(&msg, spec);
	return netlink_call(nl, &msg, NULL, 0);
}

int netdev_set_addrgen_none(int nl, int ifindex)
{
	uint8_t mode = IN6_ADDR_GEN_MODE_NONE;

	return set_af_spec(nl, ifindex, AF_INET6, 0, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
}

static int set_conf4(int nl, int ifindex, uint16_t key)
{
	uint32_t on = 1;

	return set_af_spec(nl, ifindex, AF_INET, IFLA_INET_CONF, key, &on, sizeof(on));
}

int netdev_set_route_localnet(int nl, int ifindex)
{
	return set_conf4(nl, ifindex, IPV4_DEVCONF_ROUTE_LOCALNET);
}

int netdev_set_accept_local(int nl, int ifindex)
{
	return set_conf4(nl, ifindex, IPV4_DEVCONF_ACCEPT_LOCAL);
}

int netdev_add_neighbour(int nl, int ifindex, int family, const void *ip, const uint8_t mac[6])
{
	struct ndmsg body = {
		.ndm_family = (uint8_t)family, .ndm_ifindex = ifindex, .ndm_state = NUD_PERMANENT};
	struct netlink_msg msg;

	if (!family_bytes(family))
		return -EAFNOSUPPORT;
	netlink_begin(
		&msg, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
	netlink_put(&msg, NDA_DST, ip, family_bytes(family));
	netlink_put(&msg, NDA_LLADDR, mac, 6);
	return netlink_call(nl, &msg, NULL, 0);
}

/* A descriptor, or -errno. */
static int open_sysctl(const char *key, int flags)
{
	char path[128];
	int len = snprintf(path, sizeof(path), "/proc/sys/net/%s", key);

	if (len < 0 || (size_t)len >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int netdev_write_sysctl(const char *key, const char *value)
{
	_cleanup_fd_ int fd = open_sysctl(key, O_WRONLY);

	return fd < 0 ? fd : fd_write_all(fd, value, strlen(value));
}

int netdev_read_sysctl(const char *key, char *value, size_t cap_bytes)
{
	_cleanup_fd_ int fd = open_sysctl(key, O_RDONLY);
	ssize_t got = fd < 0 ? fd : read(fd, value, cap_bytes - 1);

	value[got < 0 ? 0 : got] = '\0';
	if (got < 0)
		return fd < 0 ? fd : -errno;
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

int netdev_write_conf(int family, const char *name, const char *key, int value)
{
	char path[128], text[16];

	if (!family_bytes(family))
		return -EAFNOSUPPORT;
	if (strchr(name, '/') || strchr(key, '/') || !strcmp(name, "..") || !strcmp(key, ".."))
		return -EINVAL;
	/* one that is cut is too long for the next function, too */
	snprintf(path, sizeof(path), "%s/conf/%s/%s", family == AF_INET ? "ipv4" : "ipv6", name,
		key);
	snprintf(text, sizeof(text), "%d\n", value);
	return netdev_write_sysctl(path, text);
}
