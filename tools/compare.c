/* SPDX-License-Identifier: MIT */
/*
 * ashlar compare: one command under several allocators.
 *
 * Runs are interleaved and the order turns by one each round, so that a machine that gets slower or faster meanwhile,
 * and what a run leaves in caches for the next, fall on all alike. One run without any preload goes before: it brings
 * the command's files into memory and shows that the command works at all.
 */
#include "compare.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ashlar.h"
#include "ctl/options.h"
#include "peers.h"

enum { OPT_WITH = 256, OPT_RUNS, OPT_JSON, OPT_PRELOAD, OPT_CONF, OPT_SHOW, OPT_HELP };

static const struct option long_options[] = {
	{ "with", required_argument, NULL, OPT_WITH }, { "runs", required_argument, NULL, OPT_RUNS },
	{ "json", no_argument, NULL, OPT_JSON },       { "preload", required_argument, NULL, OPT_PRELOAD },
	{ "conf", required_argument, NULL, OPT_CONF }, { "show-output", no_argument, NULL, OPT_SHOW },
	{ "help", no_argument, NULL, OPT_HELP },       { NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: ashlar compare [options] [--] COMMAND [ARGUMENT...]\n"
	"\n"
	"Runs COMMAND under several allocators in turn and prints medians of wall, user and system time, peak memory\n"
	"and page faults, and ashlar's ratio to each. Standard input and output of COMMAND are /dev/null.\n"
	"\n"
	"      --with LIST          which allocators (default glibc,jemalloc,mimalloc,tcmalloc,ashlar); those that "
	"are\n"
	"                           not installed are named and left out\n"
	"      --preload NAME=PATH  one more allocator: this library, under this name\n"
	"      --runs N             runs of each (default 5)\n"
	"      --conf TEXT          ASHLAR_CONF of ashlar's runs, such as huge:2M\n"
	"      --json               every sample and the medians as JSON\n"
	"      --show-output        let COMMAND write to standard output\n"
	"\n"
	"Peak memory is the sum of VmRSS and HugetlbPages over COMMAND and its descendants, sampled every 2 to 10 ms, "
	"or\n"
	"the largest process's ru_maxrss if that is more; pages that processes share count in each. Times and faults\n"
	"are those of COMMAND and of the descendants it waited for. The status is 1 when a run of COMMAND failed.\n";

struct setup {
	struct comparison comparison;
	const char *with;
	unsigned nr_extra;
	struct {
		char *name, *path;
	} extra[CONTENDERS_MAX];
	bool json, show;
};

static void add_extra(struct setup *s, const char *text)
{
	const char *equals = strchr(text, '=');
	char *path, *why;

	if (equals == NULL || equals == text || equals[1] == '\0')
		usage_error("compare", "--preload: \"%s\" is not NAME=PATH", text);
	if (s->nr_extra == CONTENDERS_MAX)
		usage_error("compare", "--preload: more than %d", CONTENDERS_MAX);
	path = realpath(equals + 1, NULL);
	if (path == NULL || access(path, R_OK) != 0)
		usage_error("compare", "--preload: %s: %s", equals + 1, strerror(errno));
	why = preload_unspeakable(path);
	if (why != NULL)
		usage_error("compare", "--preload: %s", why);
	s->extra[s->nr_extra].name = format_text("%.*s", (int)(equals - text), text);
	s->extra[s->nr_extra++].path = path;
}

static unsigned parse_runs(const char *text)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n < 1 || n > RUNS_MAX)
		usage_error("compare", "--runs: \"%s\" is not a number from 1 to %d", text, RUNS_MAX);
	return (unsigned)n;
}

/* ASHLAR_CONF is checked here, where a slip can still be told from a result. */
static const char *check_conf(const char *conf)
{
	char complaint[512];
	struct ash_memory_sink memory = { .buffer = complaint, .size = sizeof(complaint) };
	struct ash_options options;
	struct ash_writer w;
	bool help;

	ash_writer_init_memory(&w, &memory);
	ash_options_default(&options);
	ash_options_parse(&options, conf, &w, &help);
	(void)!ash_writer_finish(&w);
	complaint[strcspn(complaint, "\n")] = '\0';
	if (complaint[0] != '\0')
		usage_error("compare", "--conf: %s", complaint + strlen("ashlar: "));
	return conf;
}

static void parse(struct setup *s, int argc, char **argv)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_WITH:
			s->with = optarg;
			break;
		case OPT_RUNS:
			s->comparison.runs = parse_runs(optarg);
			break;
		case OPT_JSON:
			s->json = true;
			break;
		case OPT_PRELOAD:
			add_extra(s, optarg);
			break;
		case OPT_CONF:
			s->comparison.conf = check_conf(optarg);
			break;
		case OPT_SHOW:
			s->show = true;
			break;
		case OPT_HELP:
			fputs(help_text, stdout);
			exit(STATUS_OK);
		case ':':
			usage_error("compare", "option %s needs a value", argv[optind - 1]);
		default:
			unknown_option("compare", argv);
		}
	}
}

static void add_contender(struct comparison *c, const char *name, char *library)
{
	struct contender *new;

	for (unsigned i = 0; i < c->nr; i++) {
		if (strcmp(c->contenders[i]->name, name) == 0)
			usage_error("compare", "%s is named twice", name);
	}
	if (c->nr == CONTENDERS_MAX)
		usage_error("compare", "more than %d allocators", CONTENDERS_MAX);
	new = need(calloc(1, sizeof(*new)));
	new->name = format_text("%s", name);
	new->library = library;
	if (library != NULL)
		new->preload = preload_append(getenv("LD_PRELOAD"), library);
	else if (getenv("LD_PRELOAD") != NULL)
		new->preload = format_text("%s", getenv("LD_PRELOAD"));
	c->contenders[c->nr++] = new;
}

/* A name of --with: one of --preload's, or a known one. */
static void add_named(struct setup *s, const char *name)
{
	struct comparison *c = &s->comparison;
	char *path, *why;

	for (unsigned i = 0; i < s->nr_extra; i++) {
		if (strcmp(s->extra[i].name, name) == 0) {
			add_contender(c, name, format_text("%s", s->extra[i].path));
			return;
		}
	}
	if (peer_find(name, &path, &why)) {
		add_contender(c, name, path);
		return;
	}
	if (why == NULL)
		usage_error("compare", "--with: unknown allocator \"%s\"; known are %s and those of --preload", name,
			    peer_names);
	if (strcmp(name, "ashlar") == 0) {
		complain("%s", why);
		exit(STATUS_CANNOT_RUN);
	}
	c->left_out[c->nr_left_out++] = why;
}

static void add_all(struct setup *s)
{
	char *list = format_text("%s", s->with != NULL ? s->with : peer_names), *rest = list, *name;

	while ((name = strsep(&rest, ",")) != NULL) {
		if (*name == '\0')
			usage_error("compare", "--with: an empty name in \"%s\"", s->with);
		if (s->comparison.nr_left_out == CONTENDERS_MAX)
			usage_error("compare", "--with: too many names");
		add_named(s, name);
	}
	free(list);
	/* Libraries given by path are wanted, whether or not --with repeats their names. */
	for (unsigned i = 0; i < s->nr_extra && s->with == NULL; i++)
		add_contender(&s->comparison, s->extra[i].name, format_text("%s", s->extra[i].path));
	if (s->comparison.nr == 0) {
		complain("none of the allocators is installed");
		exit(STATUS_FAILED);
	}
}

/* NULL when the run went well, else what happened. */
static char *failure_of(const struct run_cost *cost, const char *library)
{
	if (cost->preload_refused)
		return format_text("the dynamic linker cannot preload %s",
				   library != NULL ? library : "what LD_PRELOAD names");
	if (WIFSIGNALED(cost->status))
		return format_text("killed by signal %d (%s)", WTERMSIG(cost->status),
				   strsignal(WTERMSIG(cost->status)));
	if (WEXITSTATUS(cost->status) != 0)
		return format_text("exit status %d", WEXITSTATUS(cost->status));
	return NULL;
}

static void complain_run(const char *who, const char *what, const char *errors)
{
	complain("the command failed under %s: %s", who, what);
	while (*errors != '\0') {
		const int n = (int)strcspn(errors, "\n");

		fprintf(stderr, "    | %.*s\n", n, errors);
		errors += n + (errors[n] == '\n');
	}
}

static bool measure_one(const struct setup *s, const struct target *target, struct contender *x)
{
	const struct comparison *c = &s->comparison;
	struct run_cost cost;
	char *why = NULL;

	if (!measure_run(target, c->command, x->preload, strcmp(x->name, "ashlar") == 0 ? c->conf : NULL, s->show,
			 &cost, &why)) {
		x->failed = why;
		complain("the command could not be run under %s: %s", x->name, why);
		return false;
	}
	x->failed = failure_of(&cost, x->library);
	if (x->failed != NULL) {
		complain_run(x->name, x->failed, cost.errors);
		return false;
	}
	for (unsigned m = 0; m < METRIC_NR; m++)
		x->samples[m][x->runs] = cost.metric[m];
	x->runs++;
	return true;
}

/* The command without any allocator of ours: false (and said) when it fails by itself. */
static bool warm_up(const struct setup *s, const struct target *target)
{
	struct run_cost cost;
	char *why = NULL;

	if (!measure_run(target, s->comparison.command, getenv("LD_PRELOAD"), NULL, s->show, &cost, &why)) {
		complain("%s: %s", target->path, why);
		return false;
	}
	why = failure_of(&cost, NULL);
	if (why != NULL)
		complain_run("no preload at all", why, cost.errors);
	free(why);
	return why == NULL;
}

static bool measure_all(struct setup *s, const struct target *target)
{
	struct comparison *c = &s->comparison;
	const bool progress = isatty(STDERR_FILENO) && !s->show;
	bool ok = true;

	for (unsigned round = 0; round < c->runs; round++) {
		for (unsigned i = 0; i < c->nr; i++) {
			struct contender *x = c->contenders[(i + round) % c->nr];

			if (x->failed != NULL)
				continue;
			if (progress)
				fprintf(stderr, "\r\033[Kround %u of %u: %s ", round + 1, c->runs, x->name);
			ok &= measure_one(s, target, x);
		}
	}
	if (progress)
		fputs("\r\033[K", stderr);
	return ok;
}

int cmd_compare(int argc, char **argv)
{
	struct setup s = { .comparison.runs = 5 };
	struct target target;
	char *why = NULL;
	const char *other;
	bool ok;
	int status;

	parse(&s, argc, argv);
	if (optind == argc)
		usage_error("compare", "no command to compare");
	s.comparison.command = argv + optind;
	status = target_find(argv[optind], &target, &why);
	if (status != 0) {
		complain("%s", why);
		return status;
	}
	add_all(&s);
	other = preload_other_allocator(getenv("LD_PRELOAD"));
	if (other != NULL)
		complain("LD_PRELOAD already names %s, whose malloc would come before every other: unset it to compare",
			 other);
	for (unsigned i = 0; i < s.comparison.nr_left_out; i++)
		complain("left out: %s", s.comparison.left_out[i]);
	if (other != NULL || !warm_up(&s, &target))
		return STATUS_FAILED;
	ok = measure_all(&s, &target);
	(s.json ? compare_print_json : compare_print_table)(&s.comparison);
	return ok ? STATUS_OK : STATUS_FAILED;
}
