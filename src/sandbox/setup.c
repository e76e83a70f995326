/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/setup - make fresh namespaces into a place to work in */
#include "sandbox/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/diag.h"
#include "net/netdev.h"
#include "net/resolv.h"
#include "net/tap.h"
#include "util/fd.h"
#include "util/log.h"

/* --- mounts ------------------------------------------------------------------------------- */

/*
 * A tmpfs is mounted over one of these for a moment, in our own mount namespace. mount(2) rather
 * than fsmount(2), which the 4.18 kernels of login nodes lack.
 */
static const char *work_dir(void)
{
	static const char *const dirs[] = {"/tmp", "/run", "/mnt", "/usr"};
	size_t i = 0;

	while (i + 1 < sizeof(dirs) / sizeof(dirs[0]) && access(dirs[i], F_OK) < 0)
		i++;
	return dirs[i];
}

/* Mounts made here stay here; those made outside later still come in. */
static int detach_mounts(struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(err, errno, "cannot detach the mounts of the sandbox");
	return 0;
}

static int write_new_file(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	int result = fd_write_all(fd, text, strlen(text));
	if (result < 0)
		fd_close(&fd);
	return result < 0 ? result : fd;
}

static int put_resolv_conf(const char *text, struct err *err)
{
	char target[64], source[64];

	/* before the tmpfs is there: the chain may lead through its directory */
	_cleanup_fd_ int target_fd = open(RESOLV_CONF, O_PATH | O_CLOEXEC);
	if (target_fd < 0)
		return err_sys(err, errno, "cannot put a name server into " RESOLV_CONF);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", target_fd);

	const char *work = work_dir();
	if (mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k") < 0)
		return err_sys(err, errno, "cannot mount a tmpfs for " RESOLV_CONF);
	snprintf(source, sizeof(source), "%s/resolv.conf", work);
	_cleanup_fd_ int source_fd = write_new_file(source, text);
	int result = source_fd < 0 ? source_fd : 0;
	if (result == 0 && mount(source, target, NULL, MS_BIND, NULL) < 0)
		result = -errno;
	umount2(work, MNT_DETACH); /* the bind keeps the file alive */
	if (result < 0)
		return err_sys(err, -result, "cannot mount over " RESOLV_CONF);
	return 0;
}

/* All of them: another nswrap of the same user looks in places that ours does not make use of. */
static int hide_places(const struct places *hidden, struct err *err)
{
	for (size_t i = 0; i < hidden->total; i++) {
		const char *path = hidden->items[i].path;

		if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0700") < 0 &&
			(errno != ENOENT || i == 0))
			return err_sys(err, errno, "cannot hide %s from the sandbox", path);
	}
	return 0;
}

/* What a PID namespace comes with: a /proc that shows it, and the message queues of its IPC. */
static int mount_for_pids(struct err *err)
{
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(err, errno,
			"cannot mount /proc for --pid (in a container: its own /proc must be unmasked)");
	if (mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 &&
		errno != ENOENT)
		log_info("cannot mount /dev/mqueue: %s", strerror(errno));
	return 0;
}

static int setup_mounts(const struct init_start *start, struct err *err)
{
	struct mount_attr nosuid = {.attr_set = MOUNT_ATTR_NOSUID};
	struct err soft;

	if (detach_mounts(err) < 0)
		return -err->code;
	if (start->resolv_text && put_resolv_conf(start->resolv_text, &soft) < 0)
		log_warning("%s; names may not resolve inside", soft.text);
	if (start->config->has_pid_ns && mount_for_pids(err) < 0)
		return -err->code;
	if (hide_places(start->hidden, err) < 0)
		return -err->code;
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &nosuid, sizeof(nosuid)) < 0)
		log_info("cannot make the mounts nosuid: %s", strerror(errno));
	return 0;
}

/* --- network ------------------------------------------------------------------------------ */

/* Sysctls of the namespace are wishes: in many containers /proc/sys is read-only. */
static void set_sysctl(const char *key, const char *value)
{
	int result = netdev_write_sysctl(key, value);

	if (result < 0)
		log_info("cannot set /proc/sys/net/%s to %s: %s", key, value, strerror(-result));
}

static void set_sysctls(const struct init_start *start)
{
	char groups[64];
	gid_t gid = start->config->is_root ? 0 : getgid();

	/* nobody outside can reach these ports, so there is nothing to protect below 1024 */
	set_sysctl("ipv4/ip_unprivileged_port_start", "0");
	snprintf(groups, sizeof(groups), "%u %u", gid, gid);
	set_sysctl("ipv4/ping_group_range", groups);
}

static int setup_addresses(const struct net_plan *plan, int nl, int tap, struct err *err)
{
	/* no automatic addresses: the plan's are there at once and the only ones */
	netdev_set_addrgen_none(nl, tap);
	netdev_write_conf(AF_INET6, NET_TAP_NAME, "accept_ra", 0);
	int result = netdev_set_up(nl, tap, plan->mtu);
	if (result == 0)
		result = netdev_add_addr(nl, tap, AF_INET, &plan->guest, plan->prefix_len);
	if (result == 0)
		result = netdev_add_default_route(nl, tap, AF_INET, &plan->host);
	if (result < 0)
		return err_sys(err, -result, "cannot set up IPv4 on %s", NET_TAP_NAME);
	/* answers of servers on 127.0.0.1 to the slirp port driver leave through the TAP */
	if (netdev_set_route_localnet(nl, tap) < 0)
		netdev_write_conf(AF_INET, NET_TAP_NAME, "route_localnet", 1);
	if (!plan->has_ipv6)
		return 0;
	result = netdev_add_addr(nl, tap, AF_INET6, &plan->link6, plan->prefix6_len);
	if (result == 0)
		result = netdev_add_addr(nl, tap, AF_INET6, &plan->guest6, plan->prefix6_len);
	if (result == 0)
		result = netdev_add_default_route(nl, tap, AF_INET6, &plan->host6);
	if (result < 0)
		log_info("no IPv6 inside: %s", strerror(-result));
	return 0;
}

/* A netlink socket, and the loopback device is up. Returns the socket, or -errno. */
static int open_network(struct err *err)
{
	_cleanup_fd_ int nl = netdev_open();
	if (nl < 0)
		return err_sys(err, -nl, "cannot open a netlink socket");
	int result = netdev_set_up(nl, netdev_index(nl, "lo"), 0);
	if (result < 0)
		return err_sys(err, -result, "cannot bring up the loopback device inside");
	return fd_take(&nl);
}

static int setup_network(const struct net_plan *plan, int *tap_fd, struct err *err)
{
	_cleanup_fd_ int nl = open_network(err);
	if (nl < 0)
		return nl;
	if (!plan->has_outbound)
		return 0;
	_cleanup_fd_ int fd = tap_open(NET_TAP_NAME, true, err);
	if (fd < 0)
		return fd;
	int index = netdev_index(nl, NET_TAP_NAME);
	if (index < 0)
		return err_sys(err, -index, "cannot find %s", NET_TAP_NAME);
	int result = setup_addresses(plan, nl, index, err);
	if (result == 0)
		*tap_fd = fd_take(&fd);
	return result;
}

static int open_namespaces(int fds[INIT_FDS], struct err *err)
{
	static const char *const paths[] = {
		[INIT_FD_USER] = "/proc/self/ns/user",
		[INIT_FD_NET] = "/proc/self/ns/net",
		[INIT_FD_MNT] = "/proc/self/ns/mnt",
		[INIT_FD_PID] = "/proc/self/ns/pid",
		[INIT_FD_IPC] = "/proc/self/ns/ipc",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			return err_sys(err, errno, "cannot open %s", paths[i]);
	}
	return 0;
}

int setup_namespaces(const struct init_start *start, int fds[INIT_FDS], struct err *err)
{
	for (size_t i = 0; i < INIT_FDS; i++)
		fds[i] = -1;
	if (open_namespaces(fds, err) < 0 || setup_mounts(start, err) < 0 ||
		setup_network(&start->config->net, &fds[INIT_FD_TAP], err) < 0)
		return -err->code;
	set_sysctls(start);
	fds[INIT_FD_DIAG] = diag_open();
	if (fds[INIT_FD_DIAG] < 0)
		return err_sys(err, -fds[INIT_FD_DIAG], "cannot open a socket for diagnostics");
	return 0;
}

int setup_try(struct err *err)
{
	if (detach_mounts(err) < 0)
		return -err->code;
	_cleanup_fd_ int nl = open_network(err);
	return nl < 0 ? nl : 0;
}

/* --- the root of the net process ---------------------------------------------------------- */

int setup_empty_root(const char *resolv_text, struct err *err)
{
	const char *work = work_dir();

	if (detach_mounts(err) < 0)
		return -err->code;
	if (mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=0700") <
			0 ||
		chdir(work) < 0 || mkdir("etc", 0755) < 0)
		return err_sys(err, errno, "cannot make an empty root");
	_cleanup_fd_ int fd = write_new_file("etc/resolv.conf", resolv_text);
	if (fd < 0)
		return err_sys(err, -fd, "cannot write " RESOLV_CONF " of the net process");
	/* with both names ".", the old root lands on top of the new one: pivot_root(2) */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot leave the file system");
	return fd_take(&fd);
}

int setup_rewrite(int fd, const char *text)
{
	size_t len = strlen(text);

	if (pwrite(fd, text, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	return 0;
}
