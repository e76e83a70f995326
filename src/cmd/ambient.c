/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/ambient - variables of the environment that name a port of this host's loopback,
 * or of this host */
#include "cmd/ambient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/resolve.h"
#include "util/log.h"
#include "util/parse.h"

#define X11_PORT 6000 /* of display 0 */

static const char *value_of(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

/*
 * "HOST:NUMBER" with something behind, brackets keep colons; @number stays where there is none. Is
 * it another host inside? Then *@out leads there, to port @base + number.
 */
static bool read_end(
	const char *text, size_t len, unsigned base, unsigned long number, struct outward_spec *out)
{
	char host[OUTWARD_HOST_BYTES], digits[8];
	const char *colon = memrchr(text, ':', len), *bracket = memrchr(text, ']', len);

	if (colon && bracket && colon < bracket)
		colon = NULL;
	if (colon)
		len = (size_t)(colon - text);
	if (snprintf(host, sizeof(host), "%.*s", (int)len, text) >= (int)sizeof(host))
		return false;
	if (colon) {
		len = strspn(colon + 1, "0123456789");
		snprintf(digits, sizeof(digits), "%.*s", (int)len, colon + 1);
		if (parse_uint(digits, UINT16_MAX - base, &number) < 0)
			return false;
	}
	return resolve_twin(host, (uint16_t)(base + number), out);
}

/* "http://user:secret@127.0.0.1:3128/" */
static bool read_proxy(const char *url, struct outward_spec *out)
{
	const char *at = strstr(url, "://");
	const char *start = at ? at + 3 : url, *end = start + strcspn(start, "/");
	const char *user = memrchr(start, '@', (size_t)(end - start));
	const unsigned port = strncmp(url, "https:", 6) == 0  ? 443
			      : strncmp(url, "socks", 5) == 0 ? 1080
							      : 80;

	if (user)
		start = user + 1;
	return read_end(start, (size_t)(end - start), 0, port, out);
}

static bool read_display(const char *display, struct outward_spec *out)
{
	return display && strchr(display, ':') &&
	       read_end(display, strlen(display), X11_PORT, 0, out);
}

/* Does a rule stand where a client inside comes by @wanted's name? */
static bool leads(const struct sandbox_config *config, const struct outward_spec *wanted)
{
	struct outward_spec inside = *wanted;

	/* this machine's own name: sandbox/resolver says where it leads */
	if (addr_is_wildcard(&wanted->guest) && config->net.has_outbound)
		inside.guest = addr_of4(config->net.guest, wanted->port);
	else if (addr_is_wildcard(&wanted->guest))
		inside.guest = addr_loopback4(wanted->port);
	for (size_t i = 0; i < config->outwards.count; i++)
		if (outward_clash(&config->outwards.items[i], &inside))
			return true;
	return false;
}

static const char *whose(const struct outward_spec *wanted)
{
	return addr_is_wildcard(&wanted->guest) ? "this machine" : "loopback";
}

void ambient_hint(const struct sandbox_config *config)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "all_proxy", "ftp_proxy",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
	const char *display = value_of(config->env, "DISPLAY");
	char rule[OUTWARD_TEXT_BYTES];
	struct outward_spec spec;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *url = value_of(config->env, names[i]);
		const struct addr usual = addr_loopback4(0);

		if (!url || !read_proxy(url, &spec) || leads(config, &spec))
			continue;
		if (addr_is_same_ip(&spec.guest, &usual))
			snprintf(rule, sizeof(rule), "%u", spec.port);
		else
			outward_format(&spec, rule, sizeof(rule));
		log_warning("%s names port %u of %s, which is the sandbox's own inside: "
			    "-R %s leads to this host's",
			names[i], spec.port, whose(&spec), rule);
		break; /* the others are mostly the same */
	}
	if (read_display(display, &spec) && !leads(config, &spec))
		log_warning("DISPLAY names a port of %s, which is the sandbox's own inside: "
			    "--x11 leads to this host's",
			whose(&spec));
}

int ambient_add_display(struct sandbox_config *config, struct err *err)
{
	const char *display = value_of(config->env, "DISPLAY");
	struct outward_spec spec;

	if (!display || display[0] == '\0')
		return err_set(err, EINVAL,
			"--x11: DISPLAY is not set: expected a desktop's, or ssh -X's");
	/* the socket file of ":0" is there inside, too; other hosts are reached as ever */
	if (!read_display(display, &spec) || leads(config, &spec))
		return 0;
	return outward_list_add(&config->outwards, &spec, err);
}
