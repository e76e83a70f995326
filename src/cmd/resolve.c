/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/resolve - make a rule that leads outwards right for wherever it is used */
#include "cmd/resolve.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "util/parse.h"

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

int resolve_host(const char *host, struct addr *out, struct err *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;

	if (addr_parse_host(host, out, NULL) == 0)
		return 0;
	if (strcasecmp(host, "localhost") == 0) {
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
