/* SPDX-License-Identifier: MIT */
/*
 * ashlar bench: the project's own comparison, as bench/all makes it. Its programs are not installed, so this works for
 * the command of a build folder: the scripts are where bench/source beside the programs says.
 */
#include "ashlar.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_help(void)
{
	puts("Usage: ashlar bench [options]\n\n"
	     "Runs the project's benchmarks and the real programs that are installed under glibc, every peer that is\n"
	     "found and ashlar, in turns; writes tables, CSV, JSON and, where gnuplot is installed, plots of time and\n"
	     "memory, of the latency of single calls and of resident memory over time. The command of a build folder\n"
	     "does that, once everything is built.\n\n"
	     "  --runs N         rounds of each (5)\n"
	     "  --only NAME,...  only benchmarks called so, or whose names begin so\n"
	     "  --with NAME,...  only these allocators\n"
	     "  --peers DIR      further allocators: NAME for each libNAME.so in DIR\n"
	     "  --huge           also the peers with huge pages, each asked in its own way\n"
	     "  --out DIR        where results go (bench-results in the build folder)\n"
	     "  --quick          tiny sizes: does it work, not how fast\n\n"
	     "To compare a program of your own: ashlar compare.");
}

/* The build folder that this program lies in, or NULL and why not. */
static char *build_folder(char **why)
{
	char *self = realpath("/proc/self/exe", NULL), *build, *measure;

	if (self == NULL) {
		*why = format_text("/proc is not mounted, so this program cannot find its own folder");
		return NULL;
	}
	build = format_text("%s", dirname(dirname(self)));
	free(self);
	measure = format_text("%s/bench/bench-measure", build);
	if (access(measure, X_OK) != 0) {
		*why = format_text("the benchmarks are not in %s/bench: they are not installed, "
				   "and are run by the command of a build folder after `ninja -C BUILD`",
				   build);
		free(build);
		build = NULL;
	}
	free(measure);
	return build;
}

int cmd_bench(int argc, char **argv)
{
	char *why = NULL, *build, *where, **command, python[] = "python3", option[] = "--build";
	char source[PATH_MAX];
	int n = 0;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_help();
		return STATUS_OK;
	}
	build = build_folder(&why);
	if (build == NULL) {
		complain("%s", why);
		return STATUS_FAILED;
	}
	where = format_text("%s/bench/source", build);
	if (read_small_file(where, source, sizeof(source)) < 0) {
		complain("%s: %s", where, strerror(errno));
		return STATUS_FAILED;
	}
	command = need(calloc((size_t)argc + 4, sizeof(*command)));
	command[n++] = python;
	command[n++] = format_text("%s/all", source);
	command[n++] = option;
	command[n++] = build;
	memcpy(&command[n], &argv[1], (size_t)(argc - 1) * sizeof(*command));
	execvp(python, command);
	complain("%s: %s", python, strerror(errno));
	return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}
