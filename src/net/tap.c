/* SPDX-License-Identifier: Apache-2.0 */
/* net/tap - virtual network devices whose other end is a file descriptor */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "util/err.h"
#include "util/fd.h"
#include "util/log.h"

#define DEVICE "/dev/net/tun"

/* @or_else: what a person may do instead of the cure; "" for nothing */
static int explain_open(int code, const char *or_else, struct err *err)
{
	const char *trouble;

	if (code == ENOENT || code == ENODEV || code == ENXIO)
		trouble = DEVICE " is missing or the kernel module tun is not loaded: "
				 "modprobe tun (as root)";
	else if (code == EACCES)
		trouble = "no permission to open " DEVICE ": the administrator gives it mode 0666 "
			  "(chmod 0666 " DEVICE ")";
	else if (code == EPERM)
		trouble = DEVICE " may not be opened here (a container without that device?): "
				 "add the device to the container";
	else
		return err_sys(err, code, "cannot open " DEVICE);
	return err_set(err, code, "%s%s", trouble, or_else);
}

static int explain_attach(int code, const char *name, struct err *err)
{
	switch (code) {
	case EPERM:
		return err_set(err, code,
			"cannot make the network device %s: that takes CAP_NET_ADMIN over the "
			"network namespace, and a security module may forbid it",
			name);
	case EBUSY:
		return err_set(err, code, "the network device %s exists and is in use", name);
	case EINVAL:
		return err_set(err, code,
			"cannot make the network device %s: not a name for a TAP or TUN device, or "
			"a device of another kind has it",
			name);
	default:
		return err_sys(err, code, "cannot make the network device %s", name);
	}
}

/* @flags as for TUNSETIFF: IFF_TAP or IFF_TUN and what goes with it */
static int device_open(const char *name, short flags, const char *or_else, struct err *err)
{
	struct ifreq request = {.ifr_flags = flags};
	_cleanup_fd_ int fd = -1;

	/* the kernel would pick a name for "", and put a number in place of "%d" */
	if (!name[0] || strchr(name, '%') || strlen(name) >= sizeof(request.ifr_name))
		return err_set(err, EINVAL, "\"%s\" cannot be the name of a network device", name);
	memcpy(request.ifr_name, name, strlen(name));
	fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return explain_open(errno, or_else, err);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return explain_attach(errno, name, err);
	return fd_take(&fd);
}

int tap_open(const char *name, bool vnet_hdr, struct err *err)
{
	int flags = IFF_TAP | IFF_NO_PI | (vnet_hdr ? IFF_VNET_HDR : 0);

	return device_open(name, (short)flags, ", or use --network none", err);
}

int tap_open_tun(const char *name, struct err *err)
{
	int header_bytes = TAP_HEADER_BYTES; /* newer kernels might begin with more */
	_cleanup_fd_ int fd = device_open(name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "", err);

	if (fd < 0)
		return fd;
	if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0)
		return err_sys(err, errno, "cannot set up the network device %s", name);
	return fd_take(&fd);
}

void tap_leave_to_namespace(int fd)
{
	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		log_debug("a network device goes with its descriptor: %s", strerror(errno));
}

ssize_t tap_read(int fd, void *frame, size_t cap_bytes)
{
	unsigned char header[TAP_HEADER_BYTES];
	struct iovec parts[] = {{header, sizeof(header)}, {frame, cap_bytes}};
	ssize_t got = readv(fd, parts, 2);

	if (got < 0)
		return -errno;
	return got > TAP_HEADER_BYTES ? got - TAP_HEADER_BYTES : 0;
}

/*
 * Said as a "partial" checksum, which the device would still have to fill in: the receiving stack
 * takes it as good (include/linux/skbuff.h), and for its own sockets the kernel never fills it in.
 */
static void describe_checksum(
	const unsigned char *frame, size_t len, size_t ip_at, struct virtio_net_hdr *header)
{
	const unsigned char *ip = frame + ip_at;
	size_t start, offset;
	uint8_t proto;

	if (len >= ip_at + 20 && ip[0] >> 4 == 4) {
		start = ip_at + (size_t)(ip[0] & 0xf) * 4;
		proto = ip[9];
	} else if (len >= ip_at + 40 && ip[0] >> 4 == 6) {
		start = ip_at + 40;
		proto = ip[6];
	} else {
		return;
	}
	offset = proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 0;
	if (offset == 0 || start + offset + 2 > len)
		return;
	header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header->csum_start = (uint16_t)start;
	header->csum_offset = (uint16_t)offset;
}

int tap_write(int fd, const void *frame, size_t len, size_t ip_at)
{
	struct virtio_net_hdr header = {0};
	struct iovec parts[] = {{&header, TAP_HEADER_BYTES}, {(void *)frame, len}};

	describe_checksum(frame, len, ip_at, &header);
	return writev(fd, parts, 2) < 0 ? -errno : 0;
}
