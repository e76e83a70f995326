/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox/sshconf - the files of root's that ssh(1) would refuse to include inside */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * ssh, and git and rsync by it, end with "Bad owner or permissions" if a file that ssh_config(5)
 * includes belongs to anybody but root and its user. Inside, root's files are shown as nobody's: no
 * user can have root in a namespace. So copies cover them, which belong to the caller.
 *
 * This reads the files as ssh does (ssh_config(5), Include), from the outside, where it can be told
 * whose they are: what is another user's is not copied, and stays refused.
 */
#define SSHCONF_FILES_MAX 64        /* more are not looked at */
#define SSHCONF_BYTES_MAX (1 << 20) /* of a file, and of all copies */

struct sshconf_file {
	dev_t device;
	ino_t inode;
	char *path; /* NULL: was read, needs no copy */
	char *text; /* len bytes */
	size_t len;
	mode_t mode; /* as that of the file, which ssh looks at, too; its owner can read it */
};

/* Where ssh begins: ssh_config in one, config in the other; whose files are to be copied. */
struct sshconf_roots {
	const char *system_dir, *user_dir; /* absolute, or "~/..." */
	uid_t owner;
};

struct sshconf {
	struct sshconf_file files[SSHCONF_FILES_MAX];
	size_t count;
	size_t copied_bytes;
};

/* What cannot be read, or is too much, is left out. Free with sshconf_free. */
void sshconf_read(const struct sshconf_roots *roots, struct sshconf *out);
void sshconf_free(struct sshconf *conf);

/*
 * If the line at @line (NUL-terminated; changed) is an Include: its patterns, NULL-terminated, for
 * g_strfreev. Else NULL.
 */
char **sshconf_include(char *line);
