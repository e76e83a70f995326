/* SPDX-License-Identifier: Apache-2.0 */
/* forward/table - the forwards at work in a net process, and the look-out for the guest's servers
 */
#pragma once

#include "forward/driver.h"

/*
 * How it works
 *
 * Forwards whose guest port has never been listened at are looked up in the kernel's socket tables
 * (net/diag, some microseconds each), as often as forward/pace says; there is no event for
 * listen(2). Once all have been listened at, nobody looks any more.
 */
struct forward_table;

/* @context stays the caller's and must outlive the table. Returns NULL with errno set. */
struct forward_table *table_new(const struct forward_context *context);
void table_free(struct forward_table *table);

/*
 * Put @spec to work by @driver. Takes @listen_fd (see conn/bind; -1: there was no room for it)
 * over, in any case. @has_listened: known from an earlier net process. Returns 0, or -errno with
 * @err filled.
 */
int table_add(struct forward_table *table, uint32_t id, const struct forward_spec *spec,
	enum forward_driver_choice driver, int listen_fd, bool has_listened, struct err *err);

/* Stop accepting for @id; connections go on. Returns 0 or -ENOENT. */
int table_remove(struct forward_table *table, uint32_t id);
