/* SPDX-License-Identifier: Apache-2.0 */
/* test_amend - what is different: written, read, and the same in the end as all that was told */
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

#include "manifest_report.h"
#include "mesh/amend.h"
#include "mesh/configure.h"
#include "mesh/manifest/difference.h"

#define HOSTS 12

static uint64_t seed = 7;

static unsigned random_below(unsigned limit)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % limit;
}

/* "me", and some of the others, each as it is at random. */
static struct manifest make(void)
{
	char text[4096], alias[32];
	size_t len = (size_t)sprintf(text, "hosts:\n  me: {vip: 127.0.42.99}\n");

	for (unsigned i = 0; i < HOSTS; i++)
		if (random_below(2))
			len += (size_t)sprintf(text + len,
				"  h%u: {vip: 127.0.42.%u, ports: [\"%u:a:1\", \"5:a:1/udp\"]%s}\n",
				i, i + 1 + HOSTS * (random_below(8) == 0), 80 + random_below(2),
				random_below(4) ? ""
						: (sprintf(alias, ", aliases: [x%u]", i), alias));
	return parse_good(text);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All that it says, in an order of its own. */
static char *told(const struct mesh_config *config)
{
	json_t *all = configure_encode(config, ~0U), *list;
	static const char *const lists[] = {"others", "nameServers"};

	for (int i = 0; i < 2; i++) {
		char *texts[64];
		size_t count = json_array_size(list = json_object_get(all, lists[i]));
		json_t *sorted = json_array();

		assert_true(count < 64);
		for (size_t k = 0; k < count; k++)
			texts[k] = json_dumps(json_array_get(list, k), JSON_SORT_KEYS);
		qsort(texts, count, sizeof(texts[0]), by_text);
		for (size_t k = 0; k < count; k++) {
			json_array_append_new(sorted, json_string(texts[k]));
			free(texts[k]);
		}
		json_object_set_new(all, lists[i], sorted);
	}
	char *text = json_dumps(all, JSON_SORT_KEYS);
	json_decref(all);
	return text;
}

static void test_differences_add_up_to_all(void **state)
{
	struct manifest before = make();
	struct mesh_config config, whole;
	struct err err;
	unsigned amended = 0;

	(void)state;
	assert_int_equal(manifest_configure(&before, 0, &config), 0);
	for (int round = 0; round < 2000; round++) {
		struct manifest after = make();
		struct difference difference;
		char *is, *should;

		assert_int_equal(difference_make(&before, &after, &difference), 0);
		assert_true(difference.has_same_routes);
		json_t *args = difference_encode(&difference, &before, &after);
		assert_non_null(args);
		assert_int_equal(amend_apply(args, &config, &err), 0);
		assert_int_equal(manifest_configure(&after, 0, &whole), 0);
		is = told(&config);
		should = told(&whole);
		assert_string_equal(is, should);
		amended += difference.ncame + difference.nleft;
		if (difference.ncame + difference.nleft == 0)
			assert_int_equal(before.nhosts, after.nhosts);
		free(is);
		free(should);
		config_free(&whole);
		json_decref(args);
		difference_fini(&difference);
		manifest_free(&before);
		before = after;
	}
	assert_true(amended > 5000);
	config_free(&config);
	manifest_free(&before);
}

static void check_wrong(const char *text, const char *wanted)
{
	struct mesh_config config = {.me.s_addr = 1};
	json_t *args = json_loads(text, 0, NULL);
	struct err err = {0};

	assert_non_null(args);
	config.names = calloc(1, sizeof(*config.names));
	config.nnames = 1;
	config.names[0] = (struct mesh_name){strdup("a"), {1}};
	assert_int_equal(amend_apply(args, &config, &err), -EINVAL);
	assert_string_equal(err.text, wanted);
	assert_int_equal(config.nnames, 1);
	json_decref(args);
	config_free(&config);
}

static void test_what_is_wrong_changes_nothing(void **state)
{
	(void)state;
	check_wrong("{\"remove\": 5}", "remove: expected an object, found 5");
	check_wrong(
		"{\"remove\": {\"hostnameMap\": {\"a\": \"1.2.3.4\"}}, \"add\": {\"others\": 5}}",
		"others: expected a list, found 5");
	check_wrong("{\"add\": {\"hostnameMap\": {\"a\": \"x\"}}}",
		"hostnameMap.a: expected an IPv4 address of a host, found \"x\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_differences_add_up_to_all),
		cmocka_unit_test(test_what_is_wrong_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
