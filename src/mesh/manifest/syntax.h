/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manifest/syntax - why a text is no YAML, in words a person can act on */
#pragma once

#include <yaml.h>

#include "mesh/manifest/errors.h"

/* Add the error that @parser stopped at in a UTF-8 string. */
void syntax_explain(const yaml_parser_t *parser, struct errors *errors);

/* Where @mark is, which counts from 0. */
struct place syntax_place(yaml_mark_t mark);
