/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/port - read a host's ports such as "8080:127.0.0.1:80/tcp" */
#include "mesh/manifest/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/hostnames.h"
#include "util/parse.h"

#define RULE_BYTES 300 /* a host name has 253 at most */

/* Digits and dots: an address, or meant to be one. */
static bool is_numeric(const char *text)
{
	return text[strspn(text, "0123456789.")] == '\0';
}

static int parse_one_port(const char *text, uint16_t *out, struct err *err)
{
	unsigned long value;
	int rc = parse_uint(text, UINT16_MAX, &value);

	if (rc == -ERANGE || (rc == 0 && value == 0))
		return err_set(err, EINVAL, "port %s is out of range: expected 1 to 65535",
			PARSE_SHOWN(text));
	if (rc < 0)
		return err_set(err, EINVAL, "port %s is no number: expected 1 to 65535",
			PARSE_QUOTED(text));
	*out = (uint16_t)value;
	return 0;
}

static int check_host(const char *host, struct err *err)
{
	struct in_addr addr;
	struct addr addr6;

	if (!host[0]) /* the agent's own host, as where NoRouter dials */
		return 0;
	if (strchr(host, ':') && addr_parse(host, &addr6, NULL) == 0)
		return 0;
	if (is_numeric(host) ? inet_pton(AF_INET, host, &addr) == 1 : hostnames_is_valid(host, "."))
		return 0;
	return err_set(err, EINVAL,
		"%s is no address or host name: expected one such as 127.0.0.1 or [::1]",
		PARSE_QUOTED(host));
}

int port_parse(const char *text, struct mesh_offer *out, struct err *err)
{
	char rule[RULE_BYTES], *host = NULL, *port = NULL;
	struct mesh_offer offer = {.listen_port = 0};
	int rc;

	if (strlen(text) < sizeof(rule)) {
		strcpy(rule, text);
		rc = addr_take_proto(rule, &offer.proto, err);
		if (rc < 0)
			return rc;
		host = strchr(rule, ':');
		port = strrchr(rule, ':');
	}
	if (!host || host == port)
		return err_set(err, EINVAL,
			"%s is no port: expected LISTEN:HOST:PORT[/tcp|/udp], such as "
			"8080:127.0.0.1:80",
			PARSE_QUOTED(text));
	*host++ = '\0';
	*port++ = '\0';
	if ((rc = parse_one_port(rule, &offer.listen_port, err)) < 0 ||
		(rc = check_host(host, err)) < 0 ||
		(rc = parse_one_port(port, &offer.connect_port, err)) < 0)
		return rc;
	if (offer.listen_port == PORT_NAME_SERVER)
		return err_set(err, EINVAL,
			"port %d/%s is the mesh's own name server: expected another one",
			PORT_NAME_SERVER, addr_proto_name(offer.proto));
	if (host[0] == '[') { /* and "]" is its end */
		host[strlen(host) - 1] = '\0';
		host++;
	}
	offer.connect_host = strdup(host[0] ? host : "127.0.0.1");
	if (!offer.connect_host)
		return -ENOMEM;
	*out = offer;
	return 0;
}
