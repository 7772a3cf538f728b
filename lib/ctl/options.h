/* SPDX-License-Identifier: MIT */
/*
 * Run-time options: ASHLAR_CONF="key:value,..." and ASHLAR_<KEY>=value, from the table in options.def.
 *
 * A default gives way to ASHLAR_CONF (where a later entry wins), and that to ASHLAR_<KEY>. What cannot be understood is
 * reported in one line that names it and what is accepted, and changes nothing: the earlier value stands. The
 * environment is ignored in a process that runs with more rights than who started it (AT_SECURE).
 *
 * Everything here works inside the first malloc, before libc's constructors: no malloc, stdio, getenv or locale.
 * Thread safety: none needed; a struct ash_options belongs to its caller.
 */
#ifndef ASH_CTL_OPTIONS_H
#define ASH_CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "arena/arena.h"
#include "ctl/writer.h"

/* What the names of all variables that are ours begin with. */
#define ASH_OPTIONS_PREFIX "ASHLAR_"

enum ash_report_when { ASH_REPORT_OFF, ASH_REPORT_EXIT };

enum ash_stats_format {
	ASH_STATS_TEXT,
	ASH_STATS_JSON,
	ASH_STATS_PROMETHEUS,
	ASH_STATS_XML, /* glibc's malloc_info */
	ASH_STATS_BUDDYINFO,
	ASH_STATS_PAGETYPEINFO,
	ASH_STATS_FORMATS,
};

enum ash_option_kind {
	ASH_OPTION_ENUM,
	ASH_OPTION_BOOL,
	ASH_OPTION_SIZE,
	ASH_OPTION_SIZES,
	ASH_OPTION_MSEC,
	ASH_OPTION_PATH,
	ASH_OPTION_NUMA,
	ASH_OPTION_RESERVES
};

enum ash_option_source { ASH_SOURCE_DEFAULT, ASH_SOURCE_CONF, ASH_SOURCE_ENV };

enum ash_option_index {
#define ASH_OPTION(key, kind, member, def, accepts, since, help) ASH_OPTION_INDEX_##key,
#include "ctl/options.def"
#undef ASH_OPTION
	ASH_OPTION_NR,
};

#define ASH_REPORT_FILE_MAX 512
#define ASH_RESERVES_MAX 256

struct ash_options {
	struct ash_arena_config arena;
	enum ash_report_when report;
	enum ash_stats_format report_format;
	bool map;
	size_t report_pid; /* 0 = every process */
	char report_file[ASH_REPORT_FILE_MAX]; /* "" = standard error */
	char dma_reserve[ASH_RESERVES_MAX];    /* as ctl/reserves.h reads it; "" = none */
	uint8_t source[ASH_OPTION_NR];         /* enum ash_option_source */
};

/* A row of the table. */
struct ash_option {
	const char *key, *def, *accepts, *since, *help;
	enum ash_option_kind kind;
	size_t offset; /* in struct ash_options */
};
extern const struct ash_option ash_options_table[ASH_OPTION_NR];

/* Index of the key that is exactly the n bytes at key, or -1. */
int ash_options_find(const char *key, size_t n);

/* A whole number, with a suffix K, M, G or T (powers of 1024) where suffixes are wanted: 0, -EINVAL, -ERANGE. */
ASH_MUST_USE int ash_options_parse_number(const char *value, size_t n, bool suffixes, uint64_t *out);

/* Set one option from text: 0, -EINVAL (not understood), -ERANGE (out of range). On error nothing changes. */
ASH_MUST_USE int ash_options_set(struct ash_options *o, unsigned index, const char *value, size_t n);

/* Write the value of one option in the form that ash_options_set() reads. */
void ash_options_write_value(struct ash_writer *w, const struct ash_options *o, unsigned index);

void ash_options_default(struct ash_options *o);

/* Parse the text of ASHLAR_CONF over *o; complaints go to diag, a line each. *help: the key "help" was there. */
void ash_options_parse(struct ash_options *o, const char *conf, struct ash_writer *diag, bool *help);

/* How the variables are come by: calls visit(arg, "NAME=value") for each (ash_env_each, or a test's own). */
typedef void (*ash_options_each_t)(void (*visit)(void *arg, const char *entry), void *arg);

/*
 * Everything: defaults, then (unless secure) ASHLAR_CONF, then ASHLAR_<KEY>. Prints the table on request. A variable
 * whose name begins with ASHLAR_ and is no option is a slip of the pen, most likely, and named as such.
 */
void ash_options_load(struct ash_options *o, ash_options_each_t each, bool secure, struct ash_writer *diag);

/* The table for people; with o its effective values and where they come from. */
void ash_options_help(struct ash_writer *w, const struct ash_options *o);

#endif
