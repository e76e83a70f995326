/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/proof - any bytes as the other end of a link that has no key, in any pieces */
#include "link/proof.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct keyfile key = {"a key that nobody guesses", 25};
static const unsigned char behind[] = "behind";

struct end {
	struct proof proof;
	int done, result;
};

static void on_done(struct proof *proof, int result, const char *why)
{
	struct end *end = (struct end *)proof;

	if (result < 0 && !why)
		abort();
	end->done++;
	end->result = result;
}

/*
 * The first byte says who we are and what is done to what we say, the second how long the pieces
 * are. Bytes of 0xff take what our end has said so far: what is sent back, or heard and used again.
 */
static void one_end(const uint8_t *data, size_t size, enum proof_role role)
{
	struct loop *loop = loop_new();
	struct end end = {.proof = {.loop = loop,
				  .key = &key,
				  .role = role,
				  .purpose = "fuzz",
				  .may_have_noise = data[0] & 2,
				  .on_done = on_done}};
	size_t piece = (size_t)data[1] % 64 + 1;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ||
		proof_start(&end.proof, fds[0], fds[0], 1000) < 0)
		abort();
	for (size_t at = 2; at < size && end.done == 0; at += piece) {
		unsigned char heard[256];
		size_t len = size - at < piece ? size - at : piece;
		ssize_t back = data[at] == 0xff ? read(fds[1], heard, sizeof(heard)) : -1;

		if (back > 8 && (data[0] & 4))
			heard[7] = role == PROOF_ASKER ? PROOF_ANSWERER : PROOF_ASKER;
		if (back > 0)
			send(fds[1], heard, (size_t)back, MSG_NOSIGNAL);
		else
			send(fds[1], data + at, len, MSG_NOSIGNAL);
		for (int i = 0; i < 3; i++)
			loop_run_once(loop, 0);
	}
	/* whatever it was, it was no proof, and is over when the other end is */
	shutdown(fds[1], SHUT_WR);
	for (int i = 0; i < 4 && end.done == 0; i++)
		loop_run_once(loop, 0);
	if (end.done != 1 || end.result == 0)
		abort();
	close(fds[0]);
	close(fds[1]);
	loop_free(loop);
}

/* An end that has the key: what it sends in pieces is enough, and what is behind it is left. */
static void with_key(const uint8_t *data)
{
	struct loop *loop = loop_new();
	struct end ends[2] = {{.done = 0}, {.done = 0}};
	unsigned char rest[16];
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	for (size_t i = 0; i < 2; i++) {
		ends[i].proof = (struct proof){.loop = loop,
			.key = &key,
			.role = i == (data[0] & 1) ? PROOF_ASKER : PROOF_ANSWERER,
			.purpose = "fuzz",
			.on_done = on_done};
		if (proof_start(&ends[i].proof, fds[i], fds[i], 1000) < 0)
			abort();
	}
	for (int i = 0; i < 20 && !(ends[0].done && ends[1].done); i++)
		loop_run_once(loop, 1);
	if (ends[0].result != 0 || ends[1].result != 0 || !ends[0].done || !ends[1].done)
		abort();
	if (write(fds[1], behind, sizeof(behind)) != sizeof(behind) ||
		read(fds[0], rest, sizeof(rest)) != sizeof(behind) ||
		memcmp(rest, behind, sizeof(behind)) != 0)
		abort();
	close(fds[0]);
	close(fds[1]);
	loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	one_end(data, size, data[0] & 1 ? PROOF_ASKER : PROOF_ANSWERER);
	if (size < 8)
		with_key(data);
	return 0;
}
