/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/jupyterhub - --jupyterhub: what a server of JupyterHub needs of its network, read from what
 * its hub says */
#include "cmd/jupyterhub.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/resolve.h"
#include "net/diag.h"
#include "util/fd.h"
#include "util/parse.h"

#define SERVICE   "JUPYTERHUB_SERVICE_URL"
#define URL_BYTES 2048

/* "https://127.0.0.1:43210/user/me/" */
struct url {
	char host[OUTWARD_HOST_BYTES];
	uint16_t port;
	char scheme[8];
	const char *path; /* what follows the port, within the text */
};

static int refuse(const char *name, const char *text, struct err *err)
{
	return err_set(err, EINVAL,
		"--jupyterhub: %s is %s: expected such as http://127.0.0.1:8888/user/me/", name,
		PARSE_QUOTED(text));
}

static int read_url(const char *name, const char *text, struct url *out, struct err *err)
{
	const bool is_tls = strncmp(text, "https://", 8) == 0;
	char digits[8];

	if (!is_tls && strncmp(text, "http://", 7) != 0)
		return refuse(name, text, err);
	const char *host = text + (is_tls ? 8 : 7), *end = host + strcspn(host, "/?#");
	const char *start = host[0] == '[' ? host + 1 : host;
	const char *stop = host[0] == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
	const char *colon = stop ? stop + 1 : host + strcspn(host, ":/?#");

	g_strlcpy(out->scheme, is_tls ? "https" : "http", sizeof(out->scheme));
	if (!stop)
		stop = colon;
	if (stop < start || stop - start >= (ptrdiff_t)sizeof(out->host) || colon > end)
		return refuse(name, text, err);
	snprintf(out->host, sizeof(out->host), "%.*s", (int)(stop - start), start);
	out->port = is_tls ? 443 : 80;
	out->path = end;
	if (colon == end)
		return 0;
	if (*colon != ':' ||
		snprintf(digits, sizeof(digits), "%.*s", (int)(end - colon - 1), colon + 1) >=
			(int)sizeof(digits) ||
		parse_port(digits, false, &out->port, NULL) < 0)
		return refuse(name, text, err);
	return 0;
}

/* --- the hub ------------------------------------------------------------------------------ */

/*
 * Is the hub at @url reached by a port that leads outwards? Then @spec is it. Other names of
 * loopback, in /etc/hosts or DNS, lead to the sandbox's own inside as well.
 */
static bool leads_out(const struct url *url, struct outward_spec *spec)
{
	char text[ADDR_TEXT_BYTES];
	struct addr addr;
	struct err err;

	if (resolve_twin(url->host, url->port, spec))
		return true;
	return resolve_host(url->host, &addr, &err) == 0 && addr_is_loopback(&addr) &&
	       resolve_twin(addr_format_ip(&addr, text, sizeof(text)), url->port, spec);
}

static int add_outward(struct sandbox_config *config, struct outward_spec *spec, struct err *err)
{
	for (size_t i = 0; i < config->outwards.count; i++)
		if (outward_clash(&config->outwards.items[i], spec))
			return 0; /* the other variable has it, or the caller has said better */
	return outward_list_add(&config->outwards, spec, err);
}

/* Who listens where the hub is: -ENOENT, nobody on this host. */
static int find_user(const struct url *url, uid_t *uid)
{
	struct err err;
	struct addr addr;
	_cleanup_fd_ int nl = diag_open();

	if (nl < 0 || resolve_host(url->host, &addr, &err) < 0 || !diag_is_own_address(&addr))
		return -ENOENT;
	addr_set_port(&addr, url->port);
	return diag_listener_uid(nl, PROTO_TCP, &addr, uid);
}

static void allow(struct sandbox_config *config, const struct url *hub, bool is_open)
{
	uid_t uid;

	if (config->checks_user || config->allows_network)
		return;
	config->checks_user = true;
	config->users[0] = geteuid();
	config->nusers = 1;
	if (find_user(hub, &uid) == 0) {
		if (uid != geteuid())
			config->users[config->nusers++] = uid;
	} else {
		config->allows_network = is_open;
	}
}

/* Nothing but a port that leads outwards gets out. */
static int check_way(const struct sandbox_config *config, const struct url *hub, struct err *err)
{
	if (config->net.has_outbound)
		return 0;
	return err_set(err, EINVAL,
		"--jupyterhub: the hub is at %s, which --network none cuts off: expected a hub of this "
		"host, at 127.0.0.1 or this machine's name (c.JupyterHub.hub_connect_ip)",
		PARSE_QUOTED(hub->host));
}

/* --- the server --------------------------------------------------------------------------- */

/* It listens at an address of the host; inside that may not be there, and loopback always is. */
static int move_inside(struct run_options *options, const struct url *url, const struct addr *addr,
	struct err *err)
{
	if (addr_is_wildcard(addr) || addr_is_loopback(addr))
		return 0;
	options->service_url =
		g_strdup_printf(SERVICE "=%s://127.0.0.1:%u%s", url->scheme, url->port, url->path);
	return env_set(&options->env, options->service_url, err);
}

static int lead_in(
	struct run_options *options, const struct url *url, struct addr *addr, struct err *err)
{
	struct forward_spec spec = {.guest_port = url->port, .proto = PROTO_TCP};

	/* as the server reads them: jupyterhub-singleuser, and Jupyter's own "*" */
	if (url->host[0] == '\0')
		*addr = addr_loopback4(0);
	else if (strcmp(url->host, "*") == 0)
		*addr = addr_of4((struct in_addr){INADDR_ANY}, 0);
	else if (resolve_host(url->host, addr, err) < 0)
		return -EINVAL;
	spec.host = *addr;
	addr_set_port(&spec.host, url->port);
	for (size_t i = 0; i < options->config.forwards.count; i++)
		if (spec_clash(&options->config.forwards.items[i], &spec))
			return 0;
	return spec_list_add(&options->config.forwards, &spec, err);
}

int jupyterhub_apply(struct run_options *options, struct err *err)
{
	static const char *const hubs[] = {"JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"};
	struct url url, hub = {.host = "localhost", .port = 8081};
	const char *text = getenv(SERVICE);
	struct outward_spec spec;
	struct addr addr;

	if (!text || text[0] == '\0')
		return err_set(err, EINVAL,
			"--jupyterhub: %s is not set: expected to be started by JupyterHub, with "
			"c.Spawner.cmd = [\"nswrap\", \"--jupyterhub\", \"--\", \"jupyterhub-singleuser\"]",
			SERVICE);
	if (read_url(SERVICE, text, &url, err) < 0 || lead_in(options, &url, &addr, err) < 0 ||
		move_inside(options, &url, &addr, err) < 0)
		return -EINVAL;
	for (size_t i = G_N_ELEMENTS(hubs); i-- > 0;) {
		text = getenv(hubs[i]);
		if (!text || text[0] == '\0')
			continue;
		if (read_url(hubs[i], text, &hub, err) < 0)
			return -EINVAL;
		int result = leads_out(&hub, &spec) ? add_outward(&options->config, &spec, err)
						    : check_way(&options->config, &hub, err);
		if (result < 0)
			return -EINVAL;
	}
	allow(&options->config, &hub, !addr_is_loopback(&addr));
	return 0;
}
