/* SPDX-License-Identifier: MIT */
/*
 * ashlar run: put a program's heap on ashlar, or say why that cannot be.
 *
 * Nothing stays around the program: the environment and the memory policy are set and the program is executed in this
 * very process, so its status, signals and process id are its own. What is given here wins over what the environment
 * already said: it is appended to ASHLAR_CONF, where a later entry wins, and an ASHLAR_<KEY> of the same key is
 * removed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ashlar.h"
#include "ctl/options.h"
#include "nodes.h"
#include "os/env.h"

extern char **environ;

enum {
	OPT_STRICT = 256,
	OPT_QUIET,
	OPT_LIMIT,
	OPT_DECAY,
	OPT_REPORT,
	OPT_FORMAT,
	OPT_MEMBIND,
	OPT_INTERLEAVE,
	OPT_PREFERRED,
	OPT_PREFERRED_MANY,
	OPT_WEIGHTED,
	OPT_LOCAL,
	OPT_WHOLE,
	OPT_DRY_RUN,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "huge-pages", required_argument, NULL, 'H' },
	{ "option", required_argument, NULL, 'o' },
	{ "strict", no_argument, NULL, OPT_STRICT },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "limit", required_argument, NULL, OPT_LIMIT },
	{ "decay", required_argument, NULL, OPT_DECAY },
	{ "report", optional_argument, NULL, OPT_REPORT },
	{ "report-format", required_argument, NULL, OPT_FORMAT },
	{ "membind", required_argument, NULL, OPT_MEMBIND },
	{ "interleave", required_argument, NULL, OPT_INTERLEAVE },
	{ "preferred", required_argument, NULL, OPT_PREFERRED },
	{ "preferred-many", required_argument, NULL, OPT_PREFERRED_MANY },
	{ "weighted-interleave", required_argument, NULL, OPT_WEIGHTED },
	{ "localalloc", no_argument, NULL, OPT_LOCAL },
	{ "local", no_argument, NULL, OPT_LOCAL },
	{ "whole", no_argument, NULL, OPT_WHOLE },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: ashlar run [options] [--] COMMAND [ARGUMENT...]\n"
	"\n"
	"Runs COMMAND with its heap on ashlar's arenas. The status is COMMAND's own; 2 for bad options, 126 and 127\n"
	"when COMMAND cannot be run or found, as in a shell.\n"
	"\n"
	"  -H, --huge-pages KIND   auto, thp, 2M, 1G or none (default auto)\n"
	"      --strict            fail allocations rather than use a lesser kind of page\n"
	"      --quiet             say nothing when a lesser kind is used\n"
	"      --limit SIZE        most memory the heap may hold (K, M, G, T)\n"
	"      --decay MS          how long free memory is kept; \"never\" gives none back\n"
	"      --report[=FILE]     when COMMAND ends, report what really backed its heap "
	"(on standard error, or appended\n"
	"                          to FILE; with %p in FILE, the process id, its children report too)\n"
	"      --report-format F   text, json, prometheus, xml, buddyinfo or pagetypeinfo\n"
	"  -o, --option KEY:VALUE  any run-time option (`ashlar help options` lists them)\n"
	"      --membind NODES     memory only from these nodes, as numactl(8): \"0,2-3\", \"all\", \"!1\", \"+0\"\n"
	"      --interleave NODES, --weighted-interleave NODES\n"
	"                          pages from these nodes in turn, or by the weights of the system\n"
	"      --preferred NODE, --preferred-many NODES\n"
	"                          from these while they have any\n"
	"      --localalloc        from the node of the CPU that asks\n"
	"      --whole             ask programs that pool small objects themselves to use malloc for them instead:\n"
	"                          sets PYTHONMALLOC, USE_ZEND_ALLOC, G_SLICE, GLIBCXX_FORCE_NEW where they are unset\n"
	"      --dry-run           print the environment and the command instead of running it\n";

struct run {
	char *conf; /* "key:value,..." of the command line */
	bool given[ASH_OPTION_NR];
	struct ash_options options; /* of the command line only */
	struct node_policy policy;
	bool whole;
	bool dry_run;
	bool report_own; /* the report of the command's own process only */
};

static void set_option(struct run *run, const char *key, size_t key_n, const char *value, const char *flag)
{
	const int index = ash_options_find(key, key_n);
	char *conf;

	if (index < 0)
		usage_error("run", "%s: unknown option \"%.*s\"", flag, (int)key_n, key);
	if (ash_options_set(&run->options, (unsigned)index, value, strlen(value)) != 0)
		usage_error("run", "%s: bad value \"%s\" for %s; accepted: %s", flag, value,
			    ash_options_table[index].key, ash_options_table[index].accepts);
	run->given[index] = true;
	/* A path may hold a comma, which ASHLAR_CONF cannot; it goes into its own variable. */
	if (ash_options_table[index].kind == ASH_OPTION_PATH)
		return;
	conf = format_text("%s%s%.*s:%s", run->conf != NULL ? run->conf : "", run->conf != NULL ? "," : "", (int)key_n,
			   key, value);
	free(run->conf);
	run->conf = conf;
}

static void set_named(struct run *run, const char *key, const char *value, const char *flag)
{
	set_option(run, key, strlen(key), value, flag);
}

static void set_report(struct run *run, const char *file)
{
	char folder[PATH_MAX], *path;

	set_named(run, "report", "exit", "--report");
	/* A file for each process asks for the children's as well. */
	run->report_own = file == NULL || strstr(file, "%p") == NULL;
	if (file == NULL)
		return;
	if (*file == '\0')
		usage_error("run", "--report=: the file's name is empty");
	if (*file != '/' && getcwd(folder, sizeof(folder)) == NULL)
		usage_error("run", "--report: the working directory has no name: %s", strerror(errno));
	path = *file == '/' ? format_text("%s", file) : format_text("%s/%s", folder, file);
	set_named(run, "report_file", path, "--report");
	free(path);
}

static void set_policy(struct run *run, enum node_mode mode, const char *nodes, const char *flag)
{
	char *why = NULL;

	if (run->policy.mode != NODES_UNCHANGED)
		usage_error("run", "%s: another placement of memory was already given", flag);
	if (!node_policy_parse(&run->policy, mode, nodes, &why))
		usage_error("run", "%s: %s", flag, why);
}

/* The options from OPT_MEMBIND to OPT_LOCAL. */
static void set_placement(struct run *run, int option)
{
	static const struct {
		enum node_mode mode;
		const char *flag;
	} modes[] = {
		{ NODES_BIND, "--membind" },
		{ NODES_INTERLEAVE, "--interleave" },
		{ NODES_PREFERRED, "--preferred" },
		{ NODES_PREFERRED_MANY, "--preferred-many" },
		{ NODES_WEIGHTED_INTERLEAVE, "--weighted-interleave" },
		{ NODES_LOCAL, "--localalloc" },
	};
	const unsigned i = (unsigned)(option - OPT_MEMBIND);

	set_policy(run, modes[i].mode, modes[i].mode == NODES_LOCAL ? "" : optarg, modes[i].flag);
}

static void set_key_value(struct run *run, const char *text)
{
	const size_t key_n = strcspn(text, ":=");

	if (text[key_n] == '\0')
		usage_error("run", "--option: \"%s\" is not KEY:VALUE", text);
	set_option(run, text, key_n, text + key_n + 1, "--option");
}

static void parse(struct run *run, int argc, char **argv)
{
	int c;

	/* '+': options end at the command, whose own are none of ours; ':': the messages are ours. */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:H:o:", long_options, NULL)) != -1) {
		switch (c) {
		case 'H':
			set_named(run, "huge", optarg, "--huge-pages");
			break;
		case 'o':
			set_key_value(run, optarg);
			break;
		case OPT_STRICT:
			set_named(run, "strict", "yes", "--strict");
			break;
		case OPT_QUIET:
			set_named(run, "quiet", "yes", "--quiet");
			break;
		case OPT_LIMIT:
			set_named(run, "limit", optarg, "--limit");
			break;
		case OPT_DECAY:
			set_named(run, "decay", optarg, "--decay");
			break;
		case OPT_REPORT:
			set_report(run, optarg);
			break;
		case OPT_FORMAT:
			set_named(run, "report_format", optarg, "--report-format");
			break;
		case OPT_MEMBIND ... OPT_LOCAL:
			set_placement(run, c);
			break;
		case OPT_WHOLE:
			run->whole = true;
			break;
		case OPT_DRY_RUN:
			run->dry_run = true;
			break;
		case OPT_HELP:
			fputs(help_text, stdout);
			exit(STATUS_OK);
		case ':':
			usage_error("run", "option %s needs a value", argv[optind - 1]);
		default:
			unknown_option("run", argv);
		}
	}
}

/* "ASHLAR_<KEY>". */
static char *variable_of(unsigned index)
{
	char *name = format_text("ASHLAR_%s", ash_options_table[index].key);

	for (char *p = name; *p != '\0'; p++)
		*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
	return name;
}

/* Text as a word of a POSIX shell, so that what --dry-run prints can be pasted. */
static void print_quoted(const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./%@";

	if (*text != '\0' && text[strspn(text, plain)] == '\0') {
		fputs(text, stdout);
		return;
	}
	putchar('\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
	putchar('\'');
}

static void put_variable(bool dry_run, const char *name, const char *value)
{
	if (!dry_run) {
		if (setenv(name, value, 1) != 0)
			need(NULL);
		return;
	}
	printf("%s=", name);
	print_quoted(value);
	putchar('\n');
}

/*
 * Runtimes with an allocator of their own on top, which is left out when these say so: CPython (whose small objects are
 * in mappings of 1 MiB, too small for huge pages), PHP, GLib before 2.76, the pools of libstdc++.
 */
static void put_whole(bool dry_run)
{
	static const char *const variables[][2] = {
		{ "PYTHONMALLOC", "malloc" },
		{ "USE_ZEND_ALLOC", "0" },
		{ "G_SLICE", "always-malloc" },
		{ "GLIBCXX_FORCE_NEW", "1" },
	};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (getenv(variables[i][0]) == NULL)
			put_variable(dry_run, variables[i][0], variables[i][1]);
}

static void put_environment(const struct run *run, const char *preload)
{
	const char *existing = getenv("LD_PRELOAD"), *conf = getenv("ASHLAR_CONF");
	char *list = preload_append(existing, preload);

	put_variable(run->dry_run, "LD_PRELOAD", list);
	free(list);
	if (run->whole)
		put_whole(run->dry_run);
	if (run->report_own && !run->dry_run) {
		/* The command will be this process. */
		char *own = format_text("%d", (int)getpid());

		put_variable(false, "ASHLAR_REPORT_PID", own);
		free(own);
	}
	if (run->conf != NULL) {
		char *merged = conf != NULL && *conf != '\0' ? format_text("%s,%s", conf, run->conf)
							     : format_text("%s", run->conf);

		put_variable(run->dry_run, "ASHLAR_CONF", merged);
		free(merged);
	} else if (run->dry_run && conf != NULL) {
		put_variable(true, "ASHLAR_CONF", conf);
	}
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		char *name = variable_of(i);

		if (run->given[i] && ash_options_table[i].kind == ASH_OPTION_PATH)
			put_variable(run->dry_run, name, (const char *)&run->options + ash_options_table[i].offset);
		else if (run->given[i] && getenv(name) != NULL && run->dry_run)
			printf("unset %s\n", name);
		else if (run->given[i])
			unsetenv(name);
		else if (run->dry_run && getenv(name) != NULL)
			put_variable(true, name, getenv(name));
		free(name);
	}
}

/* The options that will be in effect, for what is worth a line before the program starts. */
static void effective_options(const struct run *run, struct ash_options *effective)
{
	struct ash_memory_sink nowhere = { .buffer = (char[1]){ 0 }, .size = 1 };
	struct ash_writer diag;
	bool help;

	ash_writer_init_memory(&diag, &nowhere);
	/* The program itself says what is wrong with the environment; once is enough. */
	ash_options_load(effective, ash_env_each, false, &diag);
	if (run->conf != NULL)
		ash_options_parse(effective, run->conf, &diag, &help);
}

static void warn(const struct run *run)
{
	const char *other = preload_other_allocator(getenv("LD_PRELOAD"));
	struct ash_options effective;

	effective_options(run, &effective);
	if (effective.arena.quiet)
		return;
	if (other != NULL)
		complain("LD_PRELOAD already names %s, whose malloc comes before ashlar's: the heap will be its own",
			 other);
	if (effective.arena.huge == ASH_HUGE_NONE)
		return;
	if (thp_mode("") == THP_NEVER)
		complain("transparent huge pages are switched off on this machine "
			 "(/sys/kernel/mm/transparent_hugepage/enabled is \"never\"): %s; `ashlar doctor` says more",
			 effective.arena.huge == ASH_HUGE_AUTO || effective.arena.huge == ASH_HUGE_THP
				 ? "the heap will be base pages"
				 : "beyond the hugetlb pool the heap will be base pages");
	else if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1)
		complain("transparent huge pages are switched off for this process tree (PR_SET_THP_DISABLE)");
}

static void print_command(char *const *argv)
{
	for (; *argv != NULL; argv++) {
		print_quoted(*argv);
		putchar(argv[1] != NULL ? ' ' : '\n');
	}
}

int cmd_run(int argc, char **argv)
{
	struct run run = { 0 };
	struct target target;
	char *why = NULL, *preload;
	int status;

	ash_options_default(&run.options);
	parse(&run, argc, argv);
	if (optind == argc)
		usage_error("run", "no command to run");
	status = target_find(argv[optind], &target, &why);
	if (status != 0) {
		complain("%s", why);
		return status;
	}
	preload = preload_find(&why);
	if (preload == NULL) {
		complain("%s", why);
		return STATUS_CANNOT_RUN;
	}
	warn(&run);
	put_environment(&run, preload);
	if (run.dry_run) {
		node_policy_print(&run.policy);
		print_command(argv + optind);
		return STATUS_OK;
	}
	if (!node_policy_apply(&run.policy, &why)) {
		complain("%s", why);
		return STATUS_CANNOT_RUN;
	}
	target_exec(&target, argv + optind);
	complain("%s: %s", target.path, strerror(errno));
	return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}
