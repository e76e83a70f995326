#include "cmd/cmd.h"
const struct option_def exec_options[] = {{0, 0, 0, 0, 0}};
int cmd_exec(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 125;
}
