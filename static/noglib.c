/* SPDX-License-Identifier: Apache-2.0 */
/* noglib - the few plain functions of GLib that an agent uses, without what its archive brings
 * along */
#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * How it works
 *
 * Members of Debian's libglib-2.0.a are linked whole, and each leads to the message log, from there
 * to the main loop, variants, and the tables of Unicode: 750 KiB. Here are the doors to those, and
 * functions of a line or two; what computes (HMAC, base64, the words of a shell) is GLib's own.
 * Were a function in both, the linker would say so. They do what GLib's manual says, as far as src
 * uses it.
 */

/* --- its version: that of the archive --------------------------------------------------------- */

const guint glib_major_version = GLIB_MAJOR_VERSION;
const guint glib_minor_version = GLIB_MINOR_VERSION;
const guint glib_micro_version = GLIB_MICRO_VERSION;

/* --- memory: there is no going on without, as in GLib ---------------------------------------- */

static void *or_abort(void *memory)
{
	static const char line[] = "nswrap: out of memory\n";

	if (memory)
		return memory;
	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		abort();
	abort();
}

gpointer g_malloc(gsize len)
{
	return len > 0 ? or_abort(malloc(len)) : NULL;
}

gpointer g_malloc0(gsize len)
{
	return len > 0 ? or_abort(calloc(1, len)) : NULL;
}

gpointer g_malloc_n(gsize count, gsize len)
{
	return count > 0 && len > 0 ? or_abort(reallocarray(NULL, count, len)) : NULL;
}

gpointer g_malloc0_n(gsize count, gsize len)
{
	return count > 0 && len > 0 ? or_abort(calloc(count, len)) : NULL;
}

gpointer g_realloc(gpointer memory, gsize len)
{
	if (len > 0)
		return or_abort(realloc(memory, len));
	free(memory);
	return NULL;
}

gpointer g_realloc_n(gpointer memory, gsize count, gsize len)
{
	if (count > 0 && len > 0)
		return or_abort(reallocarray(memory, count, len));
	free(memory);
	return NULL;
}

void g_free(gpointer memory)
{
	free(memory);
}

gpointer g_slice_alloc(gsize len)
{
	return g_malloc(len);
}

gpointer g_slice_alloc0(gsize len)
{
	return g_malloc0(len);
}

void g_slice_free1(gsize len, gpointer memory)
{
	(void)len;
	free(memory);
}

/* --- strings -----------------------------------------------------------------------------------
 */

gchar *g_strdup(const gchar *text)
{
	return text ? or_abort(strdup(text)) : NULL;
}

gchar *g_strndup(const gchar *text, gsize len)
{
	return text ? or_abort(strndup(text, len)) : NULL;
}

gchar *g_strdup_vprintf(const gchar *format, va_list args)
{
	char *text = NULL;

	return vasprintf(&text, format, args) < 0 ? or_abort(NULL) : text;
}

gchar *g_strdup_printf(const gchar *format, ...)
{
	va_list args;

	va_start(args, format);
	char *text = g_strdup_vprintf(format, args);
	va_end(args);
	return text;
}

gchar *g_strconcat(const gchar *first, ...)
{
	size_t len = 0;
	va_list args;

	if (!first)
		return NULL;
	va_start(args, first);
	for (const char *part = first; part; part = va_arg(args, const char *))
		len += strlen(part);
	va_end(args);
	char *text = g_malloc(len + 1), *end = text;
	va_start(args, first);
	for (const char *part = first; part; part = va_arg(args, const char *))
		end = stpcpy(end, part);
	va_end(args);
	*end = '\0';
	return text;
}

void g_strfreev(gchar **words)
{
	for (size_t i = 0; words && words[i]; i++)
		free(words[i]);
	free(words);
}

guint g_strv_length(gchar **words)
{
	guint count = 0;

	while (words[count])
		count++;
	return count;
}

gboolean g_strv_contains(const gchar *const *words, const gchar *word)
{
	for (; *words; words++)
		if (strcmp(*words, word) == 0)
			return TRUE;
	return FALSE;
}

/* Not isspace(3): no vertical tab. */
static bool is_space(char c)
{
	return c != '\0' && strchr(" \t\n\f\r", c);
}

gchar *g_strchug(gchar *text)
{
	size_t skipped = 0;

	while (is_space(text[skipped]))
		skipped++;
	memmove(text, text + skipped, strlen(text + skipped) + 1);
	return text;
}

gchar *g_strchomp(gchar *text)
{
	size_t len = strlen(text);

	while (len > 0 && is_space(text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* --- characters, of UTF-8 that is right unless said otherwise ----------------------------------
 */

static const gchar skips[256] = {[0 ... 0xbf] = 1,
	[0xc0 ... 0xdf] = 2,
	[0xe0 ... 0xef] = 3,
	[0xf0 ... 0xf7] = 4,
	[0xf8 ... 0xff] = 1};
const gchar *const g_utf8_skip = skips;

gunichar g_utf8_get_char(const gchar *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	const size_t len = (size_t)skips[bytes[0]];
	gunichar character = len == 1 ? bytes[0] : bytes[0] & (0x7fu >> len);

	for (size_t i = 1; i < len; i++)
		character = character << 6 | (bytes[i] & 0x3f);
	return character;
}

/* (gunichar)-1 for what is none, -2 for the beginning of one. */
gunichar g_utf8_get_char_validated(const gchar *text, gssize cap)
{
	static const gunichar least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *bytes = (const unsigned char *)text;

	if (cap == 0)
		return (gunichar)-2;
	const size_t len = (size_t)skips[bytes[0]];
	if (len == 1)
		return bytes[0] < 0x80 ? bytes[0] : (gunichar)-1;
	for (size_t i = 1; i < len; i++) {
		if (cap >= 0 && i >= (size_t)cap)
			return (gunichar)-2;
		if ((bytes[i] & 0xc0) != 0x80)
			return bytes[i] == '\0' && cap < 0 ? (gunichar)-2 : (gunichar)-1;
	}
	const gunichar character = g_utf8_get_char(text);
	return character < least[len] || character > 0x10ffff || (character & ~0x7ffu) == 0xd800
		       ? (gunichar)-1
		       : character;
}

glong g_utf8_strlen(const gchar *text, gssize cap)
{
	glong count = 0;

	for (const char *at = text; (cap < 0 || at < text + cap) && *at; at += skips[(guchar)*at])
		count++;
	return count;
}

/*
 * The tables are 140 KiB. What is shown as it is: Latin, Greek and Cyrillic letters, typographic
 * punctuation and arrows; all else counts as unassigned, which util/log shows as an escape.
 */
GUnicodeType g_unichar_type(gunichar character)
{
	static const struct {
		gunichar first, last;
	} known[] = {{0x20, 0x7e}, {0xa0, 0xac}, {0xae, 0x2ff}, {0x3a3, 0x52f}, {0x2010, 0x2027},
		{0x2030, 0x205e}, {0x2190, 0x21ff}};

	if (character < 0x20 || (character >= 0x7f && character < 0xa0))
		return G_UNICODE_CONTROL;
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (character >= known[i].first && character <= known[i].last)
			return G_UNICODE_OTHER_SYMBOL;
	return G_UNICODE_UNASSIGNED;
}

gboolean g_unichar_iswide(gunichar character)
{
	(void)character;
	return FALSE;
}

gboolean g_unichar_iszerowidth(gunichar character)
{
	(void)character;
	return FALSE;
}

#define LETTER (G_ASCII_ALNUM | G_ASCII_ALPHA | G_ASCII_GRAPH | G_ASCII_PRINT)
#define SIGN   (G_ASCII_GRAPH | G_ASCII_PRINT | G_ASCII_PUNCT)

static const guint16 classes[256] = {[0 ... 0x08] = G_ASCII_CNTRL,
	[0x09 ... 0x0d] = G_ASCII_CNTRL | G_ASCII_SPACE,
	[0x0e ... 0x1f] = G_ASCII_CNTRL,
	[' '] = G_ASCII_PRINT | G_ASCII_SPACE,
	['!' ... '/'] = SIGN,
	['0' ... '9'] =
		G_ASCII_ALNUM | G_ASCII_DIGIT | G_ASCII_GRAPH | G_ASCII_PRINT | G_ASCII_XDIGIT,
	[':' ... '@'] = SIGN,
	['A' ... 'F'] = LETTER | G_ASCII_UPPER | G_ASCII_XDIGIT,
	['G' ... 'Z'] = LETTER | G_ASCII_UPPER,
	['[' ... '`'] = SIGN,
	['a' ... 'f'] = LETTER | G_ASCII_LOWER | G_ASCII_XDIGIT,
	['g' ... 'z'] = LETTER | G_ASCII_LOWER,
	['{' ... '~'] = SIGN,
	[0x7f] = G_ASCII_CNTRL};
const guint16 *const g_ascii_table = classes;

/* --- what gshell and ghmac are made of ----------------------------------------------------------
 */

GString *g_string_new(const gchar *text)
{
	GString *string = g_malloc0(sizeof(*string));

	string->allocated_len = 32;
	string->str = g_malloc0(string->allocated_len);
	return text ? g_string_append(string, text) : string;
}

static GString *append(GString *string, const char *text, size_t len)
{
	if (len >= string->allocated_len - string->len) {
		string->allocated_len = 2 * (string->len + len + 1);
		string->str = g_realloc(string->str, string->allocated_len);
	}
	memcpy(string->str + string->len, text, len);
	string->len += len;
	string->str[string->len] = '\0';
	return string;
}

GString *g_string_append(GString *string, const gchar *text)
{
	return append(string, text, strlen(text));
}

/* At the end is where gshell does. */
GString *g_string_insert_c(GString *string, gssize at, gchar c)
{
	if (at >= 0)
		g_log("noglib", G_LOG_LEVEL_ERROR, "g_string_insert_c: only at the end");
	return append(string, &c, 1);
}

gchar *(g_string_free)(GString *string, gboolean is_all)
{
	char *text = string->str;

	if (is_all)
		free(text);
	free(string);
	return is_all ? NULL : text;
}

GSList *g_slist_prepend(GSList *list, gpointer data)
{
	GSList *item = g_malloc0(sizeof(*item));

	*item = (GSList){.data = data, .next = list};
	return item;
}

GSList *g_slist_reverse(GSList *list)
{
	GSList *reversed = NULL;

	while (list) {
		GSList *next = list->next;

		list->next = reversed;
		reversed = list;
		list = next;
	}
	return reversed;
}

guint g_slist_length(GSList *list)
{
	guint len = 0;

	for (; list; list = list->next)
		len++;
	return len;
}

void g_slist_free_full(GSList *list, GDestroyNotify end)
{
	while (list) {
		GSList *next = list->next;

		end(list->data);
		free(list);
		list = next;
	}
}

/* Of ghmac's and gchecksum's functions for GBytes, of which there are none. */
gconstpointer g_bytes_get_data(GBytes *bytes, gsize *len)
{
	(void)bytes;
	*len = 0;
	return NULL;
}

/* --- what GLib says of itself ------------------------------------------------------------------
 */

/* It is in no header: what _() is in GLib. */
const gchar *glib_gettext(const gchar *text);
const gchar *glib_gettext(const gchar *text)
{
	return text;
}

void g_return_if_fail_warning(const char *domain, const char *function, const char *expression)
{
	fprintf(stderr, "nswrap: %s: %s: expected %s\n", domain, function, expression);
}

void g_log(const gchar *domain, GLogLevelFlags level, const gchar *format, ...)
{
	va_list args;

	fprintf(stderr, "nswrap: %s: ", domain);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL))
		abort();
}

void g_assertion_message_expr(const char *domain, const char *file, int line, const char *function,
	const char *expression)
{
	g_log(domain, G_LOG_LEVEL_ERROR, "%s:%d: %s: %s", file, line, function, expression);
	abort();
}

/* --- errors ------------------------------------------------------------------------------------
 */

GQuark g_quark_from_static_string(const gchar *text)
{
	(void)text;
	return 1; /* there is one domain, that of g_shell_parse_argv */
}

void g_set_error_literal(GError **error, GQuark domain, gint code, const gchar *message)
{
	if (!error)
		return;
	*error = g_malloc0(sizeof(**error));
	**error = (GError){.domain = domain, .code = code, .message = g_strdup(message)};
}

void g_set_error(GError **error, GQuark domain, gint code, const gchar *format, ...)
{
	va_list args;

	va_start(args, format);
	char *message = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error_literal(error, domain, code, message);
	free(message);
}

void g_error_free(GError *error)
{
	free(error->message);
	free(error);
}

void g_clear_error(GError **error)
{
	if (error && *error)
		g_error_free(*error);
	if (error)
		*error = NULL;
}

gboolean g_error_matches(const GError *error, GQuark domain, gint code)
{
	return error && error->domain == domain && error->code == code;
}
