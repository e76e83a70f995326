/* SPDX-License-Identifier: Apache-2.0 */
/* link/proof - both ends of a link prove to each other that they have the same key */
#include "link/proof.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/list.h"

#define FLUSH_MS  20
#define MAGIC     "nswrap\1"
#define MAGIC_LEN 7
#define ROLE_AT   MAGIC_LEN
#define LABEL     "nswrap proof 1"

/* --- bytes -------------------------------------------------------------------------------- */

static enum proof_role other(enum proof_role role)
{
	return role == PROOF_ASKER ? PROOF_ANSWERER : PROOF_ASKER;
}

bool proof_is_hello(const void *bytes, size_t len)
{
	return memcmp(bytes, MAGIC, len < MAGIC_LEN ? len : MAGIC_LEN) == 0;
}

static int make_hello(struct proof *proof)
{
	unsigned char *at = proof->own;

	memset(at, 0, PROOF_HELLO_BYTES);
	memcpy(at, MAGIC, MAGIC_LEN);
	at[ROLE_AT] = (unsigned char)proof->role;
	memcpy(at + ROLE_AT + 1, proof->purpose, strnlen(proof->purpose, PROOF_PURPOSE_BYTES));
	ssize_t len = getrandom(at + PROOF_HELLO_BYTES - PROOF_NONCE_BYTES, PROOF_NONCE_BYTES, 0);
	return len == PROOF_NONCE_BYTES ? 0 : len < 0 ? -errno : -EIO;
}

static void make_mac(const struct proof *proof, enum proof_role prover, unsigned char *out)
{
	const unsigned char *hellos[] = {proof->own, proof->peer};
	bool is_asker = proof->role == PROOF_ASKER;
	unsigned char role = (unsigned char)prover;
	gsize len = PROOF_MAC_BYTES;
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, proof->key->bytes, proof->key->len);

	g_hmac_update(hmac, (const guchar *)LABEL, sizeof(LABEL));
	g_hmac_update(hmac, &role, 1);
	g_hmac_update(hmac, hellos[!is_asker], PROOF_HELLO_BYTES);
	g_hmac_update(hmac, hellos[is_asker], PROOF_HELLO_BYTES);
	g_hmac_get_digest(hmac, out, &len);
	g_hmac_unref(hmac);
}

/* In a time that does not tell where they differ. */
static bool is_same_mac(const unsigned char *a, const unsigned char *b)
{
	volatile unsigned char differ = 0;

	for (size_t i = 0; i < PROOF_MAC_BYTES; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

/* --- end ---------------------------------------------------------------------------------- */

void proof_cancel(struct proof *proof)
{
	if (proof->step == PROOF_IDLE)
		return;
	loop_io_del(proof->loop, &proof->io);
	loop_timer_cancel(proof->loop, &proof->deadline);
	loop_timer_cancel(proof->loop, &proof->flush);
	proof->step = PROOF_IDLE;
}

static void finish(struct proof *proof, int result, const char *why)
{
	proof_cancel(proof);
	proof->on_done(proof, result, why);
}

static void on_deadline(struct loop_timer *timer)
{
	finish(container_of(timer, struct proof, deadline), -ETIMEDOUT,
		"the other end has not proven in time that it has the key (has it a --key-file?)");
}

static void fail_ended(struct proof *proof)
{
	finish(proof, -EPIPE,
		proof->step == PROOF_AWAITS_MAC && proof->role == PROOF_ASKER
			? "the other end has closed the link instead of proving that it has the "
			  "key (has it the same one?)"
			: "the other end has closed the link before it has proven that it has "
			  "the key");
}

/* --- out ---------------------------------------------------------------------------------- */

/* Returns false if the proof is over. */
static bool flush(struct proof *proof)
{
	ssize_t len = write(proof->out_fd, proof->out, proof->out_len);

	if (len < 0 && errno != EAGAIN && errno != EINTR) {
		fail_ended(proof);
		return false;
	}
	if (len > 0) {
		proof->out_len -= (size_t)len;
		memmove(proof->out, proof->out + len, proof->out_len);
	}
	if (proof->out_len > 0) {
		/* a pipe that is full; rarely, so nobody is asked to tell when it is not */
		loop_timer_set(proof->loop, &proof->flush, FLUSH_MS);
		return true;
	}
	if (proof->step != PROOF_PROVEN)
		return true;
	finish(proof, 0, NULL);
	return false;
}

static void on_flush(struct loop_timer *timer)
{
	flush(container_of(timer, struct proof, flush));
}

static bool say(struct proof *proof, const unsigned char *bytes, size_t len)
{
	memcpy(proof->out + proof->out_len, bytes, len);
	proof->out_len += len;
	return flush(proof);
}

static bool say_mac(struct proof *proof)
{
	unsigned char mac[PROOF_MAC_BYTES];

	make_mac(proof, proof->role, mac);
	return say(proof, mac, sizeof(mac));
}

/* --- in ----------------------------------------------------------------------------------- */

/* A whole HELLO is there. Returns whether it goes on. */
static bool take_hello(struct proof *proof)
{
	const unsigned char *purpose = proof->peer + ROLE_AT + 1;
	bool is_asker = proof->role == PROOF_ASKER;

	if (proof->peer[ROLE_AT] != (unsigned char)other(proof->role)) {
		finish(proof, -EPROTO, "the other end is one of the same kind as this one");
		return false;
	}
	if (memcmp(purpose, proof->own + ROLE_AT + 1, PROOF_PURPOSE_BYTES) != 0) {
		finish(proof, -EPROTO, "the other end is a link of another command");
		return false;
	}
	proof->step = PROOF_AWAITS_MAC;
	proof->have = 0;
	return is_asker ? say_mac(proof) : say(proof, proof->own, sizeof(proof->own));
}

static bool take_mac(struct proof *proof)
{
	unsigned char expected[PROOF_MAC_BYTES];

	make_mac(proof, other(proof->role), expected);
	if (!is_same_mac(expected, proof->mac)) {
		finish(proof, -EACCES, "the other end has another key");
		return false;
	}
	proof->step = PROOF_PROVEN;
	loop_io_del(proof->loop, &proof->io); /* what follows is the link's */
	if (proof->role == PROOF_ANSWERER)
		return say_mac(proof);
	finish(proof, 0, NULL);
	return false;
}

/* Drop what is no beginning of a HELLO from the front. Returns whether it goes on. */
static bool drop_noise(struct proof *proof)
{
	size_t skip = 0;

	while (skip < proof->have && !proof_is_hello(proof->peer + skip, proof->have - skip))
		skip++;
	proof->have -= skip;
	proof->noise += skip;
	memmove(proof->peer, proof->peer + skip, proof->have);
	if (skip == 0 || (proof->may_have_noise && proof->noise <= PROOF_NOISE_MAX))
		return true;
	finish(proof, -EPROTO, "the other end does not prove that it has the key: it has none");
	return false;
}

/* One read(2). Returns whether there may be more. */
static bool take(struct proof *proof)
{
	bool is_hello = proof->step == PROOF_AWAITS_HELLO;
	unsigned char *into = is_hello ? proof->peer : proof->mac;
	size_t whole = is_hello ? PROOF_HELLO_BYTES : PROOF_MAC_BYTES;
	ssize_t len = read(proof->io.fd, into + proof->have, whole - proof->have);

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len <= 0) {
		fail_ended(proof);
		return false;
	}
	proof->have += (size_t)len;
	if (is_hello && !drop_noise(proof))
		return false;
	if (proof->have < whole)
		return true;
	return is_hello ? take_hello(proof) : take_mac(proof);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct proof *proof = container_of(io, struct proof, io);

	(void)events;
	/* noise is bounded, and so is this; the proof is gone when one of them says no */
	while (take(proof) && proof->step != PROOF_PROVEN)
		;
}

int proof_start(struct proof *proof, int in_fd, int out_fd, unsigned deadline_ms)
{
	int result = make_hello(proof);

	proof->io = (struct loop_io){in_fd, on_ready};
	proof->deadline = (struct loop_timer){.on_expired = on_deadline};
	proof->flush = (struct loop_timer){.on_expired = on_flush};
	proof->out_fd = out_fd;
	proof->have = proof->noise = proof->out_len = 0;
	if (result == 0)
		result = fd_set_nonblock(in_fd, 1);
	if (result == 0)
		result = fd_set_nonblock(out_fd, 1);
	if (result == 0)
		result = loop_io_add(proof->loop, &proof->io, EPOLLIN);
	if (result < 0)
		return result;
	proof->step = PROOF_AWAITS_HELLO;
	loop_timer_set(proof->loop, &proof->deadline, deadline_ms);
	if (proof->role == PROOF_ASKER) {
		memcpy(proof->out, proof->own, PROOF_HELLO_BYTES);
		proof->out_len = PROOF_HELLO_BYTES;
		loop_timer_set(proof->loop, &proof->flush, 0); /* from the loop */
	}
	return 0;
}
