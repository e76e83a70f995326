/* SPDX-License-Identifier: Apache-2.0 */
/* util/list - rings of structs that carry their own links */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The @type of which *@ptr is the @member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* A ring's head, which is no item, or the link in an item. All zero: in no ring (not for heads). */
struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *head)
{
	head->prev = head->next = head;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

/* Is this item in a ring? */
static inline bool list_is_linked(const struct list *item)
{
	return item->next;
}

/* Put @item, which is in no ring, in front of @at: with a head that is the end of the ring. */
static inline void list_add_before(struct list *at, struct list *item)
{
	item->prev = at->prev;
	item->next = at;
	item->prev->next = at->prev = item;
}

#define list_add_last(head, item)  list_add_before(head, item)
#define list_add_first(head, item) list_add_before((head)->next, item)

/* Nothing happens if it is in no ring. */
static inline void list_del(struct list *item)
{
	if (!item->next)
		return;
	item->prev->next = item->next;
	item->next->prev = item->prev;
	item->prev = item->next = NULL;
}

/* All items of @from, which is empty then, become the last ones of @head. */
static inline void list_move_all(struct list *head, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = head->prev;
	from->prev->next = head;
	head->prev->next = from->next;
	head->prev = from->prev;
	list_init(from);
}

/* The first item, the ring must not be empty. */
#define list_first(head, type, member) container_of((head)->next, type, member)

/*
 * Each item in order, as `struct list *at`. list_each: the ring must not change meanwhile;
 * list_each_safe: @at, and no other, may leave it, @following is for the macro.
 */
#define list_each(at, head) \
	for (struct list *at = (head)->next; at != (head); at = at->next) /* NOLINT */
#define list_each_safe(at, following, head)                                       \
	for (struct list *at = (head)->next, *following = at->next; at != (head); \
		at = following, following = at->next) /* NOLINT */
