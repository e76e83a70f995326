/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/status - what is to be known about the hosts of a mesh */
#include "mesh/manager/status.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/control.h"
#include "mesh/info.h"
#include "util/clock.h"

#define PAGE_HOSTS  20 /* of one answer: also with the longest reasons they fit into a message */
#define NAME_COLUMN 24

static json_t *time_json(time_t when)
{
	char text[32];
	struct tm parts;

	gmtime_r(&when, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

static double ms_of(uint64_t ns)
{
	return (double)ns / NS_PER_MS;
}

static json_t *features_json(unsigned features)
{
	json_t *list = json_array();

	for (unsigned bit = 1; bit != 0 && bit <= features; bit <<= 1)
		if (features & bit)
			json_array_append_new(list, json_string(info_feature_name(bit)));
	return list;
}

static json_t *drops_json(const struct fabric_drops *drops)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "malformed",
		(json_int_t)drops->malformed, "wrong_source", (json_int_t)drops->wrong_source,
		"no_route", (json_int_t)drops->no_route, "not_ready", (json_int_t)drops->not_ready,
		"queue_full", (json_int_t)drops->queue_full, "not_allowed",
		(json_int_t)drops->not_allowed);
}

/* What its agent said of its ports; times have gone on since. */
static json_t *ports_json(const struct report_port *ports, size_t count, uint64_t later_s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count && i < REPORT_MAX; i++) {
		const struct report_port *port = &ports[i];
		char ip[INET_ADDRSTRLEN];

		json_array_append_new(list,
			json_pack("{s:s, s:i, s:s, s:o, s:I, s:I}", "ip",
				inet_ntop(AF_INET, &port->ip, ip, sizeof(ip)), "port",
				(int)port->port, "proto", port->proto == PROTO_TCP ? "tcp" : "udp",
				"why", control_text(port->why), "count", (json_int_t)port->count,
				"age", (json_int_t)port->age_s + (json_int_t)later_s));
	}
	return list;
}

static void add_report(json_t *host, const struct session *session)
{
	static const struct mesh_report nothing;
	const struct mesh_report *report = session->report ? session->report : &nothing;
	uint64_t later_s =
		session->report ? (loop_now_ns(session->link->loop) - session->report_ns) / NS_PER_S
				: 0;

	json_object_set_new(
		host, "missing", ports_json(report->missing, report->nmissing, later_s));
	json_object_set_new(host, "missing_total", json_integer((json_int_t)report->nmissing));
	json_object_set_new(
		host, "failing", ports_json(report->failing, report->nfailing, later_s));
	json_object_set_new(host, "failing_total", json_integer((json_int_t)report->nfailing));
	json_object_set_new(host, "unexposed", json_integer((json_int_t)report->unexposed));
	json_object_set_new(host, "unexposed_last",
		report->unexposed > 0 ? control_text(report->unexposed_last) : json_null());
}

/* What became of the command of its sandbox the last time. */
static json_t *ended_json(const struct session *session)
{
	const char *reason = session->ended.reason;

	if (!session->knows_end)
		return json_null();
	return json_pack("{s:i, s:o}", "status", (int)session->ended.status, "reason",
		reason[0] != '\0' ? control_text(reason) : json_null());
}

static json_t *stack_json(const char *text)
{
	return text[0] != '\0' ? control_text(text) : json_null();
}

static json_t *host_json(const struct peer *peer)
{
	struct peer_traffic traffic = peer_traffic(peer);
	uint64_t age_ns = loop_now_ns(peer->context->loop) - peer->since_ns;
	char vip[INET_ADDRSTRLEN];
	json_t *host = json_pack("{s:o, s:s, s:s, s:o, s:I}", "name", control_text(peer->name),
		"vip", inet_ntop(AF_INET, &peer->host->vip, vip, sizeof(vip)), "state",
		peer_state_name(peer), "since", time_json(peer->since), "age",
		(json_int_t)(age_ns / NS_PER_S));

	json_object_set_new(host, "rtt_ms",
		peer->session.rtt_ns ? json_real(ms_of(peer->session.rtt_ns)) : json_null());
	json_object_set_new(host, "version", control_text(peer->session.info.version));
	json_object_set_new(host, "stack", stack_json(peer->session.info.stack));
	json_object_set_new(host, "stack_why", stack_json(peer->session.info.stack_why));
	json_object_set_new(host, "features", features_json(peer->session.info.features));
	json_object_set_new(host, "in",
		json_pack("{s:I, s:I}", "bytes", (json_int_t)traffic.bytes_in, "packets",
			(json_int_t)traffic.packets_in));
	json_object_set_new(host, "out",
		json_pack("{s:I, s:I}", "bytes", (json_int_t)traffic.bytes_out, "packets",
			(json_int_t)traffic.packets_out));
	json_object_set_new(host, "drops", drops_json(&peer->port.drops));
	add_report(host, &peer->session);
	json_object_set_new(host, "ended", ended_json(&peer->session));
	json_object_set_new(host, "restarts", json_integer(peer->restarts));
	json_object_set_new(host, "bad_messages", json_integer(peer->session.bad_messages));
	json_object_set_new(
		host, "unknown_frames", json_integer((json_int_t)peer->session.unknown_frames));
	json_object_set_new(
		host, "reason", peer->reason[0] ? control_text(peer->reason) : json_null());
	json_object_set_new(
		host, "note", peer_note(peer)[0] ? control_text(peer_note(peer)) : json_null());
	json_object_set_new(host, "pid",
		peer->link.child.pid > 0 ? json_integer(peer->link.child.pid) : json_null());
	return host;
}

json_t *status_json(const struct roster *roster, const struct census *census, const char *name,
	const char *manifest, time_t started, size_t from)
{
	json_t *hosts = json_array();

	for (size_t i = from; i < roster->manifest.nhosts && i < from + PAGE_HOSTS; i++)
		json_array_append_new(hosts, host_json(roster->peers[i]));
	return json_pack("{s:b, s:s, s:i, s:o, s:o, s:I, s:o, s:o}", "ok", 1, "name", name, "pid",
		getpid(), "manifest", control_text(manifest), "started", time_json(started),
		"total", (json_int_t)roster->manifest.nhosts, "lists",
		from == 0 ? census_json(census) : json_array(), "hosts", hosts);
}

/* 999 B, 1.2 kB, 34 MB */
static void format_bytes(uint64_t bytes, char *out, size_t cap_bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= 1000;
	snprintf(out, cap_bytes, "%.*f %s", unit > 0 && value < 9.95 ? 1 : 0, value, units[unit]);
}

struct display_mark status_row(void *told, size_t row, char *out, size_t cap_bytes)
{
	const struct roster *roster = told;
	const struct peer *peer = roster->peers[row];
	struct peer_traffic traffic = peer_traffic(peer);
	char vip[INET_ADDRSTRLEN], in[16], sent[16], rtt[64] = "", state[40];
	const char *note = peer_note(peer);
	size_t width = 0;

	for (size_t i = 0; i < roster->manifest.nhosts; i++) {
		size_t len = strlen(roster->peers[i]->name);

		if (len > width)
			width = len < NAME_COLUMN ? len : NAME_COLUMN;
	}
	format_bytes(traffic.bytes_in, in, sizeof(in));
	format_bytes(traffic.bytes_out, sent, sizeof(sent));
	const struct mesh_report *report = peer->session.report;
	const size_t bad = report ? report->nmissing + report->nfailing : 0;
	if (peer->state == PEER_READY && peer->session.rtt_ns > 0)
		snprintf(rtt, sizeof(rtt), "%.2f ms", ms_of(peer->session.rtt_ns));
	if (bad > 0)
		snprintf(rtt + strlen(rtt), sizeof(rtt) - strlen(rtt), "  %zu port%s", bad,
			bad == 1 ? " does not work" : "s do not work");
	snprintf(state, sizeof(state), "%s", peer_state_name(peer));
	if (peer->state == PEER_STARTING)
		snprintf(state, sizeof(state), "starting, %llu s",
			(unsigned long long)((loop_now_ns(peer->context->loop) - peer->since_ns) /
					     NS_PER_S));
	size_t at = (size_t)snprintf(out, cap_bytes, "%-*.*s  %-15s  ", (int)width, NAME_COLUMN,
		peer->name, inet_ntop(AF_INET, &peer->host->vip, vip, sizeof(vip)));
	snprintf(out + at, cap_bytes - at, "%-8s  in %7s  out %7s  %s", state, in, sent,
		peer->state == PEER_READY ? rtt
		: note[0] != '\0'         ? note
					  : peer->reason);
	return (struct display_mark){at, strlen(state),
		peer->state == PEER_STARTING || bad > 0 ? DISPLAY_YELLOW
		: peer->state == PEER_READY             ? DISPLAY_GREEN
							: DISPLAY_RED};
}
