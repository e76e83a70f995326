/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_manifest - any text is a manifest whose every value may be used, or refused line by line */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/manifest/manifest.h"

#define HOSTS_MAX 64 /* that are looked at closely */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert() may be compiled out */
#define must(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static void on_line(void *told, enum manifest_weight weight, const char *line)
{
	must(strncmp(line, "f:", 2) == 0 && line[2]);
	for (const char *at = line; *at; at++)
		must((unsigned char)*at >= ' ' && *at != 0x7f);
	*(size_t *)told += weight == MANIFEST_ERROR;
}

static void check_host(const struct manifest *manifest, size_t number)
{
	const struct manifest_host *host = &manifest->hosts[number];

	must(host->name[0] && host->vip.s_addr);
	must(!host->cmd || (host->cmd[0] && host->cmd[0][0]));
	must(manifest_host_equal(host, host));
	for (size_t i = 0; i < number; i++) {
		must(strcasecmp(host->name, manifest->hosts[i].name) != 0);
		must(host->vip.s_addr != manifest->hosts[i].vip.s_addr);
		must(!manifest_host_equal(host, &manifest->hosts[i]));
	}
	for (size_t i = 0; i < host->own.noffers; i++)
		must(host->own.offers[i].listen_port && host->own.offers[i].connect_port &&
			host->own.offers[i].connect_host[0]);
}

static void check_config(const struct manifest *manifest, size_t number)
{
	struct mesh_config config;

	must(manifest_configure(manifest, number, &config) == 0);
	must(config.me.s_addr == manifest->hosts[number].vip.s_addr);
	must(config.noffers == manifest->hosts[number].own.noffers);
	must(config.nname_servers == 2 * manifest->nhosts); /* TCP and UDP */
	must(config.nnames >= manifest->nhosts);
	must(config.nroutes == manifest->nroutes);
	config_free(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest manifest, again;
	size_t lines = 0;
	int rc = manifest_parse((const char *)data, size, "f", &manifest, on_line, &lines);

	must((rc == 0) == (lines == 0));
	if (rc < 0)
		return 0;
	must(manifest_parse((const char *)data, size, "f", &again, on_line, &lines) == 0);
	must(manifest.nhosts && manifest.nhosts == again.nhosts);
	must(manifest.nroutes == again.nroutes);
	for (size_t i = 0; i < manifest.nhosts && i < HOSTS_MAX; i++) {
		check_host(&manifest, i);
		check_config(&manifest, i);
		must(manifest_host_equal(&manifest.hosts[i], &again.hosts[i]));
	}
	for (size_t i = 0; i < manifest.nroutes; i++)
		must(manifest.routes[i].via.s_addr);
	manifest_free(&manifest);
	manifest_free(&again);
	return 0;
}
