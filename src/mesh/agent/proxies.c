/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/proxies - this host's proxies: where they listen, who may use them */
#include "mesh/agent/proxies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn/listen.h"
#include "conn/names.h"
#include "conn/service.h"
#include "control/owner.h"
#include "mesh/agent/trips.h"
#include "mesh/agent/troubles.h"
#include "mesh/info.h"
#include "proxy/front.h"
#include "proxy/http.h"
#include "proxy/socks.h"
#include "util/fd.h"
#include "util/log.h"

#define LOOK_UP_AGAIN_MS 10000

/* Each proxy that there can be, and where the configuration speaks of it. */
static const struct kind {
	const struct front_protocol *protocol;
	unsigned feature;
	uint16_t default_port;
	size_t listen, user, password, only_user; /* offsets in struct mesh_config */
} kinds[] = {
	{&http_protocol, FEATURE_HTTP, LISTEN_HTTP_PORT, offsetof(struct mesh_config, http_listen),
		offsetof(struct mesh_config, http_user),
		offsetof(struct mesh_config, http_password),
		offsetof(struct mesh_config, http_only_user)},
	{&socks_protocol, FEATURE_SOCKS, LISTEN_SOCKS_PORT,
		offsetof(struct mesh_config, socks_listen),
		offsetof(struct mesh_config, socks_user),
		offsetof(struct mesh_config, socks_password),
		offsetof(struct mesh_config, socks_only_user)},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

#define ADDRS_MAX 2 /* of a listener: all of IPv4, all of IPv6 */

struct proxy {
	struct proxies *proxies;
	const struct kind *kind;
	struct front *front;
	bool is_on;
	struct listen listen; /* if it is on */
	struct addr addrs[ADDRS_MAX];
	size_t naddrs;              /* 0: not known yet */
	char why[REPORT_WHY_BYTES]; /* it does not work, or "" */
	struct lookup_query query;  /* of a name */
	struct lookup_answer answer;
};

struct proxies {
	struct proxies_start start;
	struct trips trips;
	struct services *services; /* whose ids are places in `list`, counted from 1 */
	struct troubles *troubles;
	struct loop_timer look_up; /* names again that are not known */
	struct in_addr me;
	struct proxy list[KINDS];
};

unsigned proxies_features(void)
{
	unsigned features = FEATURE_PROXY_ACCESS;

	for (size_t i = 0; i < KINDS; i++)
		features |= kinds[i].feature;
	return features;
}

static const char *name_of(const struct proxy *proxy)
{
	return proxy->kind->protocol->name;
}

static struct proxy *proxy_of(struct proxies *proxies, const struct service *service)
{
	return &proxies->list[service->id - 1];
}

/* --- listening ---------------------------------------------------------------------------- */

static void on_client(void *owner, const struct service *service, int fd, const struct addr *peer)
{
	front_add(proxy_of(owner, service)->front, fd, peer);
}

static int take(void *owner, const struct service *service)
{
	struct estate *estate = ((struct proxies *)owner)->start.estate;

	return estate ? estate_take(estate, service->proto, &service->addr) : -1;
}

static void on_served(void *owner, const struct service *service, int fd)
{
	struct estate *estate = ((struct proxies *)owner)->start.estate;

	if (estate)
		estate_add(estate, service->proto, &service->addr, fd);
}

static void on_closed(void *owner, const struct service *service)
{
	struct estate *estate = ((struct proxies *)owner)->start.estate;

	if (estate)
		estate_remove(estate, service->proto, &service->addr);
}

static void on_missing(void *owner, const struct service *service, const struct err *err)
{
	struct proxies *proxies = owner;

	troubles_say(proxies->troubles, "the %s proxy: %s; it is tried again",
		name_of(proxy_of(proxies, service)), err->text);
}

static void on_opened(void *owner, const struct service *service)
{
	struct proxies *proxies = owner;
	char text[ADDR_TEXT_BYTES];

	troubles_say(proxies->troubles, "the %s proxy works now at %s",
		name_of(proxy_of(proxies, service)),
		addr_format(&service->addr, text, sizeof(text)));
}

void proxies_keep(struct proxies *proxies)
{
	services_tell_served(proxies->services);
	services_try_missing(proxies->services);
}

static int serve(struct proxies *proxies, struct err *err)
{
	struct service list[KINDS * ADDRS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < KINDS; i++) {
		const struct proxy *proxy = &proxies->list[i];

		for (size_t k = 0; proxy->is_on && k < proxy->naddrs; k++)
			list[count++] = (struct service){
				.proto = PROTO_TCP,
				.addr = proxy->addrs[k],
				.is_given = true,
				.given_fds = (uint8_t)proxy->kind->protocol->guest_fds,
				.id = (uint16_t)(i + 1),
			};
	}
	return services_configure(proxies->services, list, count, err);
}

static void tell_missing(void *told, const struct service *service, const char *why)
{
	const struct proxies *proxies = ((void **)told)[0];
	struct in_addr ip =
		service->addr.family == AF_INET ? service->addr.v4.sin_addr : proxies->me;

	report_add_missing(((void **)told)[1], PROTO_TCP, ip, addr_port(&service->addr), why);
}

void proxies_report(const struct proxies *proxies, struct mesh_report *out)
{
	void *told[] = {(void *)proxies, out};

	services_each_missing(proxies->services, tell_missing, told);
	for (size_t i = 0; i < KINDS; i++) {
		const struct proxy *proxy = &proxies->list[i];

		if (proxy->why[0])
			report_add_missing(
				out, PROTO_TCP, proxies->me, proxy->listen.port, proxy->why);
	}
}

/* --- where -------------------------------------------------------------------------------- */

static void fail(struct proxy *proxy, const char *why)
{
	if (strcmp(proxy->why, why) != 0)
		troubles_say(
			proxy->proxies->troubles, "the %s proxy is off: %s", name_of(proxy), why);
	snprintf(proxy->why, sizeof(proxy->why), "%s", why);
}

/* Of a name that has both the IPv4 address. */
static void on_known(struct proxy *proxy, int result, const struct lookup_answer *answer)
{
	struct loop *loop = proxy->proxies->start.context->loop;
	char why[REPORT_WHY_BYTES];

	if (result < 0) {
		snprintf(why, sizeof(why), "cannot listen at %.60s: %s", proxy->listen.host,
			dial_words(result));
		fail(proxy, why);
		loop_timer_set(loop, &proxy->proxies->look_up, LOOK_UP_AGAIN_MS);
		return;
	}
	proxy->why[0] = '\0';
	proxy->addrs[0] = answer->addrs[0];
	for (size_t i = answer->count; i-- > 0;)
		if (answer->addrs[i].family == AF_INET)
			proxy->addrs[0] = answer->addrs[i];
	addr_set_port(&proxy->addrs[0], proxy->listen.port);
	proxy->naddrs = 1;
}

static void on_answer(struct lookup_query *query, int result, const struct lookup_answer *answer)
{
	struct proxy *proxy = container_of(query, struct proxy, query);
	struct err err;

	on_known(proxy, result, answer);
	if (result == 0 && serve(proxy->proxies, &err) < 0)
		log_warning("%s", err.text);
}

/* Has this network any IPv6? */
static bool has_ip6(void)
{
	const struct addr all = addr_of6(&in6addr_any, 0);
	_cleanup_fd_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && bind(fd, &all.any, addr_len(&all)) == 0;
}

static void find_addresses(struct proxy *proxy)
{
	const struct conn_context *context = proxy->proxies->start.context;
	const uint16_t port = proxy->listen.port;

	lookup_cancel(&proxy->query);
	proxy->naddrs = 0;
	if (!proxy->listen.host[0]) {
		proxy->addrs[proxy->naddrs++] = addr_of4((struct in_addr){htonl(INADDR_ANY)}, port);
		if (has_ip6())
			proxy->addrs[proxy->naddrs++] = addr_of6(&in6addr_any, port);
		return;
	}
	int result = names_start(context->names, proxy->listen.host, &proxy->query, &proxy->answer);
	if (result != -EINPROGRESS)
		on_known(proxy, result, &proxy->answer);
}

static void on_look_up(struct loop_timer *timer)
{
	struct proxies *proxies = container_of(timer, struct proxies, look_up);
	struct err err;

	for (size_t i = 0; i < KINDS; i++) {
		struct proxy *proxy = &proxies->list[i];

		if (proxy->is_on && proxy->naddrs == 0 && !list_is_linked(&proxy->query.link))
			find_addresses(proxy);
	}
	if (serve(proxies, &err) < 0)
		log_warning("%s", err.text);
}

/* --- a configuration ---------------------------------------------------------------------- */

static char *text_of(const struct mesh_config *config, size_t offset)
{
	char *text;

	memcpy(&text, (const char *)config + offset, sizeof(text));
	return text;
}

static void turn_off(struct proxy *proxy)
{
	lookup_cancel(&proxy->query);
	proxy->is_on = false;
	proxy->naddrs = 0;
}

static void warn_if_open(const struct proxy *proxy, const struct access *access, const char *text)
{
	if (!listen_is_local(&proxy->listen) && !access->user && !access->only_user)
		log_notice(
			"the %s proxy at %s serves everybody who reaches it", name_of(proxy), text);
}

/* Returns 0, also if it cannot work, or -ENOMEM. */
static int configure(struct proxy *proxy, const struct mesh_config *config)
{
	const struct kind *kind = proxy->kind;
	const char *text = text_of(config, kind->listen);
	const struct access access = {
		.user = text_of(config, kind->user),
		.password = text_of(config, kind->password),
		.only_user = *(const bool *)((const char *)config + kind->only_user),
	};
	struct listen listen = {.port = 0};
	struct err err;

	if (!text) {
		turn_off(proxy);
		proxy->why[0] = '\0';
		return 0;
	}
	if (listen_parse(text, kind->default_port, &listen, &err) < 0 ||
		!access_check(&access, &err)) {
		turn_off(proxy);
		fail(proxy, err.text);
		return 0;
	}
	if (front_set_access(proxy->front, &access) < 0)
		return -ENOMEM;
	if (proxy->is_on && proxy->naddrs > 0 && listen.port == proxy->listen.port &&
		strcmp(listen.host, proxy->listen.host) == 0)
		return 0;
	proxy->is_on = true;
	proxy->listen = listen;
	proxy->why[0] = '\0';
	find_addresses(proxy);
	warn_if_open(proxy, &access, text);
	return 0;
}

int proxies_configure(struct proxies *proxies, const struct mesh_config *config, struct err *err)
{
	int result = 0;

	proxies->me = config->me;
	for (size_t i = 0; result == 0 && i < KINDS; i++)
		result = configure(&proxies->list[i], config);
	for (size_t i = 0; result < 0 && i < KINDS; i++)
		turn_off(&proxies->list[i]);
	int served = serve(proxies, err);
	return result < 0 ? err_sys(err, -result, "cannot set up a proxy") : served;
}

/* --- start and end ------------------------------------------------------------------------ */

struct proxies *proxies_new(const struct proxies_start *start)
{
	static const struct service_ops ops = {
		.take = take,
		.on_served = on_served,
		.on_closed = on_closed,
		.explain = owner_explain,
		.on_client = on_client,
		.on_missing = on_missing,
		.on_opened = on_opened,
	};
	struct proxies *proxies = calloc(1, sizeof(*proxies));
	bool is_whole = true;

	if (!proxies)
		return NULL;
	proxies->start = *start;
	proxies->look_up.on_expired = on_look_up;
	trips_init(&proxies->trips, start->ways);
	proxies->troubles = troubles_new(start->context->loop, start->on_change, start->owner);
	proxies->services = services_new(start->context, &ops, proxies);
	for (size_t i = 0; i < KINDS; i++) {
		struct proxy *proxy = &proxies->list[i];

		proxy->proxies = proxies;
		proxy->kind = &kinds[i];
		proxy->query.on_answer = on_answer;
		proxy->front = front_new(start->context, kinds[i].protocol, &proxies->trips.guide);
		is_whole = is_whole && proxy->front;
	}
	if (is_whole && proxies->troubles && proxies->services)
		return proxies;
	proxies_free(proxies);
	return NULL;
}

void proxies_free(struct proxies *proxies)
{
	if (!proxies)
		return;
	loop_timer_cancel(proxies->start.context->loop, &proxies->look_up);
	services_free(proxies->services);
	for (size_t i = 0; i < KINDS; i++) {
		lookup_cancel(&proxies->list[i].query);
		front_free(proxies->list[i].front);
	}
	troubles_free(proxies->troubles);
	free(proxies);
}
