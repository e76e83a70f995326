/* SPDX-License-Identifier: Apache-2.0 */
/* test_keyfile - keys from files that nobody else gets at */
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

#include "link/keyfile.h"

static char path[] = "/tmp/nswrap-key-XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	return fd < 0;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void put(const void *bytes, size_t len, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void expect(const void *bytes, size_t len, const char *key, size_t key_len)
{
	struct keyfile out = {.len = 0};

	put(bytes, len, 0600);
	assert_int_equal(keyfile_read(path, &out, NULL), 0);
	assert_int_equal(out.len, key_len);
	assert_memory_equal(out.bytes, key, key_len);
	keyfile_wipe(&out);
	assert_int_equal(out.len, 0);
	assert_int_equal(out.bytes[0], 0);
}

static void the_bytes_are_the_key(void **state)
{
	char longest[KEYFILE_MAX + 2];
	(void)state;

	expect("0123456789abcdef", 16, "0123456789abcdef", 16);
	expect("0123456789abcdef\n", 17, "0123456789abcdef", 16);
	expect("0123456789abcdef\r\n", 18, "0123456789abcdef", 16);
	expect("0123456789abcdef\n\n", 18, "0123456789abcdef\n", 17);
	expect("0123456789\n\0cdefg", 17, "0123456789\n\0cdefg", 17);
	memset(longest, 'k', sizeof(longest));
	memcpy(longest + KEYFILE_MAX, "\r\n", 2);
	expect(longest, sizeof(longest), longest, KEYFILE_MAX);
}

static void refuse(int code, const char *words)
{
	struct keyfile out;
	struct err err;

	assert_int_equal(keyfile_read(path, &out, &err), -code);
	if (!strstr(err.text, words) || !strstr(err.text, path))
		fail_msg("%s", err.text);
}

static void what_is_no_key_is_refused(void **state)
{
	static const mode_t modes[] = {0640, 0620, 0604, 0602, 0601, 0666};
	char longest[KEYFILE_MAX + 1];
	(void)state;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		put("0123456789abcdef", 16, modes[i]);
		refuse(EPERM, "expected 0600");
	}
	put("0123456789abcde\n", 16, 0600);
	refuse(EINVAL, "too little for a key: expected 16 to 1024 bytes");
	put("", 0, 0600);
	refuse(EINVAL, "too little");
	memset(longest, 'k', sizeof(longest));
	put(longest, sizeof(longest), 0600);
	refuse(EINVAL, "too much");
	if (geteuid() == 0) {
		put("0123456789abcdef", 16, 0600);
		assert_int_equal(chown(path, 12345, 12345), 0);
		refuse(EPERM, "another user's");
	}
	unlink(path);
	refuse(ENOENT, "cannot be read");
	assert_int_equal(mkfifo(path, 0600), 0);
	refuse(EINVAL, "is no file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bytes_are_the_key),
		cmocka_unit_test(what_is_no_key_is_refused),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
