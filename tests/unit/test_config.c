/* SPDX-License-Identifier: Apache-2.0 */
/* test_config - every row of the table: written, read, copied, compared, freed, and what it needs
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/config.h"
#include "mesh/configure.h"
#include "mesh/info.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ITEMS        2 /* in each list */

/* --- values ------------------------------------------------------------------------------- */

static void *member(const struct config_field *field, void *of)
{
	return (char *)of + field->offset;
}

static void set_text(char **text, char first, size_t variant)
{
	free(*text);
	assert_true(asprintf(text, "%c%zu", first, variant) > 0);
}

/* Give it a value, another one for each @variant (a bool: true); lists get items that have all. */
static void give(const struct config_field *field, void *of, size_t variant)
{
	void *to = member(field, of);

	switch (field->kind) {
	case CONFIG_BOOL:
		*(bool *)to = true;
		return;
	case CONFIG_TEXT:
	case CONFIG_TARGET:
		set_text(to, 't', variant);
		return;
	case CONFIG_TEXTS:
		g_strfreev(*(char ***)to);
		*(char ***)to = calloc(3, sizeof(char *));
		assert_non_null(*(char ***)to);
		set_text(&(*(char ***)to)[0], 'x', 0);
		set_text(&(*(char ***)to)[1], 'y', variant);
		return;
	case CONFIG_IP:
		((struct in_addr *)to)->s_addr = htonl(0x0a000001 + (uint32_t)variant);
		return;
	case CONFIG_PORT:
	case CONFIG_NUMBER:
		*(uint16_t *)to = (uint16_t)(1 + variant);
		return;
	case CONFIG_PROTO:
		*(enum proto *)to = variant % 2 ? PROTO_TCP : PROTO_UDP;
		return;
	case CONFIG_LIST:
	case CONFIG_NAMES:
		assert_non_null(config_make_room(field, of, ITEMS));
		for (size_t i = 0; i < ITEMS; i++)
			for (const struct config_field *part = field->items; part->name; part++)
				give(part, config_item(field, of, i), 2 * i + variant);
		return;
	}
	fail();
}

static struct mesh_config with_all(void)
{
	struct mesh_config config = {.nnames = 0};

	for (const struct config_field *field = config_fields; field->name; field++)
		give(field, &config, 0);
	return config;
}

/* Only @field has a value, and the address that a configuration must have. */
static struct mesh_config with_only(const struct config_field *field)
{
	struct mesh_config config = {.nnames = 0};

	give(&config_fields[0], &config, 0);
	give(field, &config, 0);
	return config;
}

static json_t *find(json_t *args, const struct config_field *field)
{
	json_t *object = field->section ? json_object_get(args, field->section) : args;

	return json_object_get(object, field->name);
}

static bool is_same_config(const struct mesh_config *a, const struct mesh_config *b)
{
	return configure_tells_same(a, ~0U, b, ~0U);
}

/* --- what follows from a row --------------------------------------------------------------- */

static void each_is_written_and_read(void **state)
{
	(void)state;
	for (const struct config_field *field = config_fields; field->name; field++) {
		struct mesh_config config = with_only(field), again;
		json_t *args = configure_encode(&config, ~0U);
		struct err err;

		assert_true(config_is_given(field, &config));
		assert_non_null(find(args, field));
		if (configure_decode(args, &again, &err) != 0)
			fail_msg("%s: %s", field->name, err.text);
		assert_true(config_is_given(field, &again));
		assert_true(is_same_config(&config, &again));
		json_decref(args);
		config_free(&config);
		config_free(&again);
		assert_false(config_is_given(field, &again));
	}
}

/* Change @field of a second configuration with all; of the last item of the list @of_list, if
 * given. */
static void check_change(const struct config_field *field, const struct config_field *of_list)
{
	struct mesh_config config = with_all(), other = with_all();
	void *of = of_list ? config_item(of_list, &other, ITEMS - 1) : &other;

	assert_true(is_same_config(&config, &other));
	if (field->kind == CONFIG_BOOL)
		*(bool *)member(field, of) = false;
	else
		give(field, of, 7);
	if (is_same_config(&config, &other) || is_same_config(&other, &config))
		fail_msg("no difference: %s", field->name);
	config_free(&other);
	config_free(&config);
}

/* All but @missing, which is then filled in. */
static void check_missing(const struct config_field *missing)
{
	struct mesh_config config = with_all(), less = {.nnames = 0};

	for (const struct config_field *field = config_fields; field->name; field++)
		if (field != missing)
			give(field, &less, 0);
	assert_false(is_same_config(&config, &less));
	assert_false(is_same_config(&less, &config));
	assert_int_equal(config_fill(&less, &config), 0);
	assert_true(is_same_config(&config, &less));
	config_free(&less);
	config_free(&config);
}

static void each_makes_a_difference(void **state)
{
	(void)state;
	for (const struct config_field *field = config_fields; field->name; field++) {
		if (!field->items)
			check_change(field, NULL);
		for (const struct config_field *part = field->items; part && part->name; part++)
			check_change(part, field);
		check_missing(field);
	}
}

static void a_copy_is_its_own(void **state)
{
	struct mesh_config config = with_all(), copy = {.nnames = 0}, other = with_all();

	(void)state;
	assert_int_equal(config_fill(&copy, &config), 0);
	config_free(&config);
	assert_true(is_same_config(&copy, &other));
	config_free(&copy);

	/* what is given stays */
	set_text(&copy.http_listen, 'h', 5);
	assert_int_equal(config_fill(&copy, &other), 0);
	assert_string_equal(copy.http_listen, "h5");
	assert_string_equal(copy.socks_listen, other.socks_listen);
	config_free(&copy);
	config_free(&other);
}

/* --- features ----------------------------------------------------------------------------- */

static const struct {
	const char *list, *section, *name;
	unsigned told_with, wants, requires;
} features[] = {
	{"forwards", NULL, "proto", FEATURE_UDP, FEATURE_UDP, 0},
	{"others", NULL, "proto", FEATURE_UDP, 0, 0},
	{"nameServers", NULL, "proto", FEATURE_UDP, 0, 0},
	{"routes", NULL, "toHostnameGlob", 0, FEATURE_DNS, 0},
	{NULL, NULL, "routes", 0, FEATURE_ROUTES, 0},
	{NULL, "http", "listen", 0, FEATURE_HTTP, 0},
	{NULL, "http", "user", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "http", "password", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "http", "onlyUser", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "socks", "listen", 0, FEATURE_SOCKS, 0},
	{NULL, "socks", "user", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "socks", "password", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "socks", "onlyUser", FEATURE_PROXY_ACCESS, 0, FEATURE_PROXY_ACCESS},
	{NULL, "loopback", "disable", 0, 0, FEATURE_LOOPBACK_DISABLE},
	{NULL, "stateDir", "path", 0, FEATURE_HOSTALIASES, 0},
	{NULL, NULL, "writeEtcHosts", 0, FEATURE_ETCHOSTS, 0},
	{NULL, NULL, "anyPort", FEATURE_SANDBOX, FEATURE_SANDBOX, 0},
	{NULL, NULL, "expose", FEATURE_EXPOSE, 0, FEATURE_EXPOSE},
	{NULL, NULL, "identity", FEATURE_TAKEOVER, 0, 0},
	{NULL, NULL, "silence", FEATURE_SILENCE, 0, 0},
	{NULL, NULL, "keep", FEATURE_KEEP, 0, 0},
	{NULL, NULL, "allow", FEATURE_ALLOW, 0, 0},
	{NULL, "sandbox", "command", FEATURE_SANDBOX_RUN, 0, FEATURE_SANDBOX_RUN},
	{NULL, "sandbox", "options", FEATURE_SANDBOX_RUN, 0, 0},
	{NULL, "sandbox", "guestPort", FEATURE_SANDBOX_RUN, 0, 0},
	{NULL, "sandbox", "keep", FEATURE_SANDBOX_RUN, 0, 0},
};

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The very features of the list above, and none with any other member. */
static void check_features(const struct config_field *field, const char *list)
{
	unsigned told_with = 0, wants = 0, requires = 0;

	for (size_t i = 0; i < COUNT(features); i++)
		if (is_same(features[i].list, list) && is_same(features[i].name, field->name) &&
			is_same(features[i].section, field->section)) {
			told_with = features[i].told_with;
			wants = features[i].wants;
			requires = features[i].requires;
		}
	assert_int_equal(field->told_with, told_with);
	assert_int_equal(field->wants, wants);
	assert_int_equal(field->requires, requires);
}

static void each_needs_its_features(void **state)
{
	(void)state;
	for (const struct config_field *field = config_fields; field->name; field++) {
		struct mesh_config config = with_only(field);
		struct config_needs needs = config_needs(&config);
		unsigned wanted = field->wants;

		check_features(field, NULL);
		for (const struct config_field *part = field->items; part && part->name; part++) {
			check_features(part, field->name);
			wanted |= part->wants;
		}
		assert_int_equal(needs.wanted, wanted);
		assert_int_equal(needs.required, field->requires);
		config_free(&config);
	}
}

/* Each list has UDP items only. */
static void who_lacks_a_feature_is_not_told(void **state)
{
	(void)state;
	for (const struct config_field *field = config_fields; field->name; field++) {
		struct mesh_config config = with_only(field);
		unsigned told_with = field->told_with;

		for (const struct config_field *part = field->items; part && part->name; part++)
			told_with |= part->told_with;
		json_t *full = configure_encode(&config, told_with);
		json_t *less = configure_encode(&config, ~told_with);
		assert_non_null(find(full, field));
		assert_int_equal(find(less, field) != NULL, told_with == 0);
		json_decref(full);
		json_decref(less);
		config_free(&config);
	}
}

static void needs_of_a_configuration(void **state)
{
	struct mesh_offer offers[] = {{1, NULL, 1, PROTO_TCP}, {1, NULL, 1, PROTO_TCP}};
	struct mesh_config config = {.offers = offers, .noffers = 2};
	char path[] = "x";

	(void)state;
	assert_int_equal(config_needs(&config).wanted, 0);
	offers[1].proto = PROTO_UDP;
	assert_int_equal(config_needs(&config).wanted, FEATURE_UDP);
	config.noffers = 1;
	config.state_dir_path = path;
	assert_int_equal(config_needs(&config).wanted, FEATURE_HOSTALIASES);
	config.state_dir_disable = true;
	assert_int_equal(config_needs(&config).wanted, 0);
	assert_int_equal(config_needs(&config).required, 0);
	config.loopback_disable = true;
	assert_int_equal(config_needs(&config).required, FEATURE_LOOPBACK_DISABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_written_and_read),
		cmocka_unit_test(each_makes_a_difference),
		cmocka_unit_test(a_copy_is_its_own),
		cmocka_unit_test(each_needs_its_features),
		cmocka_unit_test(who_lacks_a_feature_is_not_told),
		cmocka_unit_test(needs_of_a_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
