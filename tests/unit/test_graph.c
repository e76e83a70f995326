/* SPDX-License-Identifier: Apache-2.0 */
/* test_graph - texts of any kind are texts in every format */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cmd/graph.h"

#define ODD "a\"b\\c<d>&#x;`[e]\n\033"

static char *write_graph(
	const struct graph *graph, void (*write)(const struct graph *graph, FILE *out))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	write(graph, out);
	fclose(out);
	return text;
}

static struct graph odd_graph(void)
{
	struct graph graph = {.nodes = NULL};
	size_t left = graph_add_node(&graph, GRAPH_LEFT, GRAPH_NEUTRAL);
	size_t right = graph_add_node(&graph, GRAPH_RIGHT, GRAPH_BAD);

	graph_add_line(&graph, left, "%s", ODD);
	graph_add_line(&graph, right, "%s", "\xc3\xa4");
	graph_add_edge(&graph, left, right, GRAPH_BAD, "%s", ODD);
	return graph;
}

static int count(const char *text, const char *part)
{
	int found = 0;

	while ((text = strstr(text, part))) {
		text++;
		found++;
	}
	return found;
}

static void odd_texts(void **state)
{
	static const struct {
		void (*write)(const struct graph *graph, FILE *out);
		const char *shown;
	} rows[] = {
		{graph_dot, "label=\"a\\\"b\\\\c<d>&#x;`[e]\\\\x0a\\\\x1b"},
		{graph_mermaid, "\"a#34;b#92;c#60;d#62;#38;#35;x#59;#96;#91;e#93;#92;x0a#92;x1b\""},
		{graph_svg, ">a&quot;b\\c&lt;d&gt;&amp;#x;`[e]\\x0a\\x1b</text>"},
	};
	struct graph graph = odd_graph();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = write_graph(&graph, rows[i].write);

		assert_int_equal(count(text, rows[i].shown), 2); /* of the box, and of the line */
		assert_non_null(strstr(text, "\xc3\xa4"));
		assert_non_null(strstr(text, "#c62828"));
		free(text);
	}
	graph_fini(&graph);
	assert_null(graph.nodes);
}

static void nothing_at_all(void **state)
{
	struct graph graph = {.nodes = NULL};

	(void)state;
	char *text = write_graph(&graph, graph_svg);
	assert_non_null(strstr(text, "</svg>"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_texts),
		cmocka_unit_test(nothing_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
