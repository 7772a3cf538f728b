/* SPDX-License-Identifier: MIT */
/* The option parser: every key of the table, bad values, precedence, AT_SECURE, help. */
#include "harness/test.h"

#include <errno.h>

#include "ctl/options.h"
#include "ctl/reserves.h"

static char diag_text[16384];
static size_t diag_used;

static int diag_sink(void *context, const char *bytes, size_t n)
{
	(void)context;
	EXPECT_LT(diag_used + n, sizeof(diag_text));
	memcpy(diag_text + diag_used, bytes, n);
	diag_used += n;
	diag_text[diag_used] = '\0';
	return 0;
}

/* A stand-in for the environment: pairs of name and value. */
static const char *const *fake_env;

static void fake_each(void (*visit)(void *arg, const char *entry), void *arg)
{
	/* Values have to outlive the visit, as the environment's do. */
	static char entries[ASH_OPTION_NR + 1][8192];
	unsigned i = 0;

	for (const char *const *e = fake_env; *e != NULL; e += 2, i++) {
		EXPECT_LT(i, ASH_ARRAY_LEN(entries));
		snprintf(entries[i], sizeof(entries[i]), "%s=%s", e[0], e[1]);
		visit(arg, entries[i]);
	}
}

static struct ash_options load(bool secure, const char *const *env)
{
	struct ash_options o;
	struct ash_writer w;

	diag_used = 0;
	diag_text[0] = '\0';
	fake_env = env;
	ash_writer_init(&w, diag_sink, NULL);
	ash_options_load(&o, fake_each, secure, &w);
	EXPECT_EQ(ash_writer_finish(&w), 0);
	return o;
}

#define LOAD(...) load(false, (const char *const[]){ __VA_ARGS__, NULL })
#define LOAD_CONF(text) LOAD("ASHLAR_CONF", text)

static unsigned diag_lines(void)
{
	unsigned n = 0;

	for (const char *p = diag_text; *p != '\0'; p++)
		n += *p == '\n';
	return n;
}

static const char *value_text(const struct ash_options *o, unsigned index)
{
	static char text[ASH_REPORT_FILE_MAX];
	struct ash_writer w;

	diag_used = 0;
	diag_text[0] = '\0';
	ash_writer_init(&w, diag_sink, NULL);
	ash_options_write_value(&w, o, index);
	EXPECT_EQ(ash_writer_finish(&w), 0);
	snprintf(text, sizeof(text), "%s", diag_text);
	return text;
}

TEST(every_default_is_accepted_by_its_own_row)
{
	struct ash_options o;

	EXPECT_GE(ASH_OPTION_NR, 11);
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const struct ash_option *row = &ash_options_table[i];

		memset(&o, 0xff, sizeof(o));
		EXPECT_EQ(ash_options_set(&o, i, row->def, strlen(row->def)), 0);
		EXPECT_STREQ(value_text(&o, i), row->def);
		EXPECT_EQ(ash_options_find(row->key, strlen(row->key)), i);
		EXPECT(strlen(row->help) > 10 && strlen(row->since) > 0);
	}
}

TEST(defaults_are_what_an_empty_environment_gives)
{
	const struct ash_options o = LOAD(NULL);

	EXPECT_EQ(o.arena.huge, ASH_HUGE_AUTO);
	EXPECT_EQ(o.arena.fork, ASH_FORK_COPY);
	EXPECT_EQ(o.arena.strict, false);
	EXPECT_EQ(o.arena.quiet, false);
	EXPECT_EQ(o.arena.limit, 0);
	EXPECT_EQ(o.arena.reserve, 0);
	EXPECT_EQ(o.report, ASH_REPORT_OFF);
	EXPECT_EQ(o.report_format, ASH_STATS_TEXT);
	EXPECT_STREQ(o.report_file, "");
	EXPECT_STREQ(diag_text, "");
}

TEST(every_key_is_read_from_conf_and_from_its_variable)
{
	struct ash_options o = LOAD_CONF(
		"huge:2M,strict:yes,quiet:on,fork:cow,decay:never,small_start:4M,limit:1G,"
		"reserve:64G,policy:local,report:exit,report_pid:7,report_format:json,"
		"report_file:/a/b c,map:on,poison:yes,init_on_free:yes,init_on_alloc:yes,guard:64K,"
		"dma_reserve:ring=2M/packets=64M@1");

	for (int round = 0; round < 2; round++) {
		EXPECT_STREQ(diag_text, "");
		EXPECT_EQ(o.arena.huge, ASH_HUGE_2M);
		EXPECT_EQ(o.arena.strict, true);
		EXPECT_EQ(o.arena.quiet, true);
		EXPECT_EQ(o.arena.fork, ASH_FORK_COW);
		EXPECT_EQ(o.arena.decay_ms, UINT32_MAX);
		EXPECT_EQ(o.arena.small_start, 4 << 20);
		EXPECT_EQ(o.arena.limit, 1 << 30);
		EXPECT_EQ(o.arena.reserve, 64ll << 30);
		EXPECT_EQ(o.arena.policy.mode, ASH_POLICY_LOCAL);
		EXPECT_EQ(o.report, ASH_REPORT_EXIT);
		EXPECT_EQ(o.report_pid, 7);
		EXPECT_EQ(o.report_format, ASH_STATS_JSON);
		EXPECT_STREQ(o.report_file, "/a/b c");
		EXPECT_EQ(o.map, true);
		EXPECT_EQ(o.arena.poison, true);
		EXPECT_EQ(o.arena.init_on_free, true);
		EXPECT_EQ(o.arena.init_on_alloc, true);
		EXPECT_EQ(o.arena.guard, 64 << 10);
		EXPECT_STREQ(o.dma_reserve, "ring=2M/packets=64M@1");
		for (unsigned i = 0; i < ASH_OPTION_NR; i++)
			EXPECT_EQ(o.source[i], round == 0 ? ASH_SOURCE_CONF : ASH_SOURCE_ENV);
		o = LOAD("ASHLAR_HUGE", "2M", "ASHLAR_STRICT", "1", "ASHLAR_QUIET", "true", "ASHLAR_FORK", "cow",
			 "ASHLAR_DECAY", "never", "ASHLAR_SMALL_START", "4m", "ASHLAR_LIMIT", "1073741824",
			 "ASHLAR_RESERVE", "65536M", "ASHLAR_POLICY", "local", "ASHLAR_REPORT", "exit",
			 "ASHLAR_REPORT_PID", "7", "ASHLAR_REPORT_FORMAT", "json", "ASHLAR_REPORT_FILE", "/a/b c",
			 "ASHLAR_MAP", "yes", "ASHLAR_POISON", "1", "ASHLAR_INIT_ON_FREE", "1", "ASHLAR_INIT_ON_ALLOC",
			 "1", "ASHLAR_GUARD", "65536", "ASHLAR_DMA_RESERVE", "ring=2M/packets=64M@1");
	}
}

TEST(every_enumerator_is_reachable_and_in_the_order_of_the_c_enumeration)
{
	static const struct {
		const char *conf;
		int huge;
	} cases[] = { { "huge:auto", ASH_HUGE_AUTO },
		      { "huge:thp", ASH_HUGE_THP },
		      { "huge:2M", ASH_HUGE_2M },
		      { "huge:1G", ASH_HUGE_1G },
		      { "huge:none", ASH_HUGE_NONE } };
	static const char *const formats[] = { "text", "json", "prometheus", "xml", "buddyinfo", "pagetypeinfo" };

	for (unsigned i = 0; i < ASH_ARRAY_LEN(cases); i++)
		EXPECT_EQ(LOAD_CONF(cases[i].conf).arena.huge, cases[i].huge);
	EXPECT_EQ(ASH_ARRAY_LEN(formats), ASH_STATS_FORMATS);
	for (unsigned i = 0; i < ASH_STATS_FORMATS; i++)
		EXPECT_EQ(LOAD("ASHLAR_REPORT_FORMAT", formats[i]).report_format, i);
	EXPECT_EQ(LOAD_CONF("fork:copy").arena.fork, ASH_FORK_COPY);
	EXPECT_EQ(LOAD_CONF("report:off").report, ASH_REPORT_OFF);
}

TEST(one_of_several_sizes_may_be_spelled_in_any_way)
{
	EXPECT_EQ(LOAD_CONF("guard:0").arena.guard, 0);
	EXPECT_EQ(LOAD_CONF("guard:8K").arena.guard, 8192);
	EXPECT_EQ(LOAD_CONF("guard:8192").arena.guard, 8192);
	EXPECT_EQ(LOAD_CONF("guard:2048K").arena.guard, 2 << 20);
	EXPECT_STREQ(diag_text, "");
}

TEST(a_bad_value_warns_once_names_key_and_accepted_values_and_changes_nothing)
{
	static const char *const bad[] = {
		"huge:3M",
		"huge:",
		"huge:2m",
		"huge:auto|thp",
		"huge:THP",
		"strict:maybe",
		"strict:",
		"decay:-1",
		"decay:4294967295",
		"decay:10s",
		"decay:99999999999999999999999",
		"limit:1X",
		"limit:",
		"limit:G",
		"limit:1GB",
		"limit:17T",
		"limit:99999999T",
		"limit:18446744073709551616",
		"limit:0x10",
		"limit:1.5G",
		"small_start:2G",
		"guard:3",
		"guard:4K",
		"guard:12K",
		"guard:64",
		"guard:4M",
		"guard:0|8K",
		"guard:",
		"report:now",
		"report_format:yaml",
		"fork:both",
	};

	for (unsigned i = 0; i < ASH_ARRAY_LEN(bad); i++) {
		struct ash_options want = LOAD(NULL), got = LOAD_CONF(bad[i]);
		const struct ash_option *row = NULL;
		const size_t key_n = strcspn(bad[i], ":");

		EXPECT(memcmp(&want, &got, sizeof(want)) == 0);
		EXPECT_EQ(diag_lines(), 1);
		row = &ash_options_table[ash_options_find(bad[i], key_n)];
		EXPECT(strstr(diag_text, row->key) != NULL);
		EXPECT(strstr(diag_text, row->accepts) != NULL);
		EXPECT(strncmp(diag_text, "ashlar: ASHLAR_CONF: ", 21) == 0);
	}
}

TEST(a_bad_entry_does_not_stop_the_others)
{
	const struct ash_options o = LOAD_CONF("hueg:2M,,strict:yes,limit:bad, fork : cow ,decay");

	EXPECT_EQ(o.arena.strict, true);
	EXPECT_EQ(o.arena.fork, ASH_FORK_COW);
	EXPECT_EQ(o.arena.limit, 0);
	EXPECT_EQ(diag_lines(), 3);
	EXPECT(strstr(diag_text, "unknown option \"hueg\"; known options are: huge strict") != NULL);
	EXPECT(strstr(diag_text, "option decay has no value") != NULL);
}

TEST(nodes_parted_by_a_comma_are_told_of_slashes)
{
	(void)LOAD_CONF("policy:interleave=0,2-3");
	EXPECT_EQ(diag_lines(), 1);
	EXPECT(strstr(diag_text, "\"2-3\" is no option; nodes of a policy are parted by slashes") != NULL);
}

TEST(variables_win_over_conf_and_later_entries_over_earlier)
{
	struct ash_options o = LOAD("ASHLAR_CONF", "huge:2M,huge:1G,limit:1M", "ASHLAR_LIMIT", "2M");

	EXPECT_EQ(o.arena.huge, ASH_HUGE_1G);
	EXPECT_EQ(o.arena.limit, 2 << 20);
	EXPECT_EQ(o.source[ASH_OPTION_INDEX_limit], ASH_SOURCE_ENV);
	EXPECT_EQ(o.source[ASH_OPTION_INDEX_huge], ASH_SOURCE_CONF);
	o = LOAD("ASHLAR_CONF", "limit:1M", "ASHLAR_LIMIT", "lots");
	EXPECT_EQ(o.arena.limit, 1 << 20);
	EXPECT(strstr(diag_text, "ashlar: ASHLAR_LIMIT: bad value \"lots\" for limit; accepted: 0..16T") != NULL);
}

TEST(the_environment_is_ignored_with_raised_rights)
{
	static const char *const env[] = { "ASHLAR_CONF", "huge:2M,help,bad:1", "ASHLAR_LIMIT", "1M", "ASHLAR_REPORT",
					   "exit",        "ASHLAR_REPORT_FILE", "/etc/x",       NULL };
	const struct ash_options want = LOAD(NULL), got = load(true, env);

	EXPECT(memcmp(&want, &got, sizeof(want)) == 0);
	EXPECT_STREQ(diag_text, "");
	EXPECT_EQ(load(false, env).arena.limit, 1 << 20);
}

TEST(help_prints_every_row_and_goes_on)
{
	const struct ash_options o = LOAD_CONF("help,strict:yes");

	EXPECT_EQ(o.arena.strict, true);
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const struct ash_option *row = &ash_options_table[i];

		EXPECT(strstr(diag_text, row->key) != NULL);
		EXPECT(strstr(diag_text, row->accepts) != NULL);
		EXPECT(strstr(diag_text, row->help) != NULL);
	}
	EXPECT(strstr(diag_text, "now \"yes\" (ASHLAR_CONF)") != NULL);
}

TEST(hostile_text_is_not_repeated_to_the_terminal)
{
	char conf[5000];

	memset(conf, 'x', sizeof(conf) - 1);
	conf[sizeof(conf) - 1] = '\0';
	LOAD_CONF(conf);
	EXPECT_EQ(diag_lines(), 1);
	EXPECT_LT(diag_used, 400);
	LOAD_CONF("\x1b[2Jhuge:1,huge:\x1b[31m\xff");
	EXPECT(strchr(diag_text, '\x1b') == NULL);
	EXPECT_EQ(diag_lines(), 2);
}

TEST(a_report_file_that_is_too_long_is_refused_whole)
{
	char path[ASH_REPORT_FILE_MAX + 1];
	struct ash_options o;

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	o = LOAD("ASHLAR_REPORT_FILE", path);
	EXPECT_STREQ(o.report_file, "");
	EXPECT_EQ(diag_lines(), 1);
	path[sizeof(path) - 2] = '\0';
	o = LOAD("ASHLAR_REPORT_FILE", path);
	EXPECT_STREQ(o.report_file, path);
}

TEST(random_text_never_breaks_the_parser)
{
	static const char alphabet[] = "huge:2M,strict,limit=1GT0..|never \n\x1b\"";
	struct ash_writer w;
	uint64_t state = test_seed;

	for (int round = 0; round < 20000; round++) {
		struct ash_options o;
		char conf[40];
		const size_t n = test_random(&state) % sizeof(conf);
		bool help;

		for (size_t i = 0; i < n; i++)
			conf[i] = alphabet[test_random(&state) % (sizeof(alphabet) - 1)];
		conf[n] = '\0';
		diag_used = 0;
		ash_writer_init(&w, diag_sink, NULL);
		ash_options_default(&o);
		ash_options_parse(&o, conf, &w, &help);
		EXPECT_EQ(ash_writer_finish(&w), 0);
		EXPECT_LE((int)o.arena.huge, ASH_HUGE_NONE);
		EXPECT_LE(o.arena.limit, (size_t)16 << 40);
	}
}

TEST(reserves_are_read_one_by_one)
{
	const char *at = "ring=2M/a.b-c_9=64M@3", *const whole = at;
	size_t n = strlen(at);
	struct ash_reserve_wish w;

	EXPECT_EQ(ash_reserves_check(at, n), 0);
	EXPECT_EQ(ash_reserve_next(&at, &n, &w), 1);
	EXPECT_STREQ(w.name, "ring");
	EXPECT_EQ(w.bytes, 2 << 20);
	EXPECT_EQ(w.node, -1);
	EXPECT_EQ(ash_reserve_next(&at, &n, &w), 1);
	EXPECT_STREQ(w.name, "a.b-c_9");
	EXPECT_EQ(w.bytes, 64 << 20);
	EXPECT_EQ(w.node, 3);
	EXPECT_EQ(ash_reserve_next(&at, &n, &w), 0);
	EXPECT(at == whole + strlen(whole));
	EXPECT_EQ(ash_reserves_check("", 0), 0);
}

TEST(what_is_no_reserve_is_refused_whole)
{
	static const char *const wrong[] = { "ring", "ring=", "=2M", "ring=2M/", "/ring=2M", "ring=2M//a=1M",
					     "ring=2M@", "ring=2M@x", "ring=2M@1K", "ring@1=2M", "r ng=2M", "ring=0",
					     "ring=2M@2000", "ring=2M/ring=4M", "ring=99999999999999999999", "ring=2X",
					     "a_name_of_more_than_thirty_one_characters=2M" };

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char conf[128];

		EXPECT_LT(ash_reserves_check(wrong[i], strlen(wrong[i])), 0);
		snprintf(conf, sizeof(conf), "dma_reserve:%s", wrong[i]);
		EXPECT_STREQ(LOAD_CONF(conf).dma_reserve, "");
		EXPECT(strstr(diag_text, "dma_reserve") != NULL);
	}
}

static const char *complaint_about(const char *name)
{
	LOAD(name, "auto");
	return diag_text;
}

TEST(a_variable_that_is_almost_an_option_is_named)
{
	EXPECT(strstr(complaint_about("ASHLAR_HUEG"), "unknown variable \"ASHLAR_HUEG\"; known options are: huge") !=
	       NULL);
	EXPECT(strstr(complaint_about("ASHLAR_"), "unknown variable") != NULL);
	EXPECT(strstr(complaint_about("ASHLAR_HUG"), "unknown variable") != NULL);
	EXPECT(strstr(complaint_about("ASHLAR_HUGE2"), "unknown variable") != NULL);
	EXPECT(strstr(complaint_about("ASHLAR_huge"), "unknown variable") != NULL);
	EXPECT_STREQ(complaint_about("ASHLAR_HUGE"), "");
	EXPECT_STREQ(complaint_about("ASHLAR_PRELOAD"), "");
	EXPECT_STREQ(complaint_about("ASHLA"), "");
	EXPECT_STREQ(complaint_about("XASHLAR_HUEG"), "");
	EXPECT_STREQ(complaint_about("PATH"), "");
}

TEST(of_two_variables_with_one_name_the_first_counts)
{
	EXPECT_EQ(LOAD("ASHLAR_HUGE", "2M", "ASHLAR_HUGE", "1G").arena.huge, ASH_HUGE_2M);
	EXPECT_EQ(LOAD("ASHLAR_CONF", "huge:2M", "ASHLAR_CONF", "huge:1G").arena.huge, ASH_HUGE_2M);
}
