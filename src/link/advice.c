/* SPDX-License-Identifier: Apache-2.0 */
/* link/advice - what a person has to do before a command can be a link */
#include "link/advice.h"

#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

#define HOST_KEY                                                                                                \
	{                                                                                                       \
		"its host key is another one than before, or not known: if that is right, ssh-keygen -R HOST, " \
		"then log in by hand once",                                                                     \
			false                                                                                   \
	}
#define LOG_IN                                                                                          \
	{                                                                                               \
		"the key or the password was not accepted: log in by hand with the same command first " \
		"(ssh-copy-id, ssh-add)",                                                               \
			false                                                                           \
	}
#define NO_CONTAINER                                                                      \
	{                                                                                 \
		"there is no such container or pod: start it, or correct its name", false \
	}
#define NO_HOST                                                                                 \
	{                                                                                       \
		"there is no host of that name: correct it, or HostName in ~/.ssh/config", true \
	}
#define NO_RIGHT                                                                                       \
	{                                                                                              \
		"the cluster does not let this user: log in to it, and see kubectl auth can-i --list", \
			false                                                                          \
	}
#define OWN_CONFIG                                                                                 \
	{                                                                                          \
		"ssh's own files are wrong, as it says: mend them, and log in by hand once", false \
	}
#define SUDO                                                                                              \
	{                                                                                                 \
		"sudo wants a password that it was not given: start the mesh in a terminal, or allow it " \
		"with NOPASSWD in sudoers",                                                               \
			false                                                                             \
	}

/* Words of OpenSSH's clientloop, sshconnect and readconf, sudo's, podman's, docker's, kubectl's. */
static const struct {
	const char *words;
	struct advice advice;
} lines[] = {
	{"Host key verification failed", HOST_KEY},
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", HOST_KEY},
	{"Permission denied (", LOG_IN},
	{"Too many authentication failures", LOG_IN},
	{"Could not resolve hostname", NO_HOST},
	{"Bad owner or permissions on", OWN_CONFIG},
	{"UNPROTECTED PRIVATE KEY FILE", OWN_CONFIG},
	{"Bad configuration option", OWN_CONFIG},
	{"Unable to negotiate with", OWN_CONFIG},
	{"incorrect password attempt", SUDO},
	{"a password is required", SUDO},
	{"a terminal is required to read the password", SUDO},
	{"is not in the sudoers file", SUDO},
	{"no such container", NO_CONTAINER},
	{"No such container", NO_CONTAINER},
	{"Error from server (NotFound)", NO_CONTAINER},
	{"You must be logged in to the server", NO_RIGHT},
	{"Error from server (Forbidden)", NO_RIGHT},
	{"trying to connect to the Docker daemon socket",
		{"this user may not use docker: add it to the group docker, or use podman", false}},
};

/* What looks the same and passes by itself. */
static const char *const passing[] = {"Temporary failure in name resolution"};

static bool has_words(const char *line, size_t len, const char *words)
{
	return memmem(line, len, words, strlen(words)) != NULL;
}

const struct advice *advice_of_line(const char *line, size_t len)
{
	for (size_t i = 0; i < COUNT(passing); i++)
		if (has_words(line, len, passing[i]))
			return NULL;
	for (size_t i = 0; i < COUNT(lines); i++)
		if (has_words(line, len, lines[i].words))
			return &lines[i].advice;
	return NULL;
}

const struct advice *advice_of_status(int status)
{
	static const struct advice not_found = {
		"a program was not found: is nswrap installed there, and in the PATH of a shell that "
		"is not interactive? Its whole path works, too",
		false};
	static const struct advice not_executed = {
		"a program is there and cannot be executed: see its permissions (chmod +x), and "
		"whether it is for that machine",
		false};

	return status == 127 ? &not_found : status == 126 ? &not_executed : NULL;
}
