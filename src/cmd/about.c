/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/about - what this program is made of */
#include "cmd/about.h"

#include <glib.h>
#include <gnu/libc-version.h>
#include <http_parser.h>
#include <jansson.h>
#include <ngtcp2/ngtcp2.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/capability.h>
#include <yaml.h>

#include "cmd/own.h"
#include "forward/driver.h"
#include "mesh/info.h"
#include "net/plan.h"
#include "net/slirplib.h"
#include "version.h"

/* Of libraries that static/ stands in for: they are not there. */
#define NONE "none"

static void print_library(FILE *out, const char *name, const char *version)
{
	if (version && strcmp(version, NONE) != 0)
		fprintf(out, ", %s %s", name, version);
}

static void print_libraries(FILE *out)
{
	const struct scmp_version *seccomp = seccomp_version();
	const unsigned long http = http_parser_version();

	fprintf(out, "libraries: glibc %s", gnu_get_libc_version());
	fprintf(out, ", GLib %u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
	print_library(out, "libslirp", slirplib_version());
	fprintf(out, ", libseccomp %u.%u.%u", seccomp->major, seccomp->minor, seccomp->micro);
#ifdef LIBCAP_MAJOR
	/* it says nothing of itself when it is loaded */
	fprintf(out, ", libcap %d.%d (when built)", LIBCAP_MAJOR, LIBCAP_MINOR);
#endif
	print_library(out, "jansson", jansson_version_str());
	print_library(out, "libyaml", yaml_get_version_string());
	print_library(out, "ngtcp2", ngtcp2_version(0)->version_str);
	fprintf(out, ", http-parser %lu.%lu.%lu\n", http >> 16 & 255, http >> 8 & 255, http & 255);
}

#define NAME(feature, bit, name) " " name

static void print_features(FILE *out)
{
	const bool has_slirp = slirplib_version() != NULL;

	if (has_slirp)
		fprintf(out, "features: port drivers %s %s; outbound %s %s; ",
			driver_name(FORWARD_DRIVER_SPLICE), driver_name(FORWARD_DRIVER_SLIRP),
			plan_carrier_name(PLAN_CARRIER_KERNEL),
			plan_carrier_name(PLAN_CARRIER_SLIRP));
	else
		fprintf(out, "features: ");
	fprintf(out, "agent" INFO_FEATURES(NAME) "%s\n",
		own_is_here ? "" : " (runs no sandbox of a manifest)");
}

void about_print(FILE *out)
{
	fprintf(out, "nswrap " NSWRAP_VERSION "\n");
	print_libraries(out);
	print_features(out);
}
