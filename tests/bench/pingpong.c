/* SPDX-License-Identifier: Apache-2.0 */
/* bench/pingpong - one byte there and back again over one connection, for so many seconds */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/addr.h"
#include "util/parse.h"

#define TRIPS_BETWEEN_LOOKS 16 /* at the clock */

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int connect_to(const char *address, const char *port_text, struct err *err)
{
	struct addr addr;
	uint16_t port;
	int on = 1;

	if (addr_parse(address, &addr, err) < 0 || parse_port(port_text, false, &port, err) < 0)
		return -EINVAL;
	addr_set_port(&addr, port);
	int fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &addr.any, addr_len(&addr)) < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* pingpong ADDRESS PORT SECONDS: prints round trips per second. */
int main(int argc, char **argv)
{
	struct err err = {0};
	uint64_t duration_ms = 0;
	char byte = 'p';
	double trips = 0, start, end;

	int fd = argc == 4 ? connect_to(argv[1], argv[2], &err) : -EINVAL;
	if (fd < 0 || parse_seconds(argv[3], &duration_ms, &err) < 0) {
		fprintf(stderr, "pingpong ADDRESS PORT SECONDS: %s\n", strerror(-fd));
		return 1;
	}
	start = now_s();
	do {
		for (int i = 0; i < TRIPS_BETWEEN_LOOKS; i++)
			if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
				perror("connection");
				return 1;
			}
		trips += TRIPS_BETWEEN_LOOKS;
		end = now_s();
	} while (end - start < (double)duration_ms / 1e3);
	printf("%.0f\n", trips / (end - start));
	return 0;
}
