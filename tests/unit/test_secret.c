/* SPDX-License-Identifier: Apache-2.0 */
/* test_secret - passwords from files that are fit for them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mesh/manifest/secret.h"

static char dir[] = "/tmp/nswrap-secret-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/p", dir);
	unlink(path);
	return rmdir(dir);
}

/* "p" in the folder. */
static void put(const void *bytes, size_t len, mode_t mode)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/p", dir);
	FILE *file = fopen(path, "w");
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void the_first_line_is_it(void **state)
{
	static const struct {
		const char *text, *secret;
	} rows[] = {
		{"s3cret", "s3cret"},
		{"s3cret\n", "s3cret"},
		{"s3cret\r\n", "s3cret"},
		{" with blanks \nmore\n", " with blanks "},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
	};
	char longest[257], path[64];
	struct err err;
	char *secret;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(rows[i].text, strlen(rows[i].text), i % 2 ? 0400 : 0600);
		assert_int_equal(secret_read("p", dir, &secret, &err), 0);
		assert_string_equal(secret, rows[i].secret);
		free(secret);
		unlink(strcat(strcpy(path, dir), "/p"));
	}
	memset(longest, 'x', sizeof(longest));
	longest[255] = '\n';
	put(longest, sizeof(longest), 0600);
	assert_int_equal(secret_read("p", "/nowhere", &secret, &err), -ENOENT);
	assert_int_equal(secret_read(path, "/nowhere", &secret, &err), 0); /* absolute */
	assert_int_equal(strlen(secret), 255);
	free(secret);
	setenv("HOME", dir, 1);
	assert_int_equal(secret_read("~/p", "/nowhere", &secret, &err), 0);
	free(secret);
}

static void refuse(const char *path, int result, const char *words)
{
	struct err err = {.text = ""};
	char *secret = NULL;

	assert_int_equal(secret_read(path, dir, &secret, &err), result);
	assert_null(secret);
	if (!strstr(err.text, words))
		fail_msg("%s: expected %s", err.text, words);
	assert_null(strstr(err.text, "hush"));
}

static void what_is_no_secret_is_refused(void **state)
{
	char path[64], longest[256];

	(void)state;
	static const mode_t modes[] = {0640, 0620, 0610, 0604, 0602, 0601, 0666};
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		put("hush", 4, modes[i]);
		refuse("p", -EPERM, "expected 0600");
	}
	put("", 0, 0600);
	refuse("p", -EINVAL, "nothing in its first line");
	put("\nhush\n", 6, 0600);
	refuse("p", -EINVAL, "nothing in its first line");
	put("hu\0sh", 5, 0600);
	refuse("p", -EINVAL, "a control character");
	put("hu\tsh", 5, 0600);
	refuse("p", -EINVAL, "a control character");
	memset(longest, 'x', sizeof(longest));
	put(longest, sizeof(longest), 0600);
	refuse("p", -EINVAL, "too much");
	refuse(".", -EINVAL, "is no file");
	refuse("/dev/null", -EINVAL, "is no file");
	unlink(strcat(strcpy(path, dir), "/p"));
	refuse("p", -ENOENT, "cannot be read");
	assert_int_equal(mkfifo(path, 0600), 0);
	refuse("p", -EINVAL, "is no file");
	unlink(path);
	if (geteuid() == 0) {
		put("hush", 4, 0600);
		assert_int_equal(chown(path, 12345, 12345), 0);
		refuse("p", -EPERM, "another user's");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_line_is_it),
		cmocka_unit_test(what_is_no_secret_is_refused),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
