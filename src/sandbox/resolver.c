/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/resolver - what a sandbox knows of names: gathered by the supervisor, told to all who
 * need it */
#include "sandbox/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/hosts.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"
#include "util/parse.h"

#define WATCH_AFTER_MS  500
#define WATCH_EVENTS    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)
#define DNS_PORT        53
#define HOSTS_MAX_BYTES (1 << 20) /* what is behind is not read */

enum { FILE_RESOLV, FILE_HOSTS, FILE_SWITCH, FILES };

/* --- the host's files --------------------------------------------------------------------- */

/* The caller frees it; NULL without memory. What cannot be read is empty. */
static char *read_text(const char *path, size_t cap_bytes)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : fd_read_text(fd, cap_bytes, NULL);

	return text ? text : strdup("");
}

static void read_servers(struct resolver *resolver)
{
	const struct sandbox_config *config = resolver->config;
	struct resolv_conf *host = &resolver->host;
	char *text = read_text(RESOLV_CONF, RESOLV_TEXT_MAX_BYTES);

	if (!text)
		return;
	resolv_parse(text, strlen(text), host);
	free(text);
	if (config->dns_override.family) {
		host->servers[0] = config->dns_override;
		host->nservers = 1;
	}
	if (!config_is_alone(config) && !config->via.has_dns)
		return;
	host->nservers = 0;
	host->search[0] = host->options[0] = '\0';
}

static void read_own_names(struct resolver *resolver)
{
	char node[HOST_NAME_MAX + 1] = "";

	for (size_t i = 0; i < resolver->nown; i++)
		free(resolver->own[i]);
	gethostname(node, sizeof(node) - 1);
	resolver->nown =
		hosts_own_names(resolver->host_hosts, node, resolver->own, RESOLVER_OWN_MAX);
}

static void read_host(struct resolver *resolver)
{
	char *hosts = read_text(HOSTS_CONF, HOSTS_MAX_BYTES);

	read_servers(resolver);
	if (!hosts)
		return;
	free(resolver->host_hosts);
	resolver->host_hosts = hosts;
	read_own_names(resolver);
}

/* --- the sandbox's files ------------------------------------------------------------------ */

/* Where this machine's own name leads: an address inside at which forwards look, too. */
static struct addr own_address(const struct resolver *resolver)
{
	const struct net_plan *plan = &resolver->config->net;

	return plan->has_outbound ? addr_of4(plan->guest, 0) : addr_loopback4(0);
}

static size_t count_names(const struct resolver *resolver)
{
	size_t count = resolver->nown;

	list_each (at, &resolver->told)
		count += json_array_size(container_of(at, struct resolver_told, link)->names);
	return count;
}

static char *make_hosts(const struct resolver *resolver)
{
	struct hosts_name *names = calloc(count_names(resolver) + 1, sizeof(*names));
	size_t count = 0, i;
	struct err err;
	json_t *item;

	if (!names)
		return NULL;
	for (; count < resolver->nown; count++)
		names[count] = (struct hosts_name){resolver->own[count], own_address(resolver)};
	list_each (at, &resolver->told)
		json_array_foreach(container_of(at, struct resolver_told, link)->names, i, item)
		{
			names[count].name = json_string_value(json_array_get(item, 0));
			addr_parse(json_string_value(json_array_get(item, 1)), &names[count].addr,
				&err);
			count++;
		}
	char *text = hosts_format(resolver->host_hosts ? resolver->host_hosts : "", names, count);
	free(names);
	return text;
}

static char *make_resolv(const struct resolver *resolver)
{
	char *text = malloc(RESOLVER_TEXT_BYTES);

	if (text && resolv_format(&resolver->host, &resolver->config->net.dns, text,
			    RESOLVER_TEXT_BYTES) < 0)
		text[0] = '\0';
	return text;
}

static char *make_switch(const struct resolver *resolver)
{
	char *host = read_text(NSSWITCH_CONF, RESOLV_TEXT_MAX_BYTES);
	char *text = hosts_format_switch(host ? host : "", config_is_alone(resolver->config));

	free(host);
	return text;
}

/* Make the text of file @i again; write it where there is an /etc. Returns true if it is another.
 */
static bool renew(struct resolver *resolver, size_t i)
{
	struct etc_file *file = &resolver->files.items[i];
	char *before = (char *)file->text;

	if (i != FILE_HOSTS && !resolver->config->net.has_dns)
		return false;
	file->text = i == FILE_HOSTS    ? make_hosts(resolver)
		     : i == FILE_RESOLV ? make_resolv(resolver)
					: make_switch(resolver);
	bool is_same = before && file->text && strcmp(before, file->text) == 0;
	if (!file->text)
		file->text = before;
	else
		free(before);
	if (is_same || resolver->etc < 0 || !file->text)
		return !is_same;
	int result = etc_write(resolver->etc, file->name, file->text);
	if (result < 0)
		log_info("cannot renew /etc/%s inside: %s", file->name, strerror(-result));
	return true;
}

/* --- following the host ------------------------------------------------------------------- */

static void add_watches(struct resolver *resolver)
{
	char real[PATH_MAX];

	/* directories: a file is usually replaced, not rewritten; a link may be turned, too */
	inotify_add_watch(resolver->watch.fd, "/etc", WATCH_EVENTS);
	if (!realpath(RESOLV_CONF, real))
		return;
	*strrchr(real, '/') = '\0';
	inotify_add_watch(resolver->watch.fd, real, WATCH_EVENTS);
}

static void follow(struct resolver *resolver)
{
	struct resolv_conf before = resolver->host;
	bool has_changed = false;

	read_host(resolver);
	for (size_t i = 0; i < FILES; i++)
		has_changed |= renew(resolver, i);
	int result = resolver->etc >= 0 ? etc_follow(resolver->etc, &resolver->files) : 0;
	if (result < 0)
		log_info("/etc inside is not as the host's: %s", strerror(-result));
	if (has_changed || memcmp(&before, &resolver->host, sizeof(before)) != 0)
		resolver->on_change(resolver->owner);
}

static void on_watch(struct loop_io *io, uint32_t events)
{
	struct resolver *resolver = container_of(io, struct resolver, watch);
	char discard[4096];

	(void)events;
	while (read(io->fd, discard, sizeof(discard)) > 0)
		;
	add_watches(resolver);
	follow(resolver);
}

static void on_watch_begin(struct loop_timer *timer)
{
	struct resolver *resolver = container_of(timer, struct resolver, watch_begin);

	add_watches(resolver);
	loop_io_add(resolver->loop, &resolver->watch, EPOLLIN);
	/* what has changed since the files were read */
	follow(resolver);
}

void resolver_watch(struct resolver *resolver, int etc)
{
	resolver->etc = etc;
	/* to close a watch takes the kernel up to 20 ms, which is long at the end of a short
	 * COMMAND */
	if (resolver->watch.fd >= 0)
		loop_timer_set(resolver->loop, &resolver->watch_begin, WATCH_AFTER_MS);
}

void resolver_init(struct resolver *resolver, const struct sandbox_config *config,
	struct loop *loop, void (*on_change)(void *owner), void *owner)
{
	*resolver = (struct resolver){.config = config,
		.loop = loop,
		.on_change = on_change,
		.owner = owner,
		.etc = -1,
		.watch = {-1, on_watch},
		.watch_begin.on_expired = on_watch_begin,
		.files = {.items = {[FILE_RESOLV] = {"resolv.conf", NULL},
				  [FILE_HOSTS] = {"hosts", NULL},
				  [FILE_SWITCH] = {"nsswitch.conf", NULL}},
			.count = FILES}};
	resolver->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	list_init(&resolver->told);
	read_host(resolver);
	for (size_t i = 0; i < FILES; i++)
		renew(resolver, i);
}

void resolver_fini(struct resolver *resolver)
{
	fd_close(&resolver->etc);
	loop_timer_cancel(resolver->loop, &resolver->watch_begin);
	loop_io_del(resolver->loop, &resolver->watch);
	fd_close(&resolver->watch.fd);
	for (size_t i = 0; i < resolver->nown; i++)
		free(resolver->own[i]);
	for (size_t i = 0; i < FILES; i++)
		free((char *)resolver->files.items[i].text);
	free(resolver->host_hosts);
}

/* --- the name server ---------------------------------------------------------------------- */

static json_t *pair(const char *name, const struct addr *addr)
{
	char text[ADDR_TEXT_BYTES];

	return json_pack("[s, s]", name, addr_format_ip(addr, text, sizeof(text)));
}

/* This machine's names, also as programs ask for them that put a search domain behind. */
static void put_own_names(const struct resolver *resolver, json_t *names, const json_t *search)
{
	struct addr addr = own_address(resolver);
	const json_t *domain;
	size_t at;

	for (size_t i = 0; i < resolver->nown; i++) {
		char *full;

		json_array_append_new(names, pair(resolver->own[i], &addr));
		json_array_foreach(search, at, domain)
		{
			if (strchr(resolver->own[i], '.') ||
				asprintf(&full, "%s.%s", resolver->own[i],
					json_string_value(domain)) < 0)
				continue;
			json_array_append_new(names, pair(full, &addr));
			free(full);
		}
	}
}

static json_t *search_json(const struct resolver *resolver)
{
	json_t *search = json_array();
	char *rest, *copy = strdup(resolver->host.search);

	for (char *word = copy ? strtok_r(copy, " ", &rest) : NULL; word;
		word = strtok_r(NULL, " ", &rest))
		json_array_append_new(search, json_string(word));
	free(copy);
	return search;
}

static json_t *servers_json(const struct resolver *resolver)
{
	json_t *servers = json_array();
	char text[ADDR_TEXT_BYTES];

	for (size_t i = 0; i < resolver->host.nservers; i++) {
		const struct addr *addr = &resolver->host.servers[i];

		json_array_append_new(servers,
			json_pack("{s:s, s:I}", "ip", addr_format_ip(addr, text, sizeof(text)),
				"scope",
				(json_int_t)(addr->family == AF_INET6 ? addr->v6.sin6_scope_id
								      : 0)));
	}
	return servers;
}

/* Whatever nobody has told of. */
static json_t *exit_pattern(void)
{
	const struct addr addr = addr_of4((struct in_addr){htonl(HELLO_DNS_ADDRESS)}, 0);
	char text[ADDR_TEXT_BYTES];

	return json_pack("[s, s, i]", "*", addr_format_ip(&addr, text, sizeof(text)), DNS_PORT);
}

static json_t *table_json(const struct resolver *resolver)
{
	json_t *names = json_array(), *patterns = json_array(), *search = search_json(resolver);

	put_own_names(resolver, names, search);
	list_each (at, &resolver->told) {
		const struct resolver_told *told = container_of(at, struct resolver_told, link);

		json_array_extend(names, told->names);
		json_array_extend(patterns, told->patterns);
	}
	if (resolver->config->via.has_dns)
		json_array_append_new(patterns, exit_pattern());
	return json_pack("{s:o, s:o, s:o, s:o}", "names", names, "patterns", patterns, "search",
		search, "servers", servers_json(resolver));
}

int resolver_table(const struct resolver *resolver)
{
	json_t *table = table_json(resolver);
	char *text = json_dumps(table, 0); /* json_dumpfd() writes each word by itself */
	_cleanup_fd_ int fd = memfd_create("names", MFD_CLOEXEC);
	int result = fd < 0 ? -errno : text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;

	free(text);
	json_decref(table);
	return result < 0 ? result : fd_take(&fd);
}

/* --- agents ------------------------------------------------------------------------------- */

/* A name is in files that programs read, so nothing gets there that is none. */
static bool is_name(const char *text, bool is_pattern)
{
	const char *more = is_pattern ? "*" : "";

	if (!text || !*text || strlen(text) > 253)
		return false;
	for (; *text; text++)
		if (!(*text >= '0' && *text <= '9') && !(*text >= 'A' && *text <= 'Z') &&
			!(*text >= 'a' && *text <= 'z') && !strchr("-._", *text) &&
			!strchr(more, *text))
			return false;
	return true;
}

/* A copy without what is no name, or pattern; NULL if @list is none of such and addresses. */
static json_t *check_list(const json_t *list, bool is_pattern, struct err *err)
{
	json_t *item, *checked = json_array();
	size_t i;
	struct addr addr;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_array_get(item, 0));
		const char *text = json_string_value(json_array_get(item, 1));

		if (json_array_size(item) != 2 || !name || !text ||
			addr_parse(text, &addr, err) < 0)
			goto fail;
		if (is_name(name, is_pattern))
			json_array_append(checked, item);
		else
			log_info("no name, so it is not known inside: %s", PARSE_QUOTED(name));
	}
	if (json_is_array(list))
		return checked;
fail:
	json_decref(checked);
	err_set(err, EINVAL, "expected lists of [NAME, ADDRESS]");
	return NULL;
}

static void renew_told(struct resolver *resolver)
{
	renew(resolver, FILE_HOSTS);
	resolver->on_change(resolver->owner);
}

int resolver_tell(struct resolver *resolver, struct resolver_told *told, const json_t *names,
	const json_t *patterns, struct err *err)
{
	json_t *new_names = check_list(names, false, err);
	json_t *new_patterns = new_names ? check_list(patterns, true, err) : NULL;

	if (!new_patterns) {
		json_decref(new_names);
		return -EINVAL;
	}
	json_decref(told->names);
	json_decref(told->patterns);
	told->names = new_names;
	told->patterns = new_patterns;
	if (!list_is_linked(&told->link))
		list_add_last(&resolver->told, &told->link);
	renew_told(resolver);
	return 0;
}

void resolver_forget(struct resolver *resolver, struct resolver_told *told)
{
	if (!list_is_linked(&told->link))
		return;
	list_del(&told->link);
	json_decref(told->names);
	json_decref(told->patterns);
	told->names = told->patterns = NULL;
	renew_told(resolver);
}
