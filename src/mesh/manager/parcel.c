/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/parcel - nswrap-agent as text for a shell that has printf: how a host gets it */
#include "mesh/manager/parcel.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"

#define FILE_MAX      (16 << 20)
#define HASH_IN_NAMES 16

/* --- the file --------------------------------------------------------------------------------- */

/* Other names of the same. */
static const char *name_of(const char *machine)
{
	if (strcmp(machine, "amd64") == 0)
		return "x86_64";
	return strcmp(machine, "arm64") == 0 ? "aarch64" : machine;
}

static bool is_machine(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_')
			return false;
	return len > 0 && len < sizeof(((struct parcel *)NULL)->machine);
}

static int open_beside(const char *folder, const char *machine)
{
	char own[PATH_MAX], path[PATH_MAX + 128];
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (len < 0)
		return -errno;
	own[len] = '\0';
	char *slash = strrchr(own, '/');
	*(slash ? slash : own) = '\0';
	snprintf(path, sizeof(path), "%s/%snswrap-agent-%s", own, folder, machine);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_all(int fd, struct parcel *parcel)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISREG(info.st_mode) || info.st_size <= 0 || info.st_size > FILE_MAX)
		return -EINVAL;
	parcel->bytes = malloc((size_t)info.st_size);
	if (!parcel->bytes)
		return -ENOMEM;
	while (parcel->len < (size_t)info.st_size) {
		ssize_t got =
			read(fd, parcel->bytes + parcel->len, (size_t)info.st_size - parcel->len);
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		parcel->len += (size_t)got;
	}
	return 0;
}

int parcel_open(struct parcel *parcel, const char *machine, struct err *err)
{
	const char *name = name_of(machine);
	*parcel = (struct parcel){.len = 0};

	if (!is_machine(name))
		return err_set(err, EINVAL, "the host does not say what kind of machine it is");
	snprintf(parcel->machine, sizeof(parcel->machine), "%s", name);
	_cleanup_fd_ int fd = open_beside("", name);
	if (fd == -ENOENT)
		fd = open_beside("../lib/nswrap/", name);
	if (fd < 0)
		return err_sys(err, -fd,
			"no nswrap-agent-%s beside nswrap or in ../lib/nswrap (make agent-static "
			"MACHINE=%s)",
			name, name);
	int result = read_all(fd, parcel);
	if (result < 0) {
		parcel_free(parcel);
		return err_sys(err, -result, "cannot read nswrap-agent-%s", name);
	}
	char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, parcel->bytes, parcel->len);
	snprintf(parcel->hash, sizeof(parcel->hash), "%s", hash);
	g_free(hash);
	return 0;
}

void parcel_free(struct parcel *parcel)
{
	free(parcel->bytes);
	*parcel = (struct parcel){.len = 0};
}

/* --- the script ------------------------------------------------------------------------------- */

char *parcel_hello(const char *nonce)
{
	char *text = NULL;

	/* one line in braces: executed when all of it is read */
	return asprintf(&text, "n='%s'; printf '%%s machine %%s\\n' \"$n\" \"`uname -m 2>&-`\"\n",
		       nonce) < 0
		       ? NULL
		       : text;
}

/* -O: the user's own; in a directory that all may write somebody else may have been first. */
#define FUNCTIONS                                                                                   \
	"u=`id -u 2>&-`; c=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/nswrap\n"                \
	"own() { [ -d \"$1\" ] && [ ! -h \"$1\" ] && [ -O \"$1\" ] && [ -w \"$1\" ]; }\n"           \
	"all() { for d in \"$c\" \"/var/tmp/nswrap-$u\" \"/tmp/nswrap-$u\" \"/dev/shm/nswrap-$u\" " \
	"\"/run/nswrap-$u\" \"./.nswrap-$u\"; do \"$1\" && return 0; done; return 1; }\n"           \
	"there() { own \"$d\" && [ -x \"$d/$f\" ] && \"$d/$f\" --verify \"$h\" >&- 2>&-; }\n"       \
	"make() { (umask 077; mkdir -p \"$d\" && own \"$d\" && : >\"$d/.$f.$$\") 2>&-; }\n"         \
	"place() { s=\"$d/.$f.$$\"; [ \"$s\" = \"$t\" ] || make || return 1\n"                      \
	"[ \"$s\" = \"$t\" ] || cat \"$t\" >\"$s\" || { rm -f \"$s\"; return 1; }\n"                \
	"chmod 700 \"$s\" && \"$s\" --verify \"$h\" 2>&- && mv -f \"$s\" \"$d/$f\" && "             \
	"return 0\n"                                                                                \
	"[ \"$s\" = \"$t\" ] || rm -f \"$s\"; return 1; }\n"                                        \
	"begin() { printf '%%s start\\n' \"$n\"; exec \"$d/$f\" agent --automated; }\n"             \
	"bad() { printf '%%s failed %%s\\n' \"$n\" \"$1\"; exit 1; }\n"                             \
	"p() { printf \"$1\" >&3 || bad \"cannot write $t: is there room for it\"; }\n"

char *parcel_find(const struct parcel *parcel, const char *nonce)
{
	char *text = NULL;

	return asprintf(&text,
		       "n='%s'; h=%s; f=nswrap-agent-%.*s\n" FUNCTIONS
		       "if all there; then begin; else printf '%%s absent\\n' \"$n\"; fi\n",
		       nonce, parcel->hash, HASH_IN_NAMES, parcel->hash) < 0
		       ? NULL
		       : text;
}

char *parcel_begin(const struct parcel *parcel)
{
	(void)parcel;
	/* an exec whose redirection fails ends the shell, so whether it works was tried by make */
	return strdup(
		"all make || bad 'no directory of this user can be written: expected one of "
		"~/.cache, /var/tmp, /tmp, /dev/shm, /run'\n"
		"t=\"$d/.$f.$$\"; trap 'rm -f \"$t\"' 0; trap 'exit 1' 1 13 15; exec 3>\"$t\"\n"
		"printf '%s ready\\n' \"$n\"\n");
}

char *parcel_chunk(const struct parcel *parcel, size_t offset)
{
	size_t left = parcel->len - offset;
	size_t len = left < PARCEL_CHUNK_BYTES ? left : PARCEL_CHUNK_BYTES;
	char *text = malloc(4 * len + 96), *at = text;

	if (!text)
		return NULL;
	at = stpcpy(at, "p '");
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = parcel->bytes[offset + i];

		if (byte < ' ' || byte > '~' || strchr("-%'\\!", byte))
			at += sprintf(at, "\\%03o", byte);
		else
			*at++ = (char)byte;
	}
	sprintf(at, "'; printf '%%s got %zu\\n' \"$n\"\n", offset + len);
	return text;
}

char *parcel_end(void)
{
	return strdup(
		"exec 3>&-; s=`sha256sum <\"$t\" 2>&-`; s=${s%% *}\n"
		"case $s in ''|\"$h\") ;; *) bad 'it came damaged: its SHA-256 is another one';; "
		"esac\n"
		"if all place; then rm -f \"$t\"; for o in \"$d\"/nswrap-agent-*; do "
		"[ \"$o\" = \"$d/$f\" ] || rm -f \"$o\"; done; begin; fi\n"
		"bad 'it cannot be executed in any directory of this user that can be written "
		"(noexec), or it came damaged'\n");
}
