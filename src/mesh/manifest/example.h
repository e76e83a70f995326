/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/example - what `nswrap mesh --example` prints */
#pragma once

/* A commented manifest that manifest_parse accepts, with every key in it. */
extern const char example_manifest[];
