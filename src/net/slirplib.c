/* SPDX-License-Identifier: Apache-2.0 */
/* net/slirplib - libslirp, loaded by who uses it */
#include "net/slirplib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

#define FILE_NAME "libslirp.so.0"

/* Where it was when this program was built. */
#ifndef SLIRP_DIR
#define SLIRP_DIR ""
#endif

struct slirplib slirplib;

static __typeof__(g_log_set_default_handler) *set_log_handler;

static const struct {
	const char *name;
	void **function;
} symbols[] = {
	{"slirp_new", (void **)&slirplib.slirp_new},
	{"slirp_cleanup", (void **)&slirplib.slirp_cleanup},
	{"slirp_version_string", (void **)&slirplib.slirp_version_string},
	{"slirp_input", (void **)&slirplib.slirp_input},
	{"slirp_pollfds_fill", (void **)&slirplib.slirp_pollfds_fill},
	{"slirp_pollfds_poll", (void **)&slirplib.slirp_pollfds_poll},
	{"slirp_add_hostxfwd", (void **)&slirplib.slirp_add_hostxfwd},
	{"slirp_remove_hostxfwd", (void **)&slirplib.slirp_remove_hostxfwd},
	/* of the GLib that comes with it */
	{"g_log_set_default_handler", (void **)&set_log_handler},
};

int slirplib_load(GLogFunc on_message, struct err *err)
{
	static void *handle;

	if (handle)
		return 0;
	void *loaded = dlopen(FILE_NAME, RTLD_NOW | RTLD_LOCAL);
	if (!loaded)
		return err_set(err, ELIBACC, "cannot load libslirp: %s", dlerror());
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		*symbols[i].function = dlsym(loaded, symbols[i].name);
		if (*symbols[i].function)
			continue;
		err_set(err, ELIBBAD, "cannot load libslirp: %s", dlerror());
		dlclose(loaded);
		return -ELIBBAD;
	}
	if (on_message)
		set_log_handler(on_message, NULL);
	handle = loaded;
	return 0;
}

int slirplib_check(struct err *err)
{
	struct stat file;

	if (stat(SLIRP_DIR "/" FILE_NAME, &file) == 0 && S_ISREG(file.st_mode))
		return 0;
	return slirplib_load(NULL, err);
}

const char *slirplib_version(void)
{
	return slirplib_load(NULL, NULL) < 0 ? NULL : slirplib.slirp_version_string();
}
