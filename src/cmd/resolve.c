/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/resolve - make a rule that leads outwards right for wherever it is used */
#include "cmd/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "sandbox/hosts.h"
#include "util/parse.h"

#define OWN_NAMES_MAX 16

static int make_absolute(struct addr *addr, struct err *err)
{
	char cwd[PATH_MAX], whole[PATH_MAX + sizeof(addr->local.sun_path) + 2];

	if (addr->family != AF_UNIX || addr->local.sun_path[0] == '/')
		return 0;
	if (!getcwd(cwd, sizeof(cwd)))
		return err_sys(err, errno, "cannot tell the current directory");
	snprintf(whole, sizeof(whole), "%s/%s", cwd, addr->local.sun_path);
	if (strlen(whole) > ADDR_PATH_MAX)
		return err_set(err, ENAMETOOLONG,
			"the path %s has %zu bytes: a unix socket's has at most %zu",
			PARSE_QUOTED(whole), strlen(whole), ADDR_PATH_MAX);
	memcpy(addr->local.sun_path, whole, strlen(whole) + 1);
	return 0;
}

static bool is_localhost(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0;
}

int resolve_host(const char *host, struct addr *out, struct err *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;

	if (addr_parse_host(host, out, NULL) == 0)
		return 0;
	if (is_localhost(host)) {
		*out = addr_loopback4(0);
		return 0;
	}
	int code = getaddrinfo(host, NULL, &hints, &list);
	if (code != 0)
		return err_set(err, ENOENT, "%s: %s", PARSE_SHOWN(host), gai_strerror(code));
	*out = (struct addr){.family = AF_UNSPEC};
	memcpy(out, list->ai_addr,
		list->ai_addrlen < sizeof(*out) ? list->ai_addrlen : sizeof(*out));
	freeaddrinfo(list);
	return 0;
}

int resolve_outward(struct outward_spec *spec, struct err *err)
{
	if (make_absolute(&spec->guest, err) < 0 ||
		(spec->host[0] == '\0' && make_absolute(&spec->path, err) < 0))
		return -err->code;
	struct addr addr;
	if (!outward_has_name(spec))
		return 0;
	if (resolve_host(spec->host, &addr, err) < 0)
		return -err->code;
	addr_format_ip(&addr, spec->host, sizeof(spec->host));
	return 0;
}

/* Does @host lead to an address of the sandbox's own inside, as names of this machine do? */
static bool is_own_name(const char *host)
{
	char node[HOST_NAME_MAX + 1] = "", *names[OWN_NAMES_MAX];
	g_autofree char *text = NULL;
	bool is_own = false;

	gethostname(node, sizeof(node) - 1);
	g_file_get_contents(HOSTS_CONF, &text, NULL, NULL);
	for (size_t i = hosts_own_names(text ? text : "", node, names, OWN_NAMES_MAX); i-- > 0;) {
		is_own |= strcasecmp(names[i], host) == 0;
		free(names[i]);
	}
	return is_own;
}

/*
 * "127.1" is what getaddrinfo(3) takes, too; ip6-localhost is in each sandbox's hosts file. Who
 * connects to 0.0.0.0 or :: is connected to loopback.
 */
static bool read_loopback(const char *host, struct addr *out)
{
	struct in_addr ip;

	if (strcasecmp(host, "ip6-localhost") == 0 || strcasecmp(host, "ip6-loopback") == 0)
		*out = addr_of6(&in6addr_loopback, 0);
	else if (addr_parse_host(host, out, NULL) < 0 && inet_aton(host, &ip))
		*out = addr_of4(ip, 0);
	if (addr_is_wildcard(out))
		*out = out->family == AF_INET6 ? addr_of6(&in6addr_loopback, 0) : addr_loopback4(0);
	return addr_is_loopback(out);
}

bool resolve_twin(const char *host, uint16_t port, struct outward_spec *out)
{
	struct outward_spec twin = {.port = port};
	char text[ADDR_TEXT_BYTES];

	if (is_localhost(host)) {
		twin.guest = addr_loopback4(0);
		host = "localhost";
	} else if (read_loopback(host, &twin.guest)) {
		host = addr_format_ip(&twin.guest, text, sizeof(text));
	} else if (is_own_name(host)) {
		twin.guest = addr_of4((struct in_addr){INADDR_ANY}, 0);
	} else {
		return false;
	}
	g_strlcpy(twin.host, host, sizeof(twin.host));
	addr_set_port(&twin.guest, port);
	*out = twin;
	return true;
}
