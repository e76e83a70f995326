/* SPDX-License-Identifier: Apache-2.0 */
/* test_mesh_status - hosts that come in parts are one list; an answer that fails is the end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>

#include "cmd/mesh_status.h"

/* A mesh of @total hosts, whose names are their numbers, at most two an answer. */
struct mesh {
	int total, left; /* of those, there are so many */
	int fails_at;    /* the question that fails; 0: none */
	int asked;
};

static int ask(void *owner, json_t *question, json_t **answer, struct err *err)
{
	struct mesh *mesh = owner;
	int from = (int)json_integer_value(json_object_get(question, "from"));
	json_t *hosts = json_array();

	assert_string_equal(json_string_value(json_object_get(question, "op")), "status");
	json_decref(question);
	if (++mesh->asked == mesh->fails_at) {
		json_decref(hosts);
		*answer = NULL;
		return err_set(err, EPIPE, "gone");
	}
	for (int i = from; i < mesh->left && i < from + 2; i++)
		json_array_append_new(hosts, json_integer(i));
	*answer = json_pack("{s:s, s:i, s:o}", "name", "m", "total", mesh->total, "hosts", hosts);
	return 0;
}

static void expect(struct mesh mesh, int hosts, int questions)
{
	struct err err;
	json_t *out, *host;
	size_t i;

	assert_int_equal(mesh_status_ask(ask, &mesh, &out, &err), 0);
	assert_int_equal(mesh.asked, questions);
	assert_string_equal(json_string_value(json_object_get(out, "name")), "m");
	assert_int_equal(json_array_size(json_object_get(out, "hosts")), hosts);
	json_array_foreach(json_object_get(out, "hosts"), i, host)
	{
		assert_int_equal(json_integer_value(host), i);
	}
	json_decref(out);
}

static void all_of_them(void **state)
{
	(void)state;
	expect((struct mesh){.total = 0, .left = 0}, 0, 1);
	expect((struct mesh){.total = 2, .left = 2}, 2, 1);
	expect((struct mesh){.total = 5, .left = 5}, 5, 3);
	/* some leave meanwhile */
	expect((struct mesh){.total = 5, .left = 3}, 3, 3);
}

static void one_that_fails(void **state)
{
	struct mesh mesh = {.total = 5, .left = 5, .fails_at = 2};
	struct err err;
	json_t *out;

	(void)state;
	assert_int_equal(mesh_status_ask(ask, &mesh, &out, &err), -EPIPE);
	assert_null(out);
	assert_string_equal(err.text, "gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(one_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
