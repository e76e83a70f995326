/* SPDX-License-Identifier: Apache-2.0 */
/* nswrap - run a command in its own network: which subcommand is meant */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"

/* What the caller left us with must not matter. */
static void normalise_start(void)
{
	int fd;

	/* a descriptor of ours under one of these numbers would be taken for a stream */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	/* ignored, it would stay so through exec(2): no child's end could be waited for */
	signal(SIGCHLD, SIG_DFL);
}

/* `nswrap site.yaml`, as NoRouter has it. */
static bool is_manifest(const char *word)
{
	const char *dot = strrchr(word, '.');
	struct stat info;

	return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0) &&
	       stat(word, &info) == 0 && !S_ISDIR(info.st_mode);
}

int main(int argc, char **argv)
{
	const struct subcommand *sub =
		argc > 1 ? subcommand_find(argv[1]) : subcommand_find("help");

	normalise_start();
	if (!sub && is_manifest(argv[1]))
		return cmd_mesh(argc, argv);
	/* a first word that is no subcommand is an option of run, or the COMMAND itself */
	return sub ? sub->run(argc - 1, argv + 1) : cmd_run(argc, argv);
}
