/* SPDX-License-Identifier: Apache-2.0 */
/* test_roster - of two manifests at random: which hosts stay, are told, are started again */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifest_report.h"
#include "mesh/info.h"
#include "mesh/manager/roster.h"

#define NAMES  6
#define ROUNDS 20000

#define TEXT_BYTES 8192

static uint64_t seed = 5;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % limit;
}

/* One host, every part of it a number of a few: 0 is not given. */
struct model_host {
	unsigned name, vip, cmd, tcp, udp, http, state_dir, etc_hosts, any_port, alias, no_restart,
		sandbox;
};

struct model {
	struct model_host hosts[NAMES];
	size_t nhosts;
	unsigned route; /* 0: none */
};

static void make_at_random(struct model *model)
{
	bool has_name[NAMES] = {false};

	model->nhosts = 0;
	model->route = random_below(3);
	for (int i = 0; i < NAMES; i++) {
		unsigned name = random_below(NAMES);

		if (has_name[name] && model->nhosts > 0)
			continue;
		has_name[name] = true;
		/* a VIP or an alias is one host's alone: each host has its own range */
		model->hosts[model->nhosts++] = (struct model_host){.name = name,
			.vip = name * 2 + (random_below(12) == 0),
			.cmd = random_below(12) == 0,
			.tcp = random_below(3),
			.udp = random_below(6) == 0,
			.http = random_below(6) == 0,
			.state_dir = random_below(8) == 0,
			.etc_hosts = random_below(8) == 0,
			.any_port = random_below(8) == 0,
			.alias = random_below(8) == 0,
			.no_restart = random_below(8) == 0,
			.sandbox = random_below(20) == 0};
	}
}

/* Some members of a few hosts are other ones; hosts come, go, and stand in another order. */
static void change_at_random(struct model *model)
{
	struct model other;

	make_at_random(&other);
	for (size_t i = 0; i < model->nhosts; i++) {
		unsigned *member = (unsigned *)&model->hosts[i] + 2 + random_below(10);

		if (random_below(4) == 0)
			*member = *member ? 0 : 1;
	}
	if (random_below(4) == 0)
		model->nhosts -= model->nhosts > 1;
	if (random_below(4) == 0 && model->nhosts > 1) {
		struct model_host first = model->hosts[0];

		model->hosts[0] = model->hosts[model->nhosts - 1];
		model->hosts[model->nhosts - 1] = first;
	}
	if (random_below(8) == 0)
		model->hosts[0].vip ^= 1;
	if (random_below(8) == 0)
		model->route = other.route;
	if (random_below(10) == 0)
		*model = other;
}

static size_t append(char *text, size_t len, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static size_t append(char *text, size_t len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	len += (size_t)vsnprintf(text + len, TEXT_BYTES - len, format, args);
	va_end(args);
	assert_true(len < TEXT_BYTES);
	return len;
}

static void parse(const struct model *model, struct manifest *out)
{
	static char text[TEXT_BYTES];
	static struct report report;
	size_t len = append(text, 0, "hosts:\n");

	for (size_t i = 0; i < model->nhosts; i++) {
		const struct model_host *host = &model->hosts[i];

		len = append(
			text, len, "  h%u:\n    vip: 127.0.42.%u\n", host->name, host->vip + 10);
		if (host->cmd)
			len = append(text, len, "    cmd: [\"other\", \"command\"]\n");
		if (host->tcp || host->udp)
			len = append(text, len, "    ports:%s\n", "");
		if (host->tcp)
			len = append(text, len, "      - \"8080:127.0.0.1:%u\"\n", host->tcp);
		if (host->udp)
			len = append(text, len, "      - \"53:127.0.0.1:53/udp\"\n");
		if (host->http)
			len = append(text, len, "    http: {listen: \"127.0.0.1:18080\"}\n");
		if (host->state_dir)
			len = append(text, len, "    stateDir: {pathOnAgent: \"/tmp/state\"}\n");
		if (host->etc_hosts)
			len = append(text, len, "    writeEtcHosts: true\n");
		if (host->any_port)
			len = append(text, len, "    anyPort: true\n");
		if (host->alias)
			len = append(text, len, "    aliases: [\"a%u\"]\n", host->name);
		if (host->sandbox)
			len = append(text, len, "    sandbox: {command: x}\n");
		if (host->no_restart)
			len = append(text, len, "    restart: never\n");
	}
	if (model->route)
		len = append(text, len, "routes:\n  - via: h%u\n    to: [\"10.%u.0.0/16\"]\n",
			model->hosts[0].name, model->route);
	if (parse_bytes(text, len, out, &report) < 0)
		fail_msg("%s%s", text, report.text);
}

/* All that host @self is told, by the numbers of the model; without what it does not know. */
static void tell(const struct model *model, size_t self, unsigned features, char *key)
{
	const struct model_host *own = &model->hosts[self];
	bool has_udp = features & FEATURE_UDP;
	size_t len = append(key, 0, "%u %u %u %u %u %u %u;", own->vip, own->tcp,
		has_udp ? own->udp : 0, own->http, own->state_dir, own->etc_hosts,
		features & FEATURE_SANDBOX ? own->any_port : 0);

	/* what others offer is a list, their names are a map: the order of a list counts */
	for (size_t i = 0; i < model->nhosts; i++) {
		const struct model_host *host = &model->hosts[i];

		len = append(key, len, "s%u ", host->vip);
		if (i != self)
			len = append(key, len, "%u %u;", host->tcp > 0, has_udp ? host->udp : 0);
	}
	for (unsigned name = 0; name < NAMES; name++)
		for (size_t i = 0; i < model->nhosts; i++)
			if (model->hosts[i].name == name)
				len = append(key, len, "n%u %u %u;", name, model->hosts[i].vip,
					model->hosts[i].alias);
	if (model->route)
		append(key, len, "r%u %u", model->hosts[0].vip, model->route);
}

static enum roster_change expected(const struct peer *known, const struct model *before, size_t old,
	const struct model *after, size_t host)
{
	static char was_told[TEXT_BYTES], to_tell[TEXT_BYTES];
	unsigned features = known->session.info.features;
	const struct model_host *was = &before->hosts[old], *is = &after->hosts[host];
	bool is_as_it_was = memcmp(was, is, sizeof(*was)) == 0;
	/* what it answered once counts for nothing when nothing of it runs */
	bool listens = known->state != PEER_DOWN && known->state != PEER_ENDING &&
		       known->session.is_answered;

	if (was->cmd != is->cmd || was->sandbox != is->sandbox)
		return ROSTER_REPLACE;
	if (was->vip != is->vip)
		return ROSTER_RESTART;
	tell(before, old, features, was_told);
	tell(after, host, features, to_tell);
	if (strcmp(was_told, to_tell) == 0) /* only how it is kept running may have changed */
		return known->state == PEER_DOWN && !is_as_it_was ? ROSTER_RESTART : ROSTER_NOTHING;
	if (is_as_it_was && listens && (features & FEATURE_AMEND) &&
		before->route == after->route &&
		(!before->route || before->hosts[0].vip == after->hosts[0].vip))
		return ROSTER_AMEND;
	/* what the others have changed waits for its next start, if it cannot be told */
	return (listens && (features & FEATURE_RECONFIGURE)) || is_as_it_was ? ROSTER_TELL
									     : ROSTER_RESTART;
}

static void at_random(void **state)
{
	static const unsigned features[] = {0, FEATURE_UDP, FEATURE_SANDBOX,
		FEATURE_UDP | FEATURE_SANDBOX | FEATURE_RECONFIGURE,
		FEATURE_UDP | FEATURE_SANDBOX | FEATURE_RECONFIGURE | FEATURE_AMEND};
	static const enum peer_state states[] = {PEER_DOWN, PEER_READY, PEER_ENDING};
	size_t seen[5] = {0}, nobody = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct model before, after;
		struct manifest was, is;
		struct difference difference;

		make_at_random(&before);
		after = before;
		if (random_below(8) != 0)
			change_at_random(&after);
		parse(&before, &was);
		parse(&after, &is);
		assert_int_equal(difference_make(&was, &is, &difference), 0);
		for (size_t i = 0; i < after.nhosts; i++) {
			int old = ROUTER_NOBODY;
			struct peer known = {
				.state = states[random_below(COUNT(states))],
				.session.is_answered = random_below(2),
				.session.info.features = features[random_below(COUNT(features))],
			};

			for (size_t j = 0; j < before.nhosts; j++)
				if (before.hosts[j].name == after.hosts[i].name)
					old = (int)j;
			assert_int_equal(roster_find(&was, &is, i), old);
			nobody += old == ROUTER_NOBODY;
			if (old == ROUTER_NOBODY)
				continue;
			enum roster_change wanted =
				expected(&known, &before, (size_t)old, &after, i);
			seen[wanted]++;
			assert_int_equal(
				roster_compare(&known, &was, (size_t)old, &is, i, &difference),
				wanted);
		}
		difference_fini(&difference);
		manifest_free(&was);
		manifest_free(&is);
	}
	/* all of it was tried */
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_true(seen[i] > ROUNDS / 50);
	assert_true(nobody > ROUNDS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
