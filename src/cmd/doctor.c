#include "cmd/cmd.h"
const struct option_def doctor_options[] = {{0, 0, 0, 0, 0}};
int cmd_doctor(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 125;
}
