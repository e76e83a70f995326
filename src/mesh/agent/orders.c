/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/orders - what the manager says to an agent, and what the agent says by itself */
#include "mesh/agent/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/agent/crier.h"
#include "mesh/agent/features.h"
#include "mesh/amend.h"
#include "mesh/configure.h"
#include "mesh/info.h"
#include "mesh/message.h"
#include "util/log.h"

/* --- what the agent says by itself -------------------------------------------------------- */

static void send_message(struct agent *agent, struct message *message)
{
	size_t len;
	char *text = message_encode(message, &len);
	int sent = text ? wire_send_message(&agent->wire, text, len) : -ENOMEM;

	free(text);
	if (sent < 0)
		log_warning("cannot tell the manager: %s", strerror(-sent));
}

static json_t *report(struct agent *agent)
{
	struct mesh_report out = {.nmissing = 0};

	role_report(agent->role, &out);
	proxies_report(agent->proxies, &out);
	outlet_report(&agent->outlet, &out);
	return report_encode(&out);
}

void orders_on_change(void *owner)
{
	struct agent *agent = owner;
	struct message event = {.type = MESSAGE_EVENT, .op = "report"};

	if (!agent->is_reporting)
		return;
	event.data = report(agent);
	send_message(agent, &event);
}

static int settle_nets(struct agent *agent)
{
	if (agent->is_sandbox)
		ways_each_network(agent->ways, nets_want, &agent->nets);
	else
		nets_want(&agent->nets, (struct in_addr){0}, 0);
	return nets_settle(&agent->nets, gate_self(agent->gate));
}

void orders_on_learnt(void *owner, const struct in_addr *ips, size_t count, struct in_addr via)
{
	struct agent *agent = owner;
	struct message event = {.type = MESSAGE_EVENT, .op = "routeSuggestion"};

	event.data = message_encode_suggestion(ips, count, via);
	send_message(agent, &event);
	if (settle_nets(agent) < 0)
		log_warning("cannot route what was looked up: out of memory");
}

/* --- events ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in_addr));
}

/* No manager has a say in what is not of its mesh. */
static void on_event(struct agent *agent, const struct message *event)
{
	struct in_addr told[MESSAGE_GONE_MAX], gone[MESSAGE_GONE_MAX];
	size_t npeers, ngone = 0;
	const struct in_addr *peers = role_peers(agent->role, &npeers);
	struct err err;

	if (strcmp(event->op, "leave") == 0) {
		agent->is_left = true;
		estate_end(&agent->estate);
	}
	if (strcmp(event->op, "gone") != 0)
		return; /* a newer manager knows more of them */
	ssize_t count = message_decode_gone(event->data, told, &err);
	if (count < 0) {
		log_warning("the manager sent a wrong event: %s", err.text);
		return;
	}
	for (ssize_t i = 0; i < count; i++)
		if (npeers > 0 && bsearch(&told[i], peers, npeers, sizeof(told[i]), compare))
			gone[ngone++] = told[i];
	qsort(gone, ngone, sizeof(gone[0]), compare);
	ferry_forget(agent->quay.ferry, gone, ngone);
	crossing_reset(&agent->crossing, gone, ngone);
}

void orders_reset(struct agent *agent)
{
	size_t count = 0;
	const struct in_addr *peers = agent->role ? role_peers(agent->role, &count) : NULL;

	crossing_reset(&agent->crossing, peers, count);
}

/* --- requests ----------------------------------------------------------------------------- */

static unsigned own_features(const struct agent *agent)
{
	bool can_hand_over = agent->handover && agent->handover->check;

	return can_hand_over || (agent->greeting && agent->greeting->runs_sandbox)
		       ? FEATURE_SANDBOX_RUN
		       : 0;
}

/* Is it another agent that is wanted? Then this one does nothing of it. */
static int look_for_sandbox(struct agent *agent, struct mesh_config *config, struct err *err)
{
	if (!config->sandbox.command || (agent->greeting && agent->greeting->runs_sandbox))
		return 0;
	return agent->handover ? handover_begin(agent->handover, config, err)
			       : err_set(err, EPERM, "sandbox: this agent is in one already");
}

/* Follow what @config says from now on, all of it. Returns 0, or below 0 with @err filled. */
static int follow(struct agent *agent, const struct mesh_config *config, struct err *err)
{
	int result = tenure_begin(&agent->tenure, config, err);

	if (result > 0) {
		role_on_takeover(agent->role);
		nets_forget(&agent->nets);
	}
	if (result >= 0 && !agent->is_sandbox)
		estate_begin(&agent->estate,
			agent->tenure.tenant.listen_fd < 0 ? -1 : agent->tenure.tenant.hub_fd,
			config->identity, config->keep_s);
	if (result >= 0 && nameservice_configure(agent->names, config) < 0)
		result = err_sys(err, ENOMEM, "cannot read the names");
	if (result >= 0 && outlet_configure(&agent->outlet, config->expose, err) < 0)
		result = -err->code;
	if (result >= 0)
		result = role_configure(agent->role, config, err);
	if (result == 0 && (ways_configure(agent->ways, config) < 0 || settle_nets(agent) < 0))
		result = err_sys(err, ENOMEM, "cannot read the configuration");
	if (result == 0 && quay_configure(&agent->quay) < 0)
		result = err_sys(err, ENOMEM, "cannot read the configuration");
	if (result == 0 && !agent->is_sandbox)
		hostfiles_configure(&agent->hostfiles, config);
	if (result == 0 && agent->told_names >= 0) {
		int told = crier_tell(agent->told_names, config);
		if (told < 0)
			log_warning("cannot tell the sandbox the names of the mesh: %s",
				strerror(-told));
	}
	if (result == 0)
		result = proxies_configure(agent->proxies, config, err);
	/* the first one may not say all that there is (mesh/manager/session) */
	if (agent->is_configured)
		estate_settle(&agent->estate);
	else
		estate_settle_later(&agent->estate);
	/* a sandbox may have had another agent before; a stack of our own has no connections yet */
	if (result == 0 && !agent->is_configured && agent->is_sandbox)
		orders_reset(agent);
	agent->is_configured = agent->is_configured || result == 0;
	return result;
}

static json_t *configure(struct agent *agent, const json_t *args, struct err *err)
{
	struct mesh_agent_info info = features_info(agent->is_sandbox);
	struct mesh_config config = {0};

	info.features |= own_features(agent);
	snprintf(info.stack, sizeof(info.stack), "%s",
		agent->stack->ops->kind == STACK_STREAMS ? "streams" : "kernel");
	snprintf(info.stack_why, sizeof(info.stack_why), "%s", agent->stack->why);
	int result = configure_decode(args, &config, err);
	if (result == 0)
		result = look_for_sandbox(agent, &config, err);
	if (result < 0 || parts_hands_over(agent)) {
		config_free(&config);
		return NULL;
	}
	result = follow(agent, &config, err);
	config_free(&agent->told);
	agent->told = config;
	return result < 0 ? NULL : info_encode(&info);
}

/* Hosts have come and gone, and all the rest is as it was told. */
static void amend(struct agent *agent, const json_t *args, struct err *err)
{
	if (!agent->is_configured)
		err_set(err, EINVAL, "nothing was told yet that could be different");
	else if (amend_apply(args, &agent->told, err) == 0)
		follow(agent, &agent->told, err);
	orders_on_change(agent); /* what was missing may be of nobody any more */
}

/* Has the manager its answer already? */
static bool is_answered(const struct agent *agent, const struct message *request)
{
	return agent->greeting && request->id == agent->greeting->answered_id &&
	       strcmp(request->op, "configure") == 0;
}

static void on_request(struct agent *agent, const struct message *request)
{
	struct message result = {.type = MESSAGE_RESULT, .id = request->id};
	struct err err = {0};

	memcpy(result.op, request->op, sizeof(result.op));
	if (strcmp(request->op, "configure") == 0)
		result.data = configure(agent, request->data, &err);
	else if (strcmp(request->op, "amend") == 0)
		amend(agent, request->data, &err);
	else if (strcmp(request->op, "report") == 0)
		result.data = report(agent);
	else if (strcmp(request->op, "ping") != 0)
		err_set(&err, EOPNOTSUPP, "there is no op \"%s\"", request->op);
	if (err.code != 0) {
		log_error("%s: %s", request->op, err.text);
		result.error = json_string(err.text);
	}
	agent->is_reporting |= strcmp(request->op, "report") == 0;
	if (is_answered(agent, request) || parts_hands_over(agent))
		message_fini(&result);
	else
		send_message(agent, &result);
}

void orders_take(struct agent *agent, const struct frame *frame)
{
	struct message message;
	struct err err;

	if (message_decode(frame->payload, frame->len, &message, &err) < 0) {
		log_warning("the manager sent what is no message: %s", err.text);
		return;
	}
	if (message.type == MESSAGE_REQUEST)
		on_request(agent, &message);
	else if (message.type == MESSAGE_EVENT)
		on_event(agent, &message);
	message_fini(&message);
}
