/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/offered - the key `ports`: what a host offers at its virtual IP */
#include "mesh/manifest/offered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/port.h"

#define PORT_EXPECTED "LISTEN:HOST:PORT[/tcp|/udp], such as 8080:127.0.0.1:80"

static const struct mesh_offer *find_offer(
	const struct mesh_config *own, const struct mesh_offer *offer)
{
	for (size_t i = 0; i < own->noffers; i++)
		if (own->offers[i].listen_port == offer->listen_port &&
			own->offers[i].proto == offer->proto)
			return &own->offers[i];
	return NULL;
}

/* Add @offer, which is taken over. */
static void add_offer(struct reader *reader, const struct node *item, struct mesh_offer *offer,
	struct mesh_config *out)
{
	const struct mesh_offer *before = find_offer(out, offer);

	if (!before) {
		out->offers[out->noffers++] = *offer;
		return;
	}
	if (before->connect_port != offer->connect_port ||
		strcmp(before->connect_host, offer->connect_host) != 0)
		reader_refuse(reader, item,
			"port %u/%s is given twice, with two targets: expected one for a host and "
			"its template",
			offer->listen_port, addr_proto_name(offer->proto));
	free(offer->connect_host);
}

/* There is room for it in @out. */
static void read_port(struct reader *reader, const struct node *item, struct mesh_config *out)
{
	const char *text = reader_text(reader, item, "a port", PORT_EXPECTED);
	struct mesh_offer offer;
	struct err err = {.code = 0};

	if (!text)
		return;
	int rc = port_parse(text, &offer, &err);
	if (rc == -ENOMEM)
		reader->errors->has_no_memory = true;
	else if (rc < 0)
		reader_refuse(reader, item, "%s", err.text);
	else
		add_offer(reader, item, &offer, out);
}

void offered_read(struct reader *reader, const struct field *field, const struct node *value,
	struct manifest_host *out)
{
	struct mesh_config *own = &out->own;

	if (!reader_is_kind(reader, value, NODE_LIST, field->what, field->expected) ||
		!value->count)
		return;
	size_t room = value->count < reader->ports_left ? value->count : reader->ports_left;
	struct mesh_offer *grown =
		reallocarray(own->offers, own->noffers + room + 1, sizeof(*own->offers));
	if (!grown) {
		reader->errors->has_no_memory = true;
		return;
	}
	own->offers = grown;
	for (size_t i = 0; i < value->count && !reader->errors->has_no_memory; i++) {
		if (!reader->ports_left) {
			reader_too_much(reader, value->items[i], "too many ports", READER_PORTS_MAX,
				" in the mesh");
			return;
		}
		reader->ports_left--;
		read_port(reader, value->items[i], own);
	}
}
