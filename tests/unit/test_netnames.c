/* SPDX-License-Identifier: Apache-2.0 */
/* test_netnames - questions that come before the name server knows anything wait for it; the rest
 * is tests/e2e/test_names.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/response.h"
#include "sandbox/netnames.h"
#include "util/addr.h"

static struct {
	struct loop *loop;
	struct budget budget;
	struct netnames *names;
	int udp, tcp, udp_client, tcp_client;
} now;

/* Bound at an address of its own, with a client that is connected to it. */
static int new_socket(int type, int *client)
{
	struct addr addr = addr_loopback4(0);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, &addr.any, sizeof(addr.v4)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(addr_get_own(fd, &addr), 0);
	*client = socket(AF_INET, type, 0);
	assert_int_equal(connect(*client, &addr.any, sizeof(addr.v4)), 0);
	return fd;
}

static int set_up(void **state)
{
	static const struct net_plan plan = {.mtu = 1500};

	(void)state;
	memset(&now, 0, sizeof(now));
	now.loop = loop_new();
	now.budget.max = 100;
	now.udp = new_socket(SOCK_DGRAM, &now.udp_client);
	now.tcp = new_socket(SOCK_STREAM, &now.tcp_client);
	now.names = netnames_new(now.loop, &now.budget, NULL, &plan, now.udp, now.tcp);
	assert_non_null(now.names);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	netnames_free(now.names);
	close(now.udp);
	close(now.tcp);
	close(now.udp_client);
	close(now.tcp_client);
	loop_free(now.loop);
	return 0;
}

static void run(void)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(now.loop, 1), 0);
}

static int tell(const char *text)
{
	int fd = memfd_create("names", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	int result = netnames_read(now.names, fd);
	close(fd);
	return result;
}

/* The last number of the address that the answer has; -1: there is none. @skip: bytes in front. */
static int answer(int fd, size_t skip)
{
	uint8_t bytes[1024];
	struct addr addrs[2];
	ssize_t len = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (len < 0)
		return -1;
	assert_true((size_t)len > skip);
	assert_int_equal(response_rcode(bytes + skip), DNS_OK);
	assert_int_equal(response_addresses(bytes + skip, (size_t)len - skip, addrs, 2), 1);
	return (int)(ntohl(addrs[0].v4.sin_addr.s_addr) & 0xff);
}

static void who_asks_first_waits(void **state)
{
	uint8_t message[2 + 512] = {0};
	ssize_t len = query_make("lab", QUERY_A, message + 2, 512);

	(void)state;
	assert_true(len > 0);
	message[1] = (uint8_t)len;
	assert_int_equal(send(now.udp_client, message + 2, (size_t)len, 0), len);
	assert_int_equal(send(now.tcp_client, message, (size_t)len + 2, 0), len + 2);
	run();
	assert_int_equal(answer(now.udp_client, 0), -1);
	assert_int_equal(answer(now.tcp_client, 2), -1);
	/* what cannot be read tells nothing */
	assert_int_not_equal(tell("{"), 0);
	run();
	assert_int_equal(answer(now.udp_client, 0), -1);
	assert_int_equal(tell("{\"names\": [[\"lab\", \"10.0.2.7\"]]}"), 0);
	run();
	assert_int_equal(answer(now.udp_client, 0), 7);
	assert_int_equal(answer(now.tcp_client, 2), 7);
	/* and again */
	assert_int_equal(tell("{\"names\": [[\"lab\", \"10.0.2.8\"]]}"), 0);
	assert_int_equal(send(now.udp_client, message + 2, (size_t)len, 0), len);
	run();
	assert_int_equal(answer(now.udp_client, 0), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_asks_first_waits, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
