/* SPDX-License-Identifier: Apache-2.0 */
/* cmd/graph - boxes of text and lines between them, for whoever draws them */
#include "cmd/graph.h"

#include <glib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/output.h"
#include "util/log.h"

/* pixels of an SVG; a column of a monospace font is 0.6 em */
#define FONT_PX   13
#define COLUMN_PX 7.8
#define LINE_PX   18
#define PAD_PX    10
#define GAP_Y_PX  16
#define GAP_X_PX  150

/* --- the graph ---------------------------------------------------------------------------- */

void graph_fini(struct graph *graph)
{
	for (size_t i = 0; i < graph->nnodes; i++) {
		for (size_t line = 0; line < graph->nodes[i].nlines; line++)
			g_free(graph->nodes[i].lines[line]);
		g_free(graph->nodes[i].lines);
	}
	for (size_t i = 0; i < graph->nedges; i++)
		g_free(graph->edges[i].label);
	g_free(graph->nodes);
	g_free(graph->edges);
	*graph = (struct graph){.nodes = NULL};
}

__attribute__((format(printf, 1, 0))) static char *escape(const char *format, va_list args)
{
	char *text = g_strdup_vprintf(format, args), shown[OUTPUT_TEXT_BYTES];

	log_escape(text, strlen(text), shown, sizeof(shown));
	g_free(text);
	return g_strdup(shown);
}

size_t graph_add_node(struct graph *graph, enum graph_column column, enum graph_state state)
{
	graph->nodes = g_renew(struct graph_node, graph->nodes, graph->nnodes + 1);
	graph->nodes[graph->nnodes] = (struct graph_node){.column = column, .state = state};
	return graph->nnodes++;
}

void graph_add_line(struct graph *graph, size_t node, const char *format, ...)
{
	struct graph_node *at = &graph->nodes[node];
	va_list args;

	va_start(args, format);
	at->lines = g_renew(char *, at->lines, at->nlines + 1);
	at->lines[at->nlines++] = escape(format, args);
	va_end(args);
}

void graph_add_edge(struct graph *graph, size_t from, size_t to, enum graph_state state,
	const char *format, ...)
{
	va_list args;

	va_start(args, format);
	graph->edges = g_renew(struct graph_edge, graph->edges, graph->nedges + 1);
	graph->edges[graph->nedges++] = (struct graph_edge){from, to, state, escape(format, args)};
	va_end(args);
}

const char *graph_colour(enum graph_state state)
{
	static const char *const colours[] = {
		[GRAPH_GOOD] = "#2e7d32",
		[GRAPH_PENDING] = "#b26a00",
		[GRAPH_BAD] = "#c62828",
		[GRAPH_NEUTRAL] = "#455a64",
	};

	return colours[state];
}

static bool is_dashed(enum graph_state state)
{
	return state == GRAPH_PENDING || state == GRAPH_BAD;
}

/* --- dot(1) of Graphviz ------------------------------------------------------------------- */

/* Between double quotes, where "\\" and "\"" are all that means something else. */
static void write_quoted(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

void graph_dot(const struct graph *graph, FILE *out)
{
	fputs("graph mesh {\n\trankdir=LR;\n"
	      "\tnode [shape=box, fontname=\"monospace\", fontsize=11];\n"
	      "\tedge [fontname=\"monospace\", fontsize=10];\n",
		out);
	for (size_t i = 0; i < graph->nnodes; i++) {
		const struct graph_node *node = &graph->nodes[i];

		fprintf(out, "\tn%zu [color=\"%s\"%s, label=\"", i, graph_colour(node->state),
			node->column == GRAPH_RIGHT ? ", style=rounded" : "");
		for (size_t line = 0; line < node->nlines; line++) {
			write_quoted(out, node->lines[line]);
			fputs("\\l", out); /* the end of a line to the left */
		}
		fputs("\"];\n", out);
	}
	for (size_t i = 0; i < graph->nedges; i++) {
		const struct graph_edge *edge = &graph->edges[i];

		fprintf(out, "\tn%zu -- n%zu [color=\"%s\"%s, label=\"", edge->from, edge->to,
			graph_colour(edge->state), is_dashed(edge->state) ? ", style=dashed" : "");
		write_quoted(out, edge->label);
		fputs("\"];\n", out);
	}
	fputs("}\n", out);
}

/* --- Mermaid ------------------------------------------------------------------------------ */

/* Its entities are "#NUMBER;". What is no letter may be Markdown, HTML or a keyword there. */
static void write_entities(FILE *out, const char *text)
{
	for (; *text; text = g_utf8_next_char(text)) {
		gunichar c = g_utf8_get_char(text);

		if (g_unichar_isalnum(c) || (c < 0x80 && strchr(" .,:-/", (int)c)))
			fprintf(out, "%.*s", (int)(g_utf8_next_char(text) - text), text);
		else
			fprintf(out, "#%u;", c);
	}
}

void graph_mermaid(const struct graph *graph, FILE *out)
{
	static const char *const classes[] = {"good", "pending", "bad", "neutral"};

	fputs("flowchart LR\n", out);
	for (size_t i = 0; i < graph->nnodes; i++) {
		const struct graph_node *node = &graph->nodes[i];
		bool is_round = node->column == GRAPH_RIGHT;

		fprintf(out, "    n%zu%s\"", i, is_round ? "(" : "[");
		for (size_t line = 0; line < node->nlines; line++) {
			fputs(line > 0 ? "<br/>" : "", out);
			write_entities(out, node->lines[line]);
		}
		fprintf(out, "\"%s:::%s\n", is_round ? ")" : "]", classes[node->state]);
	}
	for (size_t i = 0; i < graph->nedges; i++) {
		const struct graph_edge *edge = &graph->edges[i];

		fprintf(out, "    n%zu %s|\"", edge->from, is_dashed(edge->state) ? "-.-" : "---");
		write_entities(out, edge->label);
		fprintf(out, "\"| n%zu\n", edge->to);
	}
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		fprintf(out, "    classDef %s stroke:%s\n", classes[i],
			graph_colour((enum graph_state)i));
}

/* --- SVG ---------------------------------------------------------------------------------- */

struct box {
	double x, y, width, height;
};

/* Where each node stands: columns from left to right, in each of them one below another. Returns
 * the picture's size. */
static struct box place(const struct graph *graph, struct box *boxes)
{
	double widths[GRAPH_COLUMNS] = {0}, heights[GRAPH_COLUMNS] = {0}, left = GAP_Y_PX;
	struct box all = {0};

	for (size_t i = 0; i < graph->nnodes; i++) {
		const struct graph_node *node = &graph->nodes[i];

		for (size_t line = 0; line < node->nlines; line++)
			boxes[i].width =
				MAX(boxes[i].width, output_columns(node->lines[line]) * COLUMN_PX);
		boxes[i].width += 2 * PAD_PX;
		boxes[i].height = (double)node->nlines * LINE_PX + PAD_PX;
		boxes[i].y = heights[node->column];
		widths[node->column] = MAX(widths[node->column], boxes[i].width);
		heights[node->column] += boxes[i].height + GAP_Y_PX;
		all.height = MAX(all.height, heights[node->column]);
	}
	for (int column = 0; column < GRAPH_COLUMNS; column++) {
		for (size_t i = 0; i < graph->nnodes; i++) {
			if ((int)graph->nodes[i].column != column)
				continue;
			boxes[i].x = left;
			boxes[i].y += GAP_Y_PX + (all.height - heights[column]) / 2;
			boxes[i].width = widths[column];
		}
		left += widths[column] > 0 ? widths[column] + GAP_X_PX : 0;
	}
	all.width = left - GAP_X_PX + GAP_Y_PX;
	all.height += GAP_Y_PX;
	return all;
}

static void write_text(FILE *out, double x, double y, const char *more, const char *text)
{
	char *escaped = g_markup_escape_text(text, -1);

	fprintf(out, "<text x=\"%.0f\" y=\"%.0f\" xml:space=\"preserve\"%s>%s</text>\n", x, y, more,
		escaped);
	g_free(escaped);
}

static void write_edge(FILE *out, const struct graph_edge *edge, const struct box *boxes)
{
	const struct box *from = &boxes[edge->from], *to = &boxes[edge->to];
	double x1 = from->x + from->width, y1 = from->y + from->height / 2, x2 = to->x,
	       y2 = to->y + to->height / 2;

	fprintf(out,
		"<path d=\"M%.0f %.0fC%.0f %.0f %.0f %.0f %.0f %.0f\" fill=\"none\" stroke=\"%s\""
		"%s/>\n",
		x1, y1, x1 + GAP_X_PX / 3.0, y1, x2 - GAP_X_PX / 2.0, y2, x2, y2,
		graph_colour(edge->state),
		is_dashed(edge->state) ? " stroke-dasharray=\"5 4\"" : "");
	/* a curve that comes from above passes behind it */
	write_text(out, x2 - 4, y2 - 4,
		" text-anchor=\"end\" font-size=\"11\" paint-order=\"stroke\" stroke=\"white\""
		" stroke-width=\"4\"",
		edge->label);
}

static void write_box(FILE *out, const struct graph_node *node, const struct box *box)
{
	fprintf(out,
		"<rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" rx=\"%d\" "
		"fill=\"#fff\" stroke=\"%s\" stroke-width=\"1.5\"/>\n",
		box->x, box->y, box->width, box->height, node->column == GRAPH_RIGHT ? 12 : 2,
		graph_colour(node->state));
	for (size_t line = 0; line < node->nlines; line++)
		write_text(out, box->x + PAD_PX, box->y + ((double)line + 1) * LINE_PX,
			line == 0 ? " font-weight=\"bold\"" : "", node->lines[line]);
}

void graph_svg(const struct graph *graph, FILE *out)
{
	struct box *boxes = g_new0(struct box, graph->nnodes + 1);
	struct box all = place(graph, boxes);

	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"font-family=\"monospace\" font-size=\"%d\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		all.width, all.height, FONT_PX);
	for (size_t i = 0; i < graph->nedges; i++)
		write_edge(out, &graph->edges[i], boxes);
	for (size_t i = 0; i < graph->nnodes; i++)
		write_box(out, &graph->nodes[i], &boxes[i]);
	fputs("</svg>\n", out);
	g_free(boxes);
}
