/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/config - what an agent is told about its mesh: the arguments of `configure` */
#include "mesh/config.h"

#include <stdlib.h>

void config_free_texts(char **texts)
{
	for (char **text = texts; text && *text; text++)
		free(*text);
	free(texts);
}

void config_free(struct mesh_config *config)
{
	for (size_t i = 0; i < config->noffers; i++)
		free(config->offers[i].connect_host);
	free(config->offers);
	free(config->others);
	for (size_t i = 0; i < config->nnames; i++)
		free(config->names[i].name);
	free(config->names);
	free(config->http_listen);
	free(config->socks_listen);
	free(config->state_dir_path);
	for (size_t i = 0; i < config->nroutes; i++) {
		config_free_texts(config->routes[i].cidrs);
		config_free_texts(config->routes[i].globs);
	}
	free(config->routes);
	free(config->name_servers);
	*config = (struct mesh_config){.offers = NULL};
}
