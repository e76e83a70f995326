/* SPDX-License-Identifier: Apache-2.0 */
/* main - nswrap-agent: what a host of a mesh needs, in one static file */
#include <glib.h>
#include <nss.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "cmd/about.h"
#include "cmd/agent.h"
#include "cmd/doctor.h"
#include "cmd/exec.h"
#include "cmd/exit.h"
#include "cmd/guess.h"
#include "cmd/help.h"
#include "cmd/output.h"
#include "cmd/tunnel.h"

static const struct subcommand *const all[] = {&agent_subcommand, &exec_subcommand,
	&tunnel_subcommand, &exit_subcommand, &doctor_subcommand, &help_subcommand, NULL};

/*
 * What /etc/nsswitch.conf names is loaded by dlopen(3), and belongs to the host's libc, which is
 * another one. These two are built into glibc since 2.34.
 */
static void load_nothing(void)
{
	__nss_configure_lookup("hosts", "files dns");
	__nss_configure_lookup("passwd", "files");
	__nss_configure_lookup("group", "files");
	__nss_configure_lookup("services", "files");
}

/* Is this file what was sent? Another one could not be executed, so its beginning is right. */
static int verify(const char *wanted)
{
	unsigned char bytes[65536];
	GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
	FILE *file = fopen("/proc/self/exe", "re");
	size_t len;

	if (!file)
		file = fopen((const char *)getauxval(AT_EXECFN), "re");
	if (!file)
		return EXIT_NSWRAP_FAILED;
	while ((len = fread(bytes, 1, sizeof(bytes), file)) > 0)
		g_checksum_update(sum, bytes, (gssize)len);
	fclose(file);
	int status = strcmp(g_checksum_get_string(sum), wanted) != 0;
	g_checksum_free(sum);
	return status;
}

static int run(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "help";
	const struct cmd_call call = {all, argc - 1, argv + 1};
	const struct subcommand *sub = cmd_find(all, word);
	struct err err;

	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
		about_print(stdout);
		return 0;
	}
	if (strcmp(word, "--verify") == 0 && argc == 3)
		return verify(argv[2]);
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		sub = &help_subcommand;
	if (sub)
		return help_run(sub, &call);
	err_set(&err, 0,
		"%s: nswrap-agent has agent, exec, tunnel, exit and doctor; the whole nswrap has the rest",
		word);
	return cmd_usage_error(&err);
}

int main(int argc, char **argv)
{
	struct err err;

	cmd_begin();
	load_nothing();
	int status = run(argc, argv);
	return output_end(&err) < 0 ? cmd_failed(&err) : status;
}
