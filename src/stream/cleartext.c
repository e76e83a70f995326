/* SPDX-License-Identifier: Apache-2.0 */
/* stream/cleartext - QUIC without its cryptography, as the link is the mesh's own */
#include "stream/cleartext.h"

#include <string.h>
#include <sys/random.h>

#define TAG_BYTES    16 /* the library asserts a packet of at least that (ngtcp2_ppe_final) */
#define SECRET_BYTES 8
#define IV_BYTES     8
#define PARAMS_BYTES 1024

static const uint8_t nothing[SECRET_BYTES + IV_BYTES];
static const char done[] = "done";

static int encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *ctx,
	const uint8_t *plain, size_t len, const uint8_t *nonce, size_t noncelen, const uint8_t *aad,
	size_t aadlen)
{
	(void)aead, (void)ctx, (void)nonce, (void)noncelen, (void)aad, (void)aadlen;
	if (len > 0 && plain != dest)
		memmove(dest, plain, len);
	memset(dest + len, 0, TAG_BYTES);
	return 0;
}

static int decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *ctx,
	const uint8_t *cipher, size_t len, const uint8_t *nonce, size_t noncelen,
	const uint8_t *aad, size_t aadlen)
{
	(void)aead, (void)ctx, (void)nonce, (void)noncelen, (void)aad, (void)aadlen;
	if (len < TAG_BYTES)
		return NGTCP2_ERR_DECRYPT;
	if (len > TAG_BYTES && cipher != dest)
		memmove(dest, cipher, len - TAG_BYTES);
	return 0;
}

static int mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp, const ngtcp2_crypto_cipher_ctx *ctx,
	const uint8_t *sample)
{
	(void)hp, (void)ctx, (void)sample;
	memset(dest, 0, NGTCP2_HP_MASKLEN);
	return 0;
}

static void delete_aead(ngtcp2_conn *conn, ngtcp2_crypto_aead_ctx *ctx, void *user)
{
	(void)conn, (void)ctx, (void)user;
}

static void delete_cipher(ngtcp2_conn *conn, ngtcp2_crypto_cipher_ctx *ctx, void *user)
{
	(void)conn, (void)ctx, (void)user;
}

static int update_key(ngtcp2_conn *conn, uint8_t *rx_secret, uint8_t *tx_secret,
	ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx, uint8_t *tx_iv,
	const uint8_t *old_rx, const uint8_t *old_tx, size_t secretlen, void *user)
{
	(void)conn, (void)rx, (void)tx, (void)user;
	memcpy(rx_secret, old_rx, secretlen);
	memcpy(tx_secret, old_tx, secretlen);
	memset(rx_iv, 0, IV_BYTES);
	memset(tx_iv, 0, IV_BYTES);
	return 0;
}

/* Lets no packet be taken for one that begins again: such are dropped before (stream/ferry). */
static int refuse_retry(ngtcp2_conn *conn, const ngtcp2_pkt_hd *head, void *user)
{
	(void)conn, (void)head, (void)user;
	return NGTCP2_ERR_CALLBACK_FAILURE;
}

static int refuse_version(
	ngtcp2_conn *conn, uint32_t version, const ngtcp2_cid *client_dcid, void *user)
{
	(void)conn, (void)version, (void)client_dcid, (void)user;
	return NGTCP2_ERR_CALLBACK_FAILURE;
}

static int challenge(ngtcp2_conn *conn, uint8_t *data, void *user)
{
	(void)conn, (void)user;
	return getrandom(data, NGTCP2_PATH_CHALLENGE_DATALEN, GRND_NONBLOCK) < 0
		       ? NGTCP2_ERR_CALLBACK_FAILURE
		       : 0;
}

static void random_bytes(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	if (getrandom(dest, len, GRND_NONBLOCK) < 0)
		memset(dest, 0, len);
}

/* --- the handshake ------------------------------------------------------------------------ */

static int install_initial(ngtcp2_conn *conn)
{
	const ngtcp2_crypto_ctx ctx = {.aead.max_overhead = TAG_BYTES,
		.max_encryption = UINT64_MAX,
		.max_decryption_failure = UINT64_MAX};
	const ngtcp2_crypto_aead_ctx aead = {NULL};
	const ngtcp2_crypto_cipher_ctx hp = {NULL};

	ngtcp2_conn_set_initial_crypto_ctx(conn, &ctx);
	ngtcp2_conn_set_crypto_ctx(conn, &ctx);
	return ngtcp2_conn_install_initial_key(
		conn, &aead, nothing, &hp, &aead, nothing, &hp, IV_BYTES);
}

static int install_handshake(ngtcp2_conn *conn)
{
	const ngtcp2_crypto_aead_ctx aead = {NULL};
	const ngtcp2_crypto_cipher_ctx hp = {NULL};
	int result = ngtcp2_conn_install_rx_handshake_key(conn, &aead, nothing, IV_BYTES, &hp);

	return result < 0
		       ? result
		       : ngtcp2_conn_install_tx_handshake_key(conn, &aead, nothing, IV_BYTES, &hp);
}

static int install_rx(ngtcp2_conn *conn)
{
	const ngtcp2_crypto_aead_ctx aead = {NULL};
	const ngtcp2_crypto_cipher_ctx hp = {NULL};

	return ngtcp2_conn_install_rx_key(
		conn, nothing, SECRET_BYTES, &aead, nothing, IV_BYTES, &hp);
}

static int install_tx(ngtcp2_conn *conn)
{
	const ngtcp2_crypto_aead_ctx aead = {NULL};
	const ngtcp2_crypto_cipher_ctx hp = {NULL};

	return ngtcp2_conn_install_tx_key(
		conn, nothing, SECRET_BYTES, &aead, nothing, IV_BYTES, &hp);
}

static int say(ngtcp2_conn *conn, ngtcp2_crypto_level level)
{
	uint8_t params[PARAMS_BYTES];
	ngtcp2_ssize len = ngtcp2_conn_encode_local_transport_params(conn, params, sizeof(params));

	return len < 0 ? (int)len
		       : ngtcp2_conn_submit_crypto_data(conn, level, params, (size_t)len);
}

static int client_initial(ngtcp2_conn *conn, void *user)
{
	(void)user;
	int result = install_initial(conn);
	if (result == 0)
		result = say(conn, NGTCP2_CRYPTO_LEVEL_INITIAL);
	return result < 0 ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int recv_client_initial(ngtcp2_conn *conn, const ngtcp2_cid *dcid, void *user)
{
	(void)dcid, (void)user;
	return install_initial(conn) < 0 ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

static int hear_asker(ngtcp2_conn *conn, ngtcp2_crypto_level level, const uint8_t *data, size_t len)
{
	int result;

	if (level == NGTCP2_CRYPTO_LEVEL_HANDSHAKE) {
		result = install_rx(conn);
		if (result == 0)
			ngtcp2_conn_handshake_completed(conn);
		return result;
	}
	result = ngtcp2_conn_decode_remote_transport_params(conn, data, len);
	if (result == 0)
		result = install_handshake(conn);
	/* the asker learns of its keys by it */
	if (result == 0)
		result = ngtcp2_conn_submit_crypto_data(
			conn, NGTCP2_CRYPTO_LEVEL_INITIAL, (const uint8_t *)done, sizeof(done));
	if (result == 0)
		result = say(conn, NGTCP2_CRYPTO_LEVEL_HANDSHAKE);
	return result < 0 ? result : install_tx(conn);
}

static int hear_answerer(
	ngtcp2_conn *conn, ngtcp2_crypto_level level, const uint8_t *data, size_t len)
{
	int result;

	if (level == NGTCP2_CRYPTO_LEVEL_INITIAL)
		return install_handshake(conn);
	result = ngtcp2_conn_decode_remote_transport_params(conn, data, len);
	if (result == 0)
		result = ngtcp2_conn_submit_crypto_data(
			conn, NGTCP2_CRYPTO_LEVEL_HANDSHAKE, (const uint8_t *)done, sizeof(done));
	if (result == 0)
		result = install_rx(conn);
	if (result == 0)
		result = install_tx(conn);
	if (result == 0)
		ngtcp2_conn_handshake_completed(conn);
	return result;
}

/* Each of them is one frame: who cuts it, or says it twice, is none of us. */
static int recv_crypto(ngtcp2_conn *conn, ngtcp2_crypto_level level, uint64_t offset,
	const uint8_t *data, size_t len, void *user)
{
	(void)user;
	if (offset != 0 || len == 0 ||
		(level != NGTCP2_CRYPTO_LEVEL_INITIAL && level != NGTCP2_CRYPTO_LEVEL_HANDSHAKE))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	int result = ngtcp2_conn_is_server(conn) ? hear_asker(conn, level, data, len)
						 : hear_answerer(conn, level, data, len);
	return result < 0 ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}

void cleartext_fill(ngtcp2_callbacks *callbacks)
{
	callbacks->client_initial = client_initial;
	callbacks->recv_client_initial = recv_client_initial;
	callbacks->recv_crypto_data = recv_crypto;
	callbacks->encrypt = encrypt;
	callbacks->decrypt = decrypt;
	callbacks->hp_mask = mask;
	callbacks->recv_retry = refuse_retry;
	callbacks->version_negotiation = refuse_version;
	callbacks->rand = random_bytes;
	callbacks->update_key = update_key;
	callbacks->delete_crypto_aead_ctx = delete_aead;
	callbacks->delete_crypto_cipher_ctx = delete_cipher;
	callbacks->get_path_challenge_data = challenge;
}
