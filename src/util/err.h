/* SPDX-License-Identifier: Apache-2.0 */
/* util/err - what went wrong, in words a person can act on */
#pragma once

/*
 * Leaf functions return 0 or -errno and print nothing. Functions that can explain take a
 * `struct err *` as their last argument, fill it and return the same negative errno. The text is
 * one line without "nswrap: " in front; it is printed once, in cmd/.
 */
struct err {
	int code;       /* a positive errno; 0 when nothing is wrong */
	char text[512]; /* one line, names the argument or object, the cause and the cure */
};

/*
 * Fill @err with @code (a positive errno) and the formatted text. Returns -@code, so that a caller
 * can write `return err_set(...)`. @err may be NULL.
 */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the system's words for @code behind the text. */
int err_sys(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
