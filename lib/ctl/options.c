/* SPDX-License-Identifier: MIT */
/* Run-time options: the table of options.def made into a parser, a printer and a help text. */
#include "ctl/options.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "ctl/reserves.h"
#include "os/policy.h"
#include "os/text.h"

/* Longest part of a value that is repeated in a complaint. */
#define QUOTE_MAX 64

#define PREFIX_LEN (sizeof(ASH_OPTIONS_PREFIX) - 1)

const struct ash_option ash_options_table[ASH_OPTION_NR] = {
#define ASH_OPTION(name, k, member, d, a, s, h)                                                                        \
	{ .key = #name,                                                                                                \
	  .def = d,                                                                                                    \
	  .accepts = a,                                                                                                \
	  .since = s,                                                                                                  \
	  .help = h,                                                                                                   \
	  .kind = ASH_OPTION_##k,                                                                                      \
	  .offset = offsetof(struct ash_options, member) },
#include "ctl/options.def"
#undef ASH_OPTION
};

/* Each kind is stored through its own C type; a row whose member has another size does not compile. */
#define KIND_TYPE_ENUM int
#define KIND_TYPE_BOOL bool
#define KIND_TYPE_SIZE size_t
#define KIND_TYPE_SIZES size_t
#define KIND_TYPE_MSEC uint32_t
#define KIND_TYPE_PATH char[ASH_REPORT_FILE_MAX]
#define KIND_TYPE_NUMA struct ash_policy
#define KIND_TYPE_RESERVES char[ASH_RESERVES_MAX]
#define ASH_OPTION(name, k, member, d, a, s, h)                                                                        \
	ASH_BUILD_ASSERT(sizeof(((struct ash_options *)0)->member) == sizeof(KIND_TYPE_##k), "option " #name);
#include "ctl/options.def"
#undef ASH_OPTION

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool text_is(const char *text, const char *value, size_t n)
{
	return strlen(text) == n && memcmp(text, value, n) == 0;
}

int ash_options_find(const char *key, size_t n)
{
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		if (text_is(ash_options_table[i].key, key, n))
			return (int)i;
	}
	return -1;
}

ASH_EARLY int ash_options_parse_number(const char *value, size_t n, bool suffixes, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < n && value[i] >= '0' && value[i] <= '9'; i++) {
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(value[i] - '0'), &v))
			return -ERANGE;
	}
	if (i == 0)
		return -EINVAL;
	if (i < n && suffixes) {
		static const char letters[] = "KMGT";
		const char *letter = memchr(letters, upper(value[i]), sizeof(letters) - 1);

		if (letter == NULL)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)1 << (10 * (letter - letters + 1)), &v))
			return -ERANGE;
		i++;
	}
	if (i != n)
		return -EINVAL;
	*out = v;
	return 0;
}

/* Index of value in "a|b|c", or -1. */
static int enum_index(const char *accepts, const char *value, size_t n)
{
	for (int i = 0;; i++) {
		const char *end = strchrnul(accepts, '|');

		if ((size_t)(end - accepts) == n && memcmp(accepts, value, n) == 0)
			return i;
		if (*end == '\0')
			return -1;
		accepts = end + 1;
	}
}

static int parse_bool(const char *value, size_t n)
{
	const int i = enum_index("no|yes|false|true|off|on|0|1", value, n);

	return i < 0 ? -EINVAL : i & 1;
}

/* A number within the row's "min..max", whose text is the table's own and therefore right. */
static ASH_EARLY int parse_number(const struct ash_option *row, const char *value, size_t n, uint64_t *out)
{
	const char *dots = strstr(row->accepts, "..");
	uint64_t min = 0, max = UINT64_MAX, v;
	int err = ash_options_parse_number(value, n, row->kind == ASH_OPTION_SIZE, &v);

	if (err != 0)
		return err;
	err = ash_options_parse_number(row->accepts, (size_t)(dots - row->accepts), true, &min);
	if (err == 0)
		err = ash_options_parse_number(dots + 2, (size_t)(strchrnul(dots, '|') - dots - 2), true, &max);
	if (err != 0)
		return err;
	if (v < min || v > max)
		return -ERANGE;
	*out = v;
	return 0;
}

/* A size that is one of the row's "a|b|c", however it is spelled. */
static int parse_one_of(const struct ash_option *row, const char *value, size_t n, size_t *out)
{
	uint64_t wanted, v;
	int err = ash_options_parse_number(value, n, true, &wanted);

	for (const char *at = row->accepts, *end; err == 0; at = end + 1) {
		end = strchrnul(at, '|');
		err = ash_options_parse_number(at, (size_t)(end - at), true, &v);
		if (err == 0 && v == wanted) {
			*out = (size_t)v;
			return 0;
		}
		if (*end == '\0')
			return -ERANGE;
	}
	return err;
}

static int store_text(char *member, size_t size, const char *value, size_t n)
{
	if (n >= size)
		return -ERANGE;
	memcpy(member, value, n);
	member[n] = '\0';
	return 0;
}

ASH_EARLY int ash_options_set(struct ash_options *o, unsigned index, const char *value, size_t n)
{
	const struct ash_option *row = &ash_options_table[index];
	void *member = (char *)o + row->offset;
	uint64_t number;
	int i, err;

	switch (row->kind) {
	case ASH_OPTION_ENUM:
		i = enum_index(row->accepts, value, n);
		if (i < 0)
			return -EINVAL;
		memcpy(member, &i, sizeof(i));
		return 0;
	case ASH_OPTION_BOOL:
		i = parse_bool(value, n);
		if (i < 0)
			return i;
		*(bool *)member = i != 0;
		return 0;
	case ASH_OPTION_MSEC:
		if (text_is("never", value, n)) {
			*(uint32_t *)member = UINT32_MAX;
			return 0;
		}
		err = parse_number(row, value, n, &number);
		if (err == 0)
			*(uint32_t *)member = (uint32_t)number;
		return err;
	case ASH_OPTION_SIZE:
		err = parse_number(row, value, n, &number);
		if (err == 0)
			*(size_t *)member = (size_t)number;
		return err;
	case ASH_OPTION_SIZES:
		return parse_one_of(row, value, n, member);
	case ASH_OPTION_RESERVES:
		err = ash_reserves_check(value, n);
		return err < 0 ? err : store_text(member, ASH_RESERVES_MAX, value, n);
	case ASH_OPTION_PATH:
		return store_text(member, ASH_REPORT_FILE_MAX, value, n);
	case ASH_OPTION_NUMA:
		return ash_policy_read(member, value, n);
	}
	return -EINVAL;
}

static void write_size(struct ash_writer *w, uint64_t v)
{
	static const char letters[] = "KMGT";
	unsigned unit = 0;

	while (unit < sizeof(letters) - 1 && v != 0 && v % 1024 == 0) {
		v /= 1024;
		unit++;
	}
	ash_write(w, "%llu", (unsigned long long)v);
	if (unit > 0)
		ash_write(w, "%c", letters[unit - 1]);
}

void ash_options_write_value(struct ash_writer *w, const struct ash_options *o, unsigned index)
{
	const struct ash_option *row = &ash_options_table[index];
	const void *member = (const char *)o + row->offset;
	const char *name = row->accepts;
	char policy[ASH_POLICY_TEXT_MAX];
	int i;

	switch (row->kind) {
	case ASH_OPTION_ENUM:
		memcpy(&i, member, sizeof(i));
		while (i-- > 0)
			name = strchrnul(name, '|') + 1;
		ash_write_bytes(w, name, (size_t)(strchrnul(name, '|') - name));
		break;
	case ASH_OPTION_BOOL:
		ash_write(w, "%s", *(const bool *)member ? "yes" : "no");
		break;
	case ASH_OPTION_MSEC:
		if (*(const uint32_t *)member == UINT32_MAX)
			ash_write(w, "never");
		else
			ash_write(w, "%u", *(const uint32_t *)member);
		break;
	case ASH_OPTION_SIZE:
	case ASH_OPTION_SIZES:
		write_size(w, *(const size_t *)member);
		break;
	case ASH_OPTION_PATH:
	case ASH_OPTION_RESERVES:
		ash_write_clean(w, member, strlen(member), ASH_REPORT_FILE_MAX);
		break;
	case ASH_OPTION_NUMA:
		/* As it can be given in ASHLAR_CONF. */
		ash_policy_write(member, '/', policy, sizeof(policy));
		ash_write(w, "%s", policy);
		break;
	}
}

ASH_EARLY void ash_options_default(struct ash_options *o)
{
	memset(o, 0, sizeof(*o));
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		/* A default that its own row refuses leaves zero; the tests see to it that there is none. */
		if (ash_options_set(o, i, ash_options_table[i].def, strlen(ash_options_table[i].def)) == 0)
			o->source[i] = ASH_SOURCE_DEFAULT;
	}
}

static void write_upper(struct ash_writer *w, const char *text)
{
	for (; *text != '\0'; text++)
		ash_write(w, "%c", upper(*text));
}

static void complain_unknown(struct ash_writer *diag, const char *what, const char *name, size_t n)
{
	ash_write(diag, "ashlar: %s \"", what);
	ash_write_clean(diag, name, n, QUOTE_MAX);
	ash_write(diag, "\"; known options are:");
	for (unsigned i = 0; i < ASH_OPTION_NR; i++)
		ash_write(diag, " %s", ash_options_table[i].key);
	ash_write(diag, " (and help)\n");
}

static void complain_value(struct ash_writer *diag, enum ash_option_source source, unsigned index, const char *value,
			   size_t n)
{
	const struct ash_option *row = &ash_options_table[index];

	ash_write(diag, "ashlar: " ASH_OPTIONS_PREFIX);
	if (source == ASH_SOURCE_CONF)
		ash_write(diag, "CONF");
	else
		write_upper(diag, row->key);
	ash_write(diag, ": bad value \"");
	ash_write_clean(diag, value, n, QUOTE_MAX);
	ash_write(diag, "\" for %s; accepted: %s\n", row->key, row->accepts);
}

static void set_or_complain(struct ash_options *o, unsigned index, const char *value, size_t n,
			    enum ash_option_source source, struct ash_writer *diag)
{
	if (ash_options_set(o, index, value, n) == 0)
		o->source[index] = (uint8_t)source;
	else
		complain_value(diag, source, index, value, n);
}

static void trim(const char **text, size_t *n)
{
	while (*n > 0 && (**text == ' ' || **text == '\t' || **text == '\n')) {
		(*text)++;
		(*n)--;
	}
	while (*n > 0 && ((*text)[*n - 1] == ' ' || (*text)[*n - 1] == '\t' || (*text)[*n - 1] == '\n'))
		(*n)--;
}

static void parse_entry(struct ash_options *o, const char *entry, size_t n, struct ash_writer *diag, bool *help)
{
	const char *colon, *value;
	size_t key_n, value_n;
	int index;

	trim(&entry, &n);
	if (n == 0)
		return;
	if (text_is("help", entry, n)) {
		*help = true;
		return;
	}
	colon = memchr(entry, ':', n);
	key_n = colon != NULL ? (size_t)(colon - entry) : n;
	value = colon != NULL ? colon + 1 : entry + n;
	value_n = colon != NULL ? n - key_n - 1 : 0;
	while (key_n > 0 && entry[key_n - 1] == ' ')
		key_n--;
	trim(&value, &value_n);
	index = ash_options_find(entry, key_n);
	if (index < 0 && colon == NULL && entry[0] >= '0' && entry[0] <= '9') {
		/* As numactl has it; what was read so far is a policy of fewer nodes. */
		ash_write(diag, "ashlar: ASHLAR_CONF: \"");
		ash_write_clean(diag, entry, n, QUOTE_MAX);
		ash_write(diag, "\" is no option; nodes of a policy are parted by slashes here: 0/2-3\n");
	} else if (index < 0)
		complain_unknown(diag, "ASHLAR_CONF: unknown option", entry, key_n);
	else if (colon == NULL)
		ash_write(diag, "ashlar: ASHLAR_CONF: option %s has no value; accepted: %s:%s\n",
			  ash_options_table[index].key, ash_options_table[index].key, ash_options_table[index].accepts);
	else
		set_or_complain(o, (unsigned)index, value, value_n, ASH_SOURCE_CONF, diag);
}

void ash_options_parse(struct ash_options *o, const char *conf, struct ash_writer *diag, bool *help)
{
	*help = false;
	for (;;) {
		const char *end = strchrnul(conf, ',');

		parse_entry(o, conf, (size_t)(end - conf), diag, help);
		if (*end == '\0')
			return;
		conf = end + 1;
	}
}

/* What one pass over the environment finds. */
struct variables {
	const char *conf;
	const char *value[ASH_OPTION_NR];
	struct ash_writer *diag;
};

/* Index of the key that is, in capitals, the n bytes at name; -1: none. */
static int find_variable(const char *name, size_t n)
{
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const char *key = ash_options_table[i].key;
		size_t same = 0;

		while (same < n && upper(key[same]) == name[same] && key[same] != '\0')
			same++;
		if (same == n && key[n] == '\0')
			return (int)i;
	}
	return -1;
}

/* Of two variables with one name the first counts, as for getenv(3). */
static void keep_first(const char **slot, const char *value)
{
	if (*slot == NULL)
		*slot = value;
}

static ASH_EARLY void visit_variable(void *arg, const char *entry)
{
	struct variables *v = arg;
	const char *name = ash_after_prefix(entry, ASH_OPTIONS_PREFIX), *equals;
	size_t n;
	int index;

	if (name == NULL)
		return;
	equals = strchrnul(name, '=');
	if (*equals == '\0')
		return;
	n = (size_t)(equals - name);
	index = find_variable(name, n);
	if (index >= 0)
		keep_first(&v->value[index], equals + 1);
	else if (text_is("CONF", name, n))
		keep_first(&v->conf, equals + 1);
	else if (!text_is("PRELOAD", name, n)) /* the command's */
		complain_unknown(v->diag, "unknown variable", entry, PREFIX_LEN + n);
}

ASH_EARLY void ash_options_load(struct ash_options *o, ash_options_each_t each, bool secure, struct ash_writer *diag)
{
	struct variables v = { .diag = diag };
	bool help = false;

	ash_options_default(o);
	if (secure)
		return;
	each(visit_variable, &v);
	if (v.conf != NULL)
		ash_options_parse(o, v.conf, diag, &help);
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		if (v.value[i] != NULL)
			set_or_complain(o, i, v.value[i], strlen(v.value[i]), ASH_SOURCE_ENV, diag);
	}
	if (help)
		ash_options_help(diag, o);
}

void ash_options_help(struct ash_writer *w, const struct ash_options *o)
{
	static const char *const sources[] = { "default", "ASHLAR_CONF", "environment" };

	ash_write(w, "ashlar options: ASHLAR_CONF=\"key:value,...\", or ASHLAR_<KEY>=value, which wins.\n\n");
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const struct ash_option *row = &ash_options_table[i];

		ash_write(w, "  %-14s %s\n", row->key, row->accepts);
		ash_write(w, "  %-14s %s\n", "", row->help);
		ash_write(w, "  %-14s default \"%s\", since %s", "", row->def, row->since);
		if (o != NULL) {
			ash_write(w, "; now \"");
			ash_options_write_value(w, o, i);
			ash_write(w, "\" (%s)", sources[o->source[i]]);
		}
		ash_write(w, "\n");
	}
}
