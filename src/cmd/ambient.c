/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ambient - variables of the environment that name a port of this host's loopback */
#include "cmd/ambient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/log.h"
#include "util/parse.h"

#define X11_PORT   6000 /* of display 0 */
#define HOST_BYTES 64

static const char *value_of(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

static bool is_loopback(const char *host)
{
	struct addr addr;

	return strcasecmp(host, "localhost") == 0 ||
	       (addr_parse(host, &addr, NULL) == 0 && addr_is_loopback(&addr));
}

/* "HOST:NUMBER" with something behind: loopback's? Then *@number. */
static bool read_end(const char *text, unsigned max, unsigned long *number)
{
	char host[HOST_BYTES], digits[8];
	const char *colon = text[0] == '[' ? strchr(text, ']') : text;

	colon = colon ? strchr(colon, ':') : NULL;
	if (!colon || snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text) >=
			      (int)sizeof(host))
		return false;
	snprintf(digits, sizeof(digits), "%.*s", (int)strspn(colon + 1, "0123456789"), colon + 1);
	return is_loopback(host) && parse_uint(digits, max, number) == 0;
}

/* "http://user:secret@127.0.0.1:3128/" */
static bool read_proxy(const char *url, unsigned long *port)
{
	const char *at = strstr(url, "://");
	const char *start = at ? at + 3 : url;
	const char *end = start + strcspn(start, "/");

	for (const char *look = start; look < end; look++)
		if (*look == '@')
			start = look + 1;
	return read_end(start, UINT16_MAX, port);
}

static bool leads(const struct sandbox_config *config, unsigned long port)
{
	for (size_t i = 0; i < config->noutwards; i++)
		if (config->outwards[i].guest.family != AF_UNIX &&
			addr_port(&config->outwards[i].guest) == port)
			return true;
	return false;
}

void ambient_hint(const struct sandbox_config *config)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "all_proxy", "ftp_proxy",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
	const char *display = value_of(config->env, "DISPLAY");
	unsigned long port;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *url = value_of(config->env, names[i]);

		if (!url || !read_proxy(url, &port) || leads(config, port))
			continue;
		log_warning("%s names port %lu of loopback, which is the sandbox's own inside: "
			    "-R %lu leads to this host's",
			names[i], port, port);
		break; /* the others are mostly the same */
	}
	if (display && read_end(display, UINT16_MAX - X11_PORT, &port) &&
		!leads(config, X11_PORT + port))
		log_warning("DISPLAY names a port of loopback, which is the sandbox's own inside: "
			    "--x11 leads to this host's");
}

int ambient_add_display(struct sandbox_config *config, struct err *err)
{
	const char *display = value_of(config->env, "DISPLAY");
	unsigned long number;

	if (!display || display[0] == '\0')
		return err_set(err, EINVAL,
			"--x11: DISPLAY is not set: expected a desktop's, or ssh -X's");
	/* the socket file of ":0" is there inside, too; other hosts are reached as ever */
	if (!read_end(display, UINT16_MAX - X11_PORT, &number) || leads(config, X11_PORT + number))
		return 0;
	if (config->noutwards == OUTWARD_MAX)
		return err_set(err, EINVAL, "--x11: too many ports lead outwards");
	struct outward_spec *spec = &config->outwards[config->noutwards++];
	*spec = (struct outward_spec){.guest = addr_loopback4((uint16_t)(X11_PORT + number)),
		.host = "localhost",
		.port = (uint16_t)(X11_PORT + number)};
	return 0;
}
