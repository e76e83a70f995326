/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/parcel - nswrap-agent as text for a shell that has printf: how a host gets it */
#include "mesh/manager/parcel.h"

#include <ctype.h>
#include <elf.h>
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
#include "util/parse.h"

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

/* For what kind of machine a program is (elf(5)); "": none that is known. */
static const char *kind_of(const unsigned char *bytes, size_t len)
{
	static const struct {
		unsigned short number;
		const char *name;
	} kinds[] = {{EM_X86_64, "x86_64"}, {EM_AARCH64, "aarch64"}, {EM_386, "i686"},
		{EM_ARM, "armv7l"}, {EM_RISCV, "riscv64"}, {EM_PPC64, "ppc64le"},
		{EM_S390, "s390x"}};
	Elf64_Ehdr head; /* what is looked at stands at the same place for 32 bits */

	if (len < sizeof(head) || memcmp(bytes, ELFMAG, SELFMAG) != 0)
		return "";
	memcpy(&head, bytes, sizeof(head));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (head.e_machine == kinds[i].number)
			return kinds[i].name;
	return "";
}

/* Is it @file that is meant for @name? Else it is closed and forgotten. */
static int read_named(const char *file, const char *name, struct parcel *parcel, struct err *err)
{
	_cleanup_fd_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int result = fd < 0 ? -errno : read_all(fd, parcel);

	if (result < 0)
		return err_sys(err, -result, "cannot read the agent's file %s", PARSE_QUOTED(file));
	const char *kind = kind_of(parcel->bytes, parcel->len);
	if (kind[0] == '\0')
		return err_set(err, ENOEXEC, "%s is no nswrap-agent: expected a program of Linux",
			PARSE_QUOTED(file));
	if (strcmp(kind, name) == 0)
		return 1;
	free(parcel->bytes);
	parcel->bytes = NULL;
	parcel->len = 0;
	return 0;
}

static int read_beside(const char *name, struct parcel *parcel, struct err *err)
{
	_cleanup_fd_ int fd = open_beside("", name);

	if (fd == -ENOENT)
		fd = open_beside("../lib/nswrap/", name);
	if (fd < 0)
		return err_sys(err, -fd,
			"no nswrap-agent-%s beside nswrap or in ../lib/nswrap (make agent-static "
			"MACHINE=%s)",
			name, name);
	int result = read_all(fd, parcel);
	return result < 0 ? err_sys(err, -result, "cannot read nswrap-agent-%s", name) : 1;
}

int parcel_open(struct parcel *parcel, const char *machine, char *const *files, struct err *err)
{
	const char *name = name_of(machine);
	int result = 0;

	*parcel = (struct parcel){.len = 0};
	if (!is_machine(name))
		return err_set(err, EINVAL, "the host does not say what kind of machine it is");
	snprintf(parcel->machine, sizeof(parcel->machine), "%s", name);
	for (char *const *file = files; result == 0 && file && *file; file++)
		result = read_named(*file, name, parcel, err);
	if (result == 0)
		result = read_beside(name, parcel, err);
	if (result < 0) {
		parcel_free(parcel);
		return result;
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

/*
 * What each text of the script begins with. -O: the user's own; in a directory that all may write
 * somebody else may have been first. A home may be that of many hosts, of several kinds of machine:
 * half a file has the nonce in its name, and only those of its own kind are replaced. What a shell
 * that was killed has left goes with the next one that comes whole (zsh wants a match for each
 * pattern); who was under way with the same file finds it there.
 */
#define FUNCTIONS                                                                                   \
	"n=%s; h=%s; k=nswrap-agent-%s-; f=${k}%.*s\n"                                              \
	"u=`id -u 2>&-`; c=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/nswrap\n"                \
	"own() { [ -d \"$1\" ] && [ ! -h \"$1\" ] && [ -O \"$1\" ] && [ -w \"$1\" ]; }\n"           \
	"all() { for d in \"$c\" \"/var/tmp/nswrap-$u\" \"/tmp/nswrap-$u\" \"/dev/shm/nswrap-$u\" " \
	"\"/run/nswrap-$u\" \"./.nswrap-$u\"; do \"$1\" && return 0; done; return 1; }\n"           \
	"there() { own \"$d\" && [ -x \"$d/$f\" ] && \"$d/$f\" --verify \"$h\" >&- 2>&-; }\n"       \
	"make() { (umask 077; mkdir -p \"$d\" && own \"$d\" && : >\"$d/.$f.$n\") 2>&-; }\n"         \
	"place() { s=\"$d/.$f.$n\"; [ \"$s\" = \"$t\" ] || make || return 1\n"                      \
	"[ \"$s\" = \"$t\" ] || cat \"$t\" >\"$s\" || { rm -f \"$s\"; return 1; }\n"                \
	"chmod 700 \"$s\" && \"$s\" --verify \"$h\" 2>&- && mv -f \"$s\" \"$d/$f\" && "             \
	"return 0\n"                                                                                \
	"[ \"$s\" = \"$t\" ] || rm -f \"$s\"; return 1; }\n"                                        \
	"sweep() { own \"$d\" && : >\"$d/.$k\" && rm -f \"$d/.$k\"*; return 1; }\n"                 \
	"p() { printf \"$1\" >&3 || bad \"cannot write $t: is there room for it\"; }\n"

/* How it ends: for a manager, and for somebody who does it by hand. */
#define FOR_MANAGER                                                                     \
	"begin() { printf '%%s start\\n' \"$n\"; exec \"$d/$f\" agent --automated; }\n" \
	"bad() { printf '%%s failed %%s\\n' \"$n\" \"$1\"; exit 1; }\n"
#define BY_HAND                                            \
	"begin() { printf '%%s\\n' \"$d/$f\"; exit 0; }\n" \
	"bad() { printf '%%s: %%s\\n' \"$0\" \"$1\" >&2; exit 1; }\n"

char *parcel_find(const struct parcel *parcel, const char *nonce)
{
	char *text = NULL;

	return asprintf(&text,
		       FUNCTIONS FOR_MANAGER
		       "if all there; then begin; else printf '%%s absent\\n' \"$n\"; fi\n",
		       nonce, parcel->hash, parcel->machine, HASH_IN_NAMES, parcel->hash) < 0
		       ? NULL
		       : text;
}

/* An exec whose redirection fails ends the shell, so whether it works was tried by make. */
#define BEGIN                                                                                   \
	"for o in chmod mkdir mv; do [ -n \"`command -v $o`\" ] || "                            \
	"bad \"it needs chmod, mkdir and mv: $o is not there\"; done\n"                         \
	"all make || bad 'no directory of this user can be written: expected one of ~/.cache, " \
	"/var/tmp, /tmp, /dev/shm, /run'\n"                                                     \
	"t=\"$d/.$f.$n\"; trap 'rm -f \"$t\"' 0; trap 'exit 1' 1 2 13 15; exec 3>\"$t\"\n"

char *parcel_begin(const struct parcel *parcel)
{
	(void)parcel;
	return strdup(BEGIN "printf '%s ready\\n' \"$n\"\n");
}

/* What parcel_word makes of a byte at most, and what is around the words of a chunk. */
#define WORD_BYTES   4
#define AROUND_BYTES 96

/* "p 'WORDS'" for @len bytes from @offset, in @out with room for them. Returns its end. */
static char *put_words(const struct parcel *parcel, size_t offset, size_t len, char *out)
{
	out = stpcpy(out, "p '");
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = parcel->bytes[offset + i];

		if (byte >= ' ' && byte <= '~' && !strchr("-%'\\!", byte)) {
			*out++ = (char)byte;
			continue;
		}
		*out++ = '\\';
		*out++ = (char)('0' + (byte >> 6));
		*out++ = (char)('0' + (byte >> 3 & 7));
		*out++ = (char)('0' + (byte & 7));
	}
	return stpcpy(out, "'");
}

static size_t chunk_at(const struct parcel *parcel, size_t offset)
{
	const size_t left = parcel->len - offset;

	return left < PARCEL_CHUNK_BYTES ? left : PARCEL_CHUNK_BYTES;
}

char *parcel_chunk(const struct parcel *parcel, size_t offset)
{
	const size_t len = chunk_at(parcel, offset);
	char *text = malloc(WORD_BYTES * len + AROUND_BYTES);

	if (text)
		sprintf(put_words(parcel, offset, len, text), "; printf '%%s got %zu\\n' \"$n\"\n",
			offset + len);
	return text;
}

/* One command in braces, which is read to its end before any of it is done: bash reads no further
 * than that, and what is behind it would be the agent's. */
#define END                                                                                      \
	"{ exec 3>&-; if ! all there; then s=`sha256sum <\"$t\" 2>&-`; s=${s%% *}\n"             \
	"case $s in ''|\"$h\") ;; *) bad 'it came damaged: its SHA-256 is another one';; esac\n" \
	"all place || all there || { [ -e \"$t\" ] || "                                          \
	"bad 'another manager replaces what is installed here at the same time'\n"               \
	"bad 'it cannot be executed in any directory of this user that can be written "          \
	"(noexec), or it came damaged'; }; fi\n"                                                 \
	"(all sweep); for o in \"$d/$k\"*; do [ \"$o\" = \"$d/$f\" ] || rm -f \"$o\"; done; "    \
	"begin; }\n"

char *parcel_end(void)
{
	return strdup(END);
}

/* Another kind of machine would say "cannot execute", or worse. */
#define HEAD                                                                                     \
	"#!/bin/sh\n# puts nswrap-agent where `install: true` of nswrap mesh looks for it, and " \
	"prints its path\n"                                                                      \
	"m=`uname -m`; case $m in amd64) m=x86_64;; arm64) m=aarch64;; esac\n"                   \
	"[ \"$m\" = %s ] || { echo \"$0: this machine is $m: expected the installer for it, of " \
	"nswrap show-installer $m\" >&2; exit 1; }\n"

int parcel_print(const struct parcel *parcel, FILE *out)
{
	char *words = malloc(WORD_BYTES * PARCEL_CHUNK_BYTES + AROUND_BYTES);

	if (!words)
		return -ENOMEM;
	fprintf(out, HEAD FUNCTIONS BY_HAND "all there && begin\n" BEGIN, parcel->machine,
		"by-hand-$$", parcel->hash, parcel->machine, HASH_IN_NAMES, parcel->hash);
	for (size_t at = 0; at < parcel->len; at += PARCEL_CHUNK_BYTES) {
		*put_words(parcel, at, chunk_at(parcel, at), words) = '\0';
		fprintf(out, "%s\n", words);
	}
	fputs(END, out);
	free(words);
	return 0;
}
