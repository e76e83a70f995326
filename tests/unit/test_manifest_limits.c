/* SPDX-License-Identifier: Apache-2.0 */
/* unit/test_manifest_limits - manifests that are too large, or would be if aliases were followed */
#include "manifest_report.h"

struct writer {
	char *text;
	size_t len;
	FILE *file;
};

static void begin(struct writer *w)
{
	*w = (struct writer){.text = NULL};
	w->file = open_memstream(&w->text, &w->len);
	assert_non_null(w->file);
}

static void end_bad(struct writer *w, const char *wanted)
{
	fclose(w->file);
	check_bad_bytes(w->text, w->len, wanted);
	free(w->text);
}

static void test_limits(void **state)
{
	struct writer w;

	(void)state;
	begin(&w);
	fprintf(w.file, "%*s", (1 << 20) + 1, "");
	end_bad(&w, "m.yaml: too large: expected at most 1048576 bytes\n");

	begin(&w);
	fprintf(w.file, "hosts: ");
	for (int i = 0; i < 100000; i++)
		fputc('[', w.file);
	end_bad(&w, "m.yaml:1:23: too many lists and maps in one another\n");

	begin(&w);
	fprintf(w.file, "hosts:\n");
	for (int i = 0; i < 4097; i++)
		fprintf(w.file, "  h%d: {vip: 10.0.%d.%d}\n", i, i >> 8, i & 255);
	end_bad(&w, "m.yaml:2:3: too many hosts: expected at most 4096\n");

	begin(&w);
	fprintf(w.file, "hosts:\n");
	for (int i = 0; i < 2; i++) {
		fprintf(w.file, "  h%d:\n    vip: 10.0.0.%d\n    ports:\n", i, i + 1);
		for (int port = 1; port <= 4097; port++)
			fprintf(w.file, "    - %d:a:1\n", port);
	}
	end_bad(&w, "m.yaml:8200:7: host h1: too many ports: expected at most 8192 in the mesh\n");

	begin(&w);
	for (int i = 0; i < 1025; i++)
		fprintf(w.file, "- &a%d x\n", i);
	end_bad(&w, "m.yaml:1025:3: the manifest has too many anchors: expected at most 1024\n");
}

/* Small files that would be large ones if every alias were followed. */
static void test_bombs(void **state)
{
	static const char too_large[] =
		"too large when all aliases are followed: expected at most 16 MiB\n";
	static struct report report;
	struct manifest manifest;
	struct writer w;

	(void)state;
	begin(&w); /* the classic one is walked no deeper than a manifest is */
	fprintf(w.file, "a0: &a0 [x, x]\n");
	for (int i = 1; i < 100; i++)
		fprintf(w.file, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
	fprintf(w.file, "hosts: {h: {vip: 1.2.3.4, cmd: *a99}}\n");
	fclose(w.file);
	assert_int_equal(parse_bytes(w.text, w.len, &manifest, &report), -EINVAL);
	assert_int_equal(report.lines, 101);
	assert_non_null(strstr(report.text, "host h: a word of cmd is a list"));
	free(w.text);

	begin(&w); /* a long text in many places */
	fprintf(w.file, "hostTemplate: {stateDir: {pathOnAgent: %0100000d}}\nhosts:\n", 7);
	for (int i = 0; i < 1000; i++)
		fprintf(w.file, "  h%d: {vip: 10.1.%d.%d}\n", i, i >> 8, i & 255);
	fclose(w.file);
	assert_int_equal(parse_bytes(w.text, w.len, &manifest, &report), -EINVAL);
	assert_int_equal(report.lines, 1);
	assert_non_null(strstr(report.text, too_large));
	free(w.text);

	begin(&w); /* a list with errors in many places */
	fprintf(w.file, "hosts:\n  h: {vip: 10.0.0.0, cmd: &c [");
	for (int i = 0; i < 2000; i++)
		fprintf(w.file, "~, ");
	fprintf(w.file, "]}\n");
	for (int i = 0; i < 1000; i++)
		fprintf(w.file, "  h%d: {vip: 10.1.%d.%d, cmd: *c}\n", i, i >> 8, i & 255);
	fclose(w.file);
	assert_int_equal(parse_bytes(w.text, w.len, &manifest, &report), -EINVAL);
	assert_in_range(report.lines, 1000, 1002);
	assert_non_null(strstr(report.text, "more errors are not shown\n"));
	free(w.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bombs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
