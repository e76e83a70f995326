/* SPDX-License-Identifier: Apache-2.0 */
/* test_parcel - a file as texts for a shell: a shell makes the same file of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mesh/manager/parcel.h"
#include "util/fd.h"

/* Every byte, and each pair of those that printf and a shell read in their own way. */
static size_t make_bytes(unsigned char *out)
{
	static const unsigned char special[] = "%'\\!-0\n\r\0\"$`\x7f\xff";
	size_t len = 0;

	for (unsigned i = 0; i < 256; i++)
		out[len++] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(special); i++)
		for (size_t k = 0; k < sizeof(special); k++) {
			out[len++] = special[i];
			out[len++] = special[k];
		}
	return len;
}

static void test_bytes_arrive(void **state)
{
	static unsigned char bytes[2 * PARCEL_CHUNK_BYTES + 7], came[sizeof(bytes) + 1];
	struct parcel parcel = {.machine = "vax", .bytes = bytes, .len = sizeof(bytes)};
	char path[] = "/tmp/test_parcel.XXXXXX", command[128];
	int fd = mkstemp(path);

	(void)state;
	size_t len = make_bytes(bytes);
	for (size_t i = len; i < sizeof(bytes); i++)
		bytes[i] = bytes[i % len];
	snprintf(command, sizeof(command), "sh >%s", path);
	FILE *shell = popen(command, "w");
	assert_non_null(shell);
	fputs("exec 3>&1 >/dev/null; p() { printf \"$1\" >&3; }\n", shell);
	for (size_t at = 0; at < sizeof(bytes); at += PARCEL_CHUNK_BYTES) {
		char *text = parcel_chunk(&parcel, at);

		assert_non_null(text);
		/* one line, whatever is in it */
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		fputs(text, shell);
		free(text);
	}
	assert_int_equal(pclose(shell), 0);
	assert_int_equal(read(fd, came, sizeof(came)), sizeof(bytes));
	assert_memory_equal(came, bytes, sizeof(bytes));
	close(fd);
	unlink(path);
}

static void write_program(const char *path, unsigned short kind)
{
	Elf64_Ehdr head = {.e_machine = kind};
	FILE *file = fopen(path, "w");

	memcpy(head.e_ident, ELFMAG, SELFMAG);
	fwrite(&head, 1, sizeof(head), file);
	fclose(file);
}

static void test_the_file_of_a_machine(void **state)
{
	static char arm[] = "/tmp/test_parcel.arm", x86[] = "/tmp/test_parcel.x86",
		    none[] = "/tmp/test_parcel.none";
	char *const files[] = {arm, x86, NULL}, *const wrong[] = {none, NULL};
	struct parcel parcel;
	struct err err;

	(void)state;
	write_program(arm, EM_AARCH64);
	write_program(x86, EM_X86_64);
	unlink(none);
	assert_int_equal(parcel_open(&parcel, "arm64", files, &err), 0);
	assert_string_equal(parcel.machine, "aarch64");
	assert_int_equal(parcel.bytes[offsetof(Elf64_Ehdr, e_machine)], EM_AARCH64);
	assert_int_equal(strlen(parcel.hash), 64);
	parcel_free(&parcel);
	assert_int_equal(parcel_open(&parcel, "x86_64", files, &err), 0);
	assert_int_equal(parcel.bytes[offsetof(Elf64_Ehdr, e_machine)], EM_X86_64);
	parcel_free(&parcel);
	/* none of them: beside this test there is none */
	assert_int_equal(parcel_open(&parcel, "vax", files, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no nswrap-agent-vax beside nswrap"));
	assert_int_equal(parcel_open(&parcel, "x86_64", wrong, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot read the agent's file \"/tmp/test_parcel.none\""));
	FILE *file = fopen(none, "w");
	fputs("#!/bin/sh\n", file);
	fclose(file);
	assert_int_equal(parcel_open(&parcel, "x86_64", wrong, &err), -ENOEXEC);
	assert_int_equal(parcel_open(&parcel, "../x", NULL, &err), -EINVAL);
	assert_int_equal(parcel_open(&parcel, "", NULL, &err), -EINVAL);
	unlink(arm);
	unlink(x86);
	unlink(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_arrive),
		cmocka_unit_test(test_the_file_of_a_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
