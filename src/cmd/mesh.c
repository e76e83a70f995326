/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/mesh - make one network of the hosts of a manifest */
#include "cmd/mesh.h"

#include <errno.h>
#include <stdio.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
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
	((struct mesh_request *)target)->name = value;
	return registry_check_name(REGISTRY_MESH, value, err);
}

static int set_check(void *target, const char *value, struct err *err)
{
	return client_set_true(&((struct mesh_request *)target)->is_check, value, err);
}

static int set_example(void *target, const char *value, struct err *err)
{
	return client_set_true(&((struct mesh_request *)target)->is_example, value, err);
}

static int set_json(void *target, const char *value, struct err *err)
{
	return client_set_true(&((struct mesh_request *)target)->is_json, value, err);
}

static int set_quiet(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct mesh_request *)target)->verbosity = -2;
	return 0;
}

static int set_verbose(void *target, const char *value, struct err *err)
{
	(void)value, (void)err;
	((struct mesh_request *)target)->verbosity++;
	return 0;
}

const struct option_def mesh_options[] = {
	{0, "check", NULL, "read the manifest, report every error in it, start nothing", set_check},
	{0, "example", NULL, "print a commented manifest", set_example},
	{'n', "name", "NAME", "for status, reload and stop (the manifest's name without .yaml)",
		set_name},
	{0, "json", NULL, "status: print JSON", set_json},
	{'q', "quiet", NULL, "say only what went wrong", set_quiet},
	{'v', "verbose", NULL, "say more; repeatable", set_verbose},
	{0, NULL, NULL, NULL, NULL},
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

static int check_operands(
	const struct mesh_request *request, char **operands, int count, struct err *err)
{
	bool is_question = count > 0 && mesh_is_question(operands[0]);

	if (count == 0 && !request->is_example)
		return err_set(err, EINVAL,
			"a MANIFEST is missing: expected nswrap mesh MANIFEST; nswrap mesh "
			"--example prints one");
	if (count > (request->is_example ? 0 : is_question ? 2 : 1))
		return err_set(err, EINVAL, "%s: expected nothing here", operands[count - 1]);
	if (request->is_json && !(is_question && operands[0][0] == 's'))
		return err_set(err, EINVAL, "--json: only status prints it");
	return 0;
}

int cmd_mesh(int argc, char **argv)
{
	struct mesh_request request = {0};
	char *operands[OPERANDS_MAX] = {NULL};
	struct err err = {0};

	int count =
		client_operands(mesh_options, argc, argv, &request, operands, OPERANDS_MAX, &err);
	if (count < 0 || check_operands(&request, operands, count, &err) < 0)
		return cmd_usage_error(&err);
	log_set_level(request.verbosity < 0 ? LOG_ERROR : LOG_NOTICE + request.verbosity);
	if (request.is_example) {
		fputs(example_manifest, stdout);
		return 0;
	}
	if (mesh_is_question(operands[0]))
		return mesh_ask(
			operands[0], operands[1] ? operands[1] : request.name, request.is_json);
	return run_mesh(&request, operands[0]);
}
