/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/about - what this program is made of */
#pragma once

#include <stdio.h>

/* The version; the libraries, by what is loaded, not what was there when it was built; and what it
 * can do wherever the kernel lets it. */
void about_print(FILE *out);
