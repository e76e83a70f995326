/* SPDX-License-Identifier: Apache-2.0 */
/* noyaml - agents read no manifest; only cmd/about asks */
#include <yaml.h>

const char *yaml_get_version_string(void)
{
	return "none";
}
