/* SPDX-License-Identifier: Apache-2.0 */
/* test_list - rings at random against plain arrays */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "util/list.h"

#define ITEMS  12
#define RINGS  3
#define ROUNDS 200000

struct item {
	int before; /* the link is not the first member */
	struct list link;
};

struct bed {
	struct item items[ITEMS];
	struct list rings[RINGS];
	/* the model: which items each ring has, in order */
	size_t order[RINGS][ITEMS], counts[RINGS];
};

static size_t index_of(const struct bed *bed, struct list *link)
{
	return (size_t)(container_of(link, struct item, link) - bed->items);
}

/* Where the model has @item: the ring, RINGS if none; *@at becomes its place. */
static size_t model_find(const struct bed *bed, size_t item, size_t *at)
{
	for (size_t ring = 0; ring < RINGS; ring++)
		for (*at = 0; *at < bed->counts[ring]; ++*at)
			if (bed->order[ring][*at] == item)
				return ring;
	return RINGS;
}

static void model_insert(struct bed *bed, size_t ring, size_t at, size_t item)
{
	size_t *order = bed->order[ring];

	memmove(order + at + 1, order + at, (bed->counts[ring]++ - at) * sizeof(*order));
	order[at] = item;
}

static void model_remove(struct bed *bed, size_t ring, size_t at)
{
	size_t *order = bed->order[ring];

	memmove(order + at, order + at + 1, (--bed->counts[ring] - at) * sizeof(*order));
}

/* Both ways round, and what is_empty, is_linked and first say. */
static void check(struct bed *bed)
{
	size_t at;

	for (size_t ring = 0; ring < RINGS; ring++) {
		struct list *head = &bed->rings[ring];

		at = 0;
		list_each (link, head) {
			assert_true(at < bed->counts[ring]);
			assert_int_equal(index_of(bed, link), bed->order[ring][at++]);
			assert_ptr_equal(link->prev->next, link);
			assert_ptr_equal(link->next->prev, link);
		}
		assert_int_equal(at, bed->counts[ring]);
		assert_ptr_equal(head->prev->next, head);
		assert_int_equal(list_is_empty(head), at == 0);
		if (at > 0)
			assert_ptr_equal(list_first(head, struct item, link),
				&bed->items[bed->order[ring][0]]);
	}
	for (size_t item = 0; item < ITEMS; item++)
		assert_int_equal(
			list_is_linked(&bed->items[item].link), model_find(bed, item, &at) < RINGS);
}

/* Walk and drop what the bits of @drop say. */
static void drop_some(struct bed *bed, size_t ring, unsigned drop)
{
	size_t at = 0;

	list_each_safe (link, following, &bed->rings[ring]) {
		assert_int_equal(index_of(bed, link), bed->order[ring][at]);
		if (drop >> index_of(bed, link) & 1) {
			list_del(link);
			model_remove(bed, ring, at);
		} else {
			at++;
		}
	}
	assert_int_equal(at, bed->counts[ring]);
}

static void move_all(struct bed *bed, size_t to, size_t from)
{
	list_move_all(&bed->rings[to], &bed->rings[from]);
	for (size_t i = 0; i < bed->counts[from]; i++)
		bed->order[to][bed->counts[to]++] = bed->order[from][i];
	bed->counts[from] = 0;
}

static void step(struct bed *bed)
{
	size_t item = (size_t)rand() % ITEMS, ring = (size_t)rand() % RINGS, at, at_other;
	size_t other = (size_t)rand() % ITEMS;
	struct list *link = &bed->items[item].link;
	size_t home = model_find(bed, item, &at), other_home = model_find(bed, other, &at_other);

	switch (rand() % 16) {
	case 0:
		drop_some(bed, ring, (unsigned)rand());
		return;
	case 1:
		move_all(bed, (ring + 1) % RINGS, ring);
		return;
	}
	if (home < RINGS) {
		list_del(link);
		model_remove(bed, home, at);
	} else if (rand() % 4 == 0) {
		list_del(link); /* in no ring: nothing happens */
	} else if (other_home < RINGS) {
		list_add_before(&bed->items[other].link, link);
		model_insert(bed, other_home, at_other, item);
	} else if (rand() % 2) {
		list_add_last(&bed->rings[ring], link);
		model_insert(bed, ring, bed->counts[ring], item);
	} else {
		list_add_first(&bed->rings[ring], link);
		model_insert(bed, ring, 0, item);
	}
}

static void random_against_arrays(void **state)
{
	struct bed bed = {.counts = {0}};

	(void)state;
	srand(1);
	for (size_t ring = 0; ring < RINGS; ring++)
		list_init(&bed.rings[ring]);
	for (int round = 0; round < ROUNDS; round++) {
		step(&bed);
		check(&bed);
	}
}

static void container_is_found(void **state)
{
	struct item item = {.before = 1};

	(void)state;
	assert_ptr_equal(container_of(&item.link, struct item, link), &item);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_against_arrays),
		cmocka_unit_test(container_is_found),
	};

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
