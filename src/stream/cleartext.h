/* SPDX-License-Identifier: Apache-2.0 */
/* stream/cleartext - QUIC without its cryptography, as the link is the mesh's own */
#pragma once

#include <ngtcp2/ngtcp2.h>

/*
 * How it works
 *
 * libngtcp2 leaves cryptography to its user. Who may read the link may read the mesh, and addresses
 * are the manager's to check, so nothing is hidden here: packets are as they are, with zeros
 * behind each where the library wants a tag. In place of TLS both ends say their transport
 * parameters (RFC 9000 7.4), the asker first.
 */

/* Fill in what cryptography is of @callbacks, client_initial and all that is asked of keys. */
void cleartext_fill(ngtcp2_callbacks *callbacks);
