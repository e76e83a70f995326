/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_socks - messages of clients of SOCKS 4, 4a and 5, and headers of datagrams */
#include <stdlib.h>
#include <string.h>

#include "proxy/socks_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
	if (!condition)
		abort();
}

static void check_host(const struct socks_request *request)
{
	size_t len = strlen(request->host);

	must(len <= SOCKS_HOST_MAX && (len > 0) == !request->is_other_kind);
	for (size_t i = 0; i < len; i++)
		must((unsigned char)request->host[i] > ' ' && request->host[i] != 0x7f);
}

/* The same of all that there is, and of exactly as much as was taken; less is too little. */
static void check_request(const uint8_t *data, size_t size)
{
	struct socks_request request, again;
	ssize_t len = socks_wire_read_request(data, size, &request);

	must(len <= (ssize_t)size && len <= SOCKS_MESSAGE_MAX);
	if (len == 0)
		must(size < SOCKS_MESSAGE_MAX);
	if (len <= 0)
		return;
	check_host(&request);
	must(socks_wire_read_request(data, (size_t)len, &again) == len);
	must(strcmp(request.host, again.host) == 0 && request.port == again.port);
	must(socks_wire_read_request(data, (size_t)len - 1, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct socks_request request;
	struct socks_login login;
	unsigned methods;

	check_request(data, size);
	ssize_t len = socks_wire_read_datagram(data, size, &request);
	must(len <= (ssize_t)size && len != 0);
	if (len > 0)
		check_host(&request);
	len = socks_wire_read_greeting(data, size, &methods);
	must(len <= (ssize_t)size && (len != 0 || size < 257));
	len = socks_wire_read_login(data, size, &login);
	must(len <= (ssize_t)size && (len != 0 || size < 513));
	if (len > 0)
		must(len == 3 + login.user_len + login.password_len &&
			(const uint8_t *)login.password + login.password_len == data + len);
	return 0;
}
