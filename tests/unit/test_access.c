/* SPDX-License-Identifier: Apache-2.0 */
/* test_access - who may use a proxy */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include "mesh_bed.h"
#include "proxy/access.h"

#define PORT 4300

static bool knows(const struct access *access, const char *user, const char *password)
{
	return access_is_known(access, user, strlen(user), password, strlen(password));
}

static void only_the_very_words_are_known(void **state)
{
	char user[] = "ann", password[] = "s3cret, with blanks ";
	const struct access access = {.user = user, .password = password}, nobody = {.user = NULL};
	char grown[] = "s3cret, with blanks \0", longest[ACCESS_TEXT_MAX + 2] = "";
	struct access copy;

	(void)state;
	assert_int_equal(access_copy(&access, &copy), 0);
	assert_true(access_wants_password(&copy));
	assert_true(knows(&copy, "ann", password));
	assert_false(knows(&copy, "Ann", password));
	assert_false(knows(&copy, "an", password));
	assert_false(knows(&copy, "anna", password));
	assert_false(knows(&copy, "", ""));
	assert_false(knows(&copy, "ann", "s3cret, with blanks"));
	assert_false(knows(&copy, "ann", "s3cret, with blanks!"));
	assert_false(access_is_known(&copy, "ann", 3, grown, sizeof(grown) - 1));
	assert_false(access_is_known(&copy, "ann", 3, NULL, 0));
	access_fini(&copy);
	assert_false(access_wants_password(&copy));
	assert_false(access_wants_password(&nobody));
	assert_false(knows(&nobody, "", ""));

	memset(longest, 'x', ACCESS_TEXT_MAX);
	const struct access full = {.user = longest, .password = longest};
	assert_true(knows(&full, longest, longest));
	longest[ACCESS_TEXT_MAX] = 'x'; /* one more than there can be */
	assert_false(
		access_is_known(&full, longest, ACCESS_TEXT_MAX, longest, ACCESS_TEXT_MAX + 1));
}

/* In a namespace where there is nobody else: see tests/e2e for other users. */
static void programs_of_the_user_may_come_in(void **state)
{
	const struct access only = {.only_user = true}, all = {.only_user = false};
	struct addr peer, at = addr_at("127.0.0.1", PORT), far = addr_at("192.0.2.7", 1);
	int listener = listen_at(&at, 1), client = connect_to(&at);
	char whom[ACCESS_WHOM_BYTES] = "";
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	(void)state;
	assert_int_equal(addr_get_peer(fd, &peer), 0);
	assert_true(access_is_user(&only, PROTO_TCP, fd, &peer, whom, sizeof(whom)));
	assert_true(access_is_user(&all, PROTO_TCP, fd, &far, whom, sizeof(whom)));
	assert_false(access_is_user(&only, PROTO_TCP, fd, &far, whom, sizeof(whom)));
	assert_string_equal(whom, "another machine (192.0.2.7)");
	close(client); /* then nobody is its owner any more */
	assert_false(access_is_user(&only, PROTO_TCP, fd, &peer, whom, sizeof(whom)));
	assert_string_equal(whom, "an unknown user");
	close(fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_very_words_are_known),
		cmocka_unit_test(programs_of_the_user_may_come_in),
	};

	bed_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
