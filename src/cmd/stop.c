#include "cmd/cmd.h"
const struct option_def stop_options[] = {{0, 0, 0, 0, 0}};
int cmd_stop(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 125;
}
