/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/elsewhere - who listens inside where the forward to that port does not lead */
#include "sandbox/elsewhere.h"

#include <stdio.h>
#include <string.h>

#include "forward/driver.h"
#include "net/diag.h"

struct search {
	const struct forwards_item *items;
	size_t count;
	json_t *rows;
	enum proto proto; /* what is looked through now */
};

static bool is_wanted(const struct search *search, size_t i)
{
	return search->items[i].spec.proto == search->proto &&
	       json_is_false(json_object_get(json_array_get(search->rows, i), "listening"));
}

/* As ss(8) writes it, but for the device's name, which is known inside only. */
static void format(const struct addr *own, int ifindex, char *out, size_t cap_bytes)
{
	char ip[ADDR_TEXT_BYTES], device[16] = "";

	addr_format_ip(own, ip, sizeof(ip));
	if (ifindex != 0)
		snprintf(device, sizeof(device), "%%%d", ifindex);
	snprintf(out, cap_bytes, own->family == AF_INET6 ? "[%s%s]:%u" : "%s%s:%u", ip, device,
		addr_port(own));
}

static void note(json_t *row, const char *text)
{
	json_t *there = json_object_get(row, "elsewhere");

	if (!there) {
		there = json_array();
		json_object_set_new(row, "elsewhere", there);
	}
	size_t i = 0;
	int order = 1;
	/* the kernel's order is another one in each namespace */
	while (i < json_array_size(there) &&
		(order = strcmp(text, json_string_value(json_array_get(there, i)))) > 0)
		i++;
	if (i < json_array_size(there) && order == 0)
		return; /* several sockets may share it */
	json_array_insert_new(there, i, json_string(text));
	if (json_array_size(there) > ELSEWHERE_MAX)
		json_array_remove(there, ELSEWHERE_MAX);
}

static int on_listener(void *owner, const struct addr *own, int ifindex)
{
	const struct search *search = owner;
	char text[ADDR_TEXT_BYTES + 16];

	for (size_t i = 0; i < search->count; i++) {
		if (search->items[i].spec.guest_port != addr_port(own) || !is_wanted(search, i))
			continue;
		format(own, ifindex, text, sizeof(text));
		note(json_array_get(search->rows, i), text);
	}
	return 0;
}

void elsewhere_tell(int guest_diag, const struct net_plan *plan, const struct forwards_item *items,
	size_t count, json_t *rows)
{
	static const enum proto protos[] = {PROTO_TCP, PROTO_UDP};
	struct search search = {.items = items, .count = count, .rows = rows};

	for (size_t i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		size_t first = 0;

		search.proto = protos[i];
		while (first < count && !is_wanted(&search, first))
			first++;
		if (first < count) /* once for all: the kernel walks through all sockets */
			diag_each_listener(guest_diag, search.proto, on_listener, &search);
	}
	for (size_t i = 0; i < count; i++) {
		json_t *row = json_array_get(rows, i);

		/* it may have begun there since the row was made */
		if (!json_object_get(row, "elsewhere") ||
			!driver_is_listening(guest_diag, plan, &items[i].spec))
			continue;
		json_object_del(row, "elsewhere");
		json_object_set_new(row, "listening", json_true());
	}
}
