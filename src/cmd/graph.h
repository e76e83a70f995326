/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/graph - boxes of text and lines between them, for whoever draws them */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum graph_state { GRAPH_GOOD, GRAPH_PENDING, GRAPH_BAD, GRAPH_NEUTRAL };

/* From left to right. */
enum graph_column { GRAPH_LEFT, GRAPH_MIDDLE, GRAPH_RIGHT, GRAPH_COLUMNS };

struct graph_node {
	enum graph_column column;
	enum graph_state state;
	char **lines; /* UTF-8 without what log_escape escapes; the first one is the head */
	size_t nlines;
};

/* From a node to one of a column further right. */
struct graph_edge {
	size_t from, to; /* numbers of nodes */
	enum graph_state state;
	char *label; /* as lines */
};

/* Starts as all zero; free with graph_fini. */
struct graph {
	struct graph_node *nodes;
	size_t nnodes;
	struct graph_edge *edges;
	size_t nedges;
};

void graph_fini(struct graph *graph);

/* Return the number of the new one. Memory is there or the process ends (GLib). */
size_t graph_add_node(struct graph *graph, enum graph_column column, enum graph_state state);
void graph_add_line(struct graph *graph, size_t node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void graph_add_edge(struct graph *graph, size_t from, size_t to, enum graph_state state,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

/* "#2e7d32" and so on: readable on white */
const char *graph_colour(enum graph_state state);

/* Write it in one of the formats. */
void graph_dot(const struct graph *graph, FILE *out);
void graph_mermaid(const struct graph *graph, FILE *out);
void graph_svg(const struct graph *graph, FILE *out);
