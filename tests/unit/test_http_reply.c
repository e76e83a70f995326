/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_reply - what the proxy itself answers can be read by people and by clients */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/http_head.h"
#include "proxy/http_reply.h"

static char text[2000];
static struct http_head head;

/* Its body; the head is in head. */
static const char *format(struct http_reply reply)
{
	struct http_fault fault;
	size_t len, seen = 0;
	char *out = http_reply_format(&reply, 784111777, &len);

	assert_non_null(out);
	assert_true(len < sizeof(text));
	memcpy(text, out, len);
	text[len] = '\0';
	free(out);
	ssize_t head_len = http_head_find(text, len, &seen, &fault);
	assert_true(head_len > 0);
	assert_int_equal(http_head_read_answer(text, (size_t)head_len, &head, &fault), 0);
	assert_int_equal(head.status, reply.status);
	if (!reply.is_head)
		assert_int_equal(head.length, len - (size_t)head_len);
	assert_int_equal(head.keeps_alive, reply.keeps_client);
	return text + head_len;
}

static void test_line(void **state)
{
	(void)state;
	assert_string_equal(
		format((struct http_reply){502, "dns_error", "web: no such host", false, true}),
		"nswrap: web: no such host\n");
	assert_true(http_text_equals(http_head_field(&head, "Proxy-Status", NULL)->value,
		"nswrap; error=dns_error; details=\"web: no such host\""));
	assert_non_null(http_head_field(&head, "Date", NULL));
	assert_string_equal(
		format((struct http_reply){400, NULL, "a \"b\" \\ \x01\n\xc3\xa4", true, false}),
		"");
	assert_true(http_text_equals(http_head_field(&head, "Proxy-Status", NULL)->value,
		"nswrap; details=\"a \\\"b\\\" \\\\ \\\\x01\\\\x0a??\""));
	assert_int_equal(head.length, strlen("nswrap: a \"b\" \\ \\x01\\x0a\xc3\xa4\n"));
}

static void test_challenge(void **state)
{
	(void)state;
	format((struct http_reply){407, NULL, "who are you?", false, true});
	assert_true(http_text_equals(http_head_field(&head, "Proxy-Authenticate", NULL)->value,
		"Basic realm=\"nswrap\", charset=\"UTF-8\""));
	format((struct http_reply){400, NULL, "no", false, true});
	assert_null(http_head_field(&head, "Proxy-Authenticate", NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_challenge),
	};

	return cmocka_run_group_tests_name("proxy/http_reply", tests, NULL, NULL);
}
