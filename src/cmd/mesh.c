/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - make one network of the hosts of a manifest */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdio.h>

#include "cmd/question.h"
#include "control/registry.h"
#include "mesh/manager/manager.h"
#include "mesh/manifest/example.h"
#include "util/log.h"

#define OPERANDS_MAX 2

struct mesh_request {
	const char *name;
	bool is_check, is_example, is_json;
	int verbosity; /* -q: below 0; -v: above */
};

static int set_name(void *target, const char *value, struct err *err)
{
	*(const char **)target = value;
	return registry_check_name(REGISTRY_MESH, value, err);
}

#define AT(field) offsetof(struct mesh_request, field)

static const struct option_def options[] = {
	{0, "check", NULL, "read the manifest, report every error in it, start nothing",
		option_set_true, AT(is_check)},
	{0, "example", NULL, "print a commented manifest", option_set_true, AT(is_example)},
	{'n', "name", "NAME", "for status, reload and stop (the manifest's name without .yaml)",
		set_name, AT(name)},
	{0, "json", NULL, "status: print JSON", option_set_true, AT(is_json)},
	{'q', "quiet", NULL, "say only what went wrong", cmd_set_quiet, AT(verbosity)},
	{'v', "verbose", NULL, "say more; repeatable", cmd_set_verbose, AT(verbosity)},
	{.name = NULL},
};

static void on_manifest_error(void *told, const char *line)
{
	(void)told;
	log_error("%s", line);
}

static int run_mesh(const struct mesh_request *request, const char *path)
{
	struct manager_config config = {.path = path, .name = request->name};
	struct manifest manifest = {0};
	struct err err = {0};
	int status = 0;

	if (manifest_read(path, &manifest, on_manifest_error, NULL) < 0)
		return EXIT_USAGE;
	if (request->is_check) {
		printf("%zu hosts: fine\n", manifest.nhosts);
		manifest_free(&manifest);
		return 0;
	}
	return manager_run(&config, &manifest, &status, &err) < 0 ? cmd_failed(&err) : status;
}

static int check_operands(const struct mesh_request *request, const struct question *question,
	char **operands, int count, struct err *err)
{
	if (count == 0 && !request->is_example)
		return err_set(err, EINVAL,
			"a MANIFEST is missing: expected nswrap mesh MANIFEST; nswrap mesh "
			"--example prints one");
	if (count > (request->is_example ? 0 : question ? 2 : 1))
		return err_set(err, EINVAL, "%s: expected nothing here", operands[count - 1]);
	if (request->is_json && !(question && question->has_json))
		return err_set(err, EINVAL, "--json: only status prints it");
	return 0;
}

static int run(const struct cmd_call *call)
{
	struct mesh_request request = {0};
	char *operands[OPERANDS_MAX] = {NULL};
	struct err err = {0};

	int count = cmd_operands(options, call, &request, operands, OPERANDS_MAX, &err);
	const struct question *question = count > 0 ? question_find(operands[0]) : NULL;
	if (count < 0 || check_operands(&request, question, operands, count, &err) < 0)
		return cmd_usage_error(&err);
	cmd_set_log_level(request.verbosity);
	if (request.is_example) {
		fputs(example_manifest, stdout);
		return 0;
	}
	if (question)
		return question_ask(
			question, operands[1] ? operands[1] : request.name, request.is_json);
	return run_mesh(&request, operands[0]);
}

const struct subcommand mesh_subcommand = {
	.name = "mesh",
	.synopsis =
		"mesh [OPTION...] MANIFEST\nMANIFEST.yaml\nmesh --check MANIFEST\nmesh --example\n"
		"mesh status [--json] [NAME]\nmesh reload|stop [NAME]",
	.summary = "make one network of hosts that commands lead to",
	.options = options,
	.run = run,
};
