/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/naming - the name of a mesh, and that no manifest is run twice by mistake */
#pragma once

#include "control/registry.h"
#include "mesh/manifest/manifest.h"
#include "util/err.h"

/*
 * Reserve @name, or if it is NULL one after the manifest @path ("-": stdin), which is read already;
 * and note what the mesh is made of. Without @name it is an error if a mesh of the same file runs,
 * by whatever path, or one with the same hosts (manifest_digest): two that start the same hosts
 * fight for ever. Returns 0, or -errno with @err filled.
 */
int naming_reserve(const char *path, const char *name, const struct manifest *manifest,
	struct registry_entry *entry, struct err *err);

/*
 * What agents know host @host by, at each start the same and, as far as can be, no other one's:
 * they are told no more of this machine. @scope is of the mesh, from naming_scope: of mesh @name of
 * the manifest @path ("-": stdin), which is there. Both of malloc(3), or NULL.
 */
char *naming_scope(const char *path, const char *name);
char *naming_identity(const char *scope, const char *host);

/* The manifest is another one now. */
void naming_note(
	const char *path, const struct manifest *manifest, const struct registry_entry *entry);
