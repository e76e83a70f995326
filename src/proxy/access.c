/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/access - who may use a proxy */
#include "proxy/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/diag.h"
#include "util/fd.h"
#include "util/parse.h"

static bool is_word(const char *text)
{
	size_t len = strlen(text);

	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return false;
	return len > 0 && len <= ACCESS_TEXT_MAX;
}

bool access_check(const struct access *access, struct err *err)
{
	if (!access->user && !access->password)
		return true;
	if (!access->user || !access->password)
		err_set(err, EINVAL,
			"there is a user without a password, or a password without a "
			"user: expected both");
	else if (!is_word(access->user) || strchr(access->user, ':'))
		err_set(err, EINVAL,
			"%s is no user: expected 1 to %d bytes without a colon or control "
			"characters",
			PARSE_QUOTED(access->user), ACCESS_TEXT_MAX);
	else if (!is_word(access->password))
		err_set(err, EINVAL,
			"the password cannot be one: expected 1 to %d bytes without control "
			"characters",
			ACCESS_TEXT_MAX);
	else
		return true;
	return false;
}

int access_copy(const struct access *from, struct access *out)
{
	*out = (struct access){.only_user = from->only_user};
	if (!from->user)
		return 0;
	out->user = strdup(from->user);
	out->password = strdup(from->password);
	if (out->user && out->password)
		return 0;
	access_fini(out);
	return -ENOMEM;
}

void access_fini(struct access *access)
{
	if (access->password)
		explicit_bzero(access->password, strlen(access->password));
	free(access->password);
	free(access->user);
	*access = (struct access){.user = NULL};
}

/* Every byte that there may be is looked at, whatever the others were. */
static unsigned differ(const char *text, const void *bytes, size_t len)
{
	unsigned char wanted[ACCESS_TEXT_MAX] = {0}, given[ACCESS_TEXT_MAX] = {0};
	size_t wanted_len = strnlen(text, sizeof(wanted));
	size_t given_len = len < sizeof(given) ? len : sizeof(given);
	volatile unsigned found = wanted_len != len;

	memcpy(wanted, text, wanted_len);
	if (given_len > 0)
		memcpy(given, bytes, given_len);
	for (size_t i = 0; i < sizeof(wanted); i++)
		found |= (unsigned)(wanted[i] ^ given[i]);
	explicit_bzero(wanted, sizeof(wanted));
	explicit_bzero(given, sizeof(given));
	return found;
}

bool access_is_known(const struct access *access, const void *user, size_t user_len,
	const void *password, size_t password_len)
{
	if (!access->user)
		return false;
	unsigned found = differ(access->user, user, user_len);

	found |= differ(access->password, password, password_len);
	return found == 0;
}

bool access_is_user(const struct access *access, enum proto proto, int fd, const struct addr *peer,
	char *whom, size_t cap_bytes)
{
	char text[ADDR_TEXT_BYTES];
	struct addr own;
	uid_t uid;

	if (!access->only_user)
		return true;
	if (!diag_is_own_address(peer)) {
		snprintf(whom, cap_bytes, "another machine (%s)",
			addr_format_ip(peer, text, sizeof(text)));
		return false;
	}
	_cleanup_fd_ int nl = diag_open();
	if (nl < 0 || addr_get_own(fd, &own) < 0 ||
		diag_socket_uid(nl, proto, peer, &own, &uid) < 0) {
		snprintf(whom, cap_bytes, "an unknown user");
		return false;
	}
	snprintf(whom, cap_bytes, "user %u", uid);
	return uid == geteuid();
}
