/* SPDX-License-Identifier: Apache-2.0 */
/* test_marked - blocks come and go, and the rest stays as it was */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/agent/marked.h"

#define END "# </Added-by-nswrap>\n"

/* 127.0.0.1 to 127.0.0.4 */
static struct marked_author author(unsigned number)
{
	return (struct marked_author){{htonl(0x7f000000 + number)}, 10 + number, 99, 4026531836};
}

static bool is_not(void *owner, const struct marked_author *author)
{
	return !marked_is_same(owner, author);
}

static void add(struct marked_text *text, unsigned number, const char *lines)
{
	struct marked_author by = author(number);

	assert_int_equal(marked_add(text, &by, lines), 0);
}

static void cut(struct marked_text *text, unsigned number)
{
	struct marked_author by = author(number);
	struct marked_text out;

	assert_int_equal(marked_cut(text, MARKED_ALL, is_not, &by, &out), 0);
	free(text->bytes);
	*text = out;
}

static struct marked_text text_of(const char *text)
{
	return (struct marked_text){strdup(text), strlen(text)};
}

static void assert_text(const struct marked_text *text, const char *expected)
{
	assert_int_equal(text->len, strlen(expected));
	assert_memory_equal(text->bytes, expected, text->len);
}

static void a_block_looks_so(void **state)
{
	struct marked_text text = text_of("127.0.0.1 localhost\n");

	(void)state;
	add(&text, 1, "127.0.0.1 lab\n");
	assert_text(&text, "127.0.0.1 localhost\n"
			   "# <Added-by-nswrap vip=127.0.0.1 agent=11/99/4026531836>\n"
			   "127.0.0.1 lab\n" END);
	assert_int_equal(marked_count(&text), 1);
	free(text.bytes);
}

/* Blocks of up to four agents in a text, taken out in any order: it is as it was. */
static void the_rest_is_untouched(void **state)
{
	static const char *const rests[] = {"", "\n", "a", "a\n", "a\r\n\r\n", "# x\n\n\na b",
		"# <Added-by-NoRouter>\n1.2.3.4 x\n# </Added-by-NoRouter>\n",
		"# <Added-by-nswrap vip=127.0.0.9 agent=1/2/3>\nno end",
		"# <Added-by-nswrap vip=127.0.0.09 agent=1/2/3>\n1.2.3.4 x\n" END,
		"# <Added-by-nswrap vip=127.0.0.9 agent=1/2/3 more>\n1.2.3.4 x\n" END, END};

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		const char *rest = rests[(size_t)rand() % (sizeof(rests) / sizeof(rests[0]))];
		struct marked_text text = text_of(rest);
		unsigned there = 0;

		for (int step = 0; step < 12; step++) {
			unsigned number = (unsigned)rand() % 4;

			if (there & 1U << number)
				cut(&text, number);
			else
				add(&text, number, rand() % 2 ? "x y\n" : "");
			there ^= 1U << number;
			assert_int_equal(marked_count(&text), (size_t)__builtin_popcount(there));
		}
		struct marked_text only;
		assert_int_equal(marked_cut(&text, MARKED_REST, NULL, NULL, &only), 0);
		assert_text(&only, rest);
		free(only.bytes);
		for (unsigned number = 0; number < 4; number++)
			cut(&text, number);
		assert_text(&text, rest);
		free(text.bytes);
	}
}

/* What others write behind a block, or in front of it, is there afterwards. */
static void others_write_too(void **state)
{
	struct marked_text text = text_of("first");

	(void)state;
	add(&text, 1, "x y\n");
	add(&text, 2, "x y\n");
	text.bytes = realloc(text.bytes, text.len + 10);
	memcpy(text.bytes + text.len, "last\n", 5);
	text.len += 5;
	cut(&text, 1);
	cut(&text, 2);
	assert_text(&text, "first\nlast\n");
	free(text.bytes);
}

/* The newline belongs to who has added it, unless somebody's line needs it. */
static void others_write_between(void **state)
{
	struct marked_text text = text_of("first");

	(void)state;
	add(&text, 1, "x y\n");
	text.bytes = realloc(text.bytes, text.len + 10);
	memcpy(text.bytes + text.len, "mid\n", 4);
	text.len += 4;
	add(&text, 2, "x y\n");
	cut(&text, 1);
	cut(&text, 2);
	assert_text(&text, "first\nmid\n");
	free(text.bytes);
}

static void blocks_alone(void **state)
{
	struct marked_text text = text_of("first"), blocks;
	struct marked_author by = author(1);

	(void)state;
	add(&text, 1, "x y\n");
	add(&text, 2, "z\n");
	assert_int_equal(marked_cut(&text, MARKED_BLOCKS, is_not, &by, &blocks), 0);
	assert_text(&blocks, "# <Added-by-nswrap vip=127.0.0.2 agent=12/99/4026531836>\nz\n" END);
	free(blocks.bytes);
	free(text.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_looks_so),
		cmocka_unit_test(the_rest_is_untouched),
		cmocka_unit_test(others_write_too),
		cmocka_unit_test(others_write_between),
		cmocka_unit_test(blocks_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
