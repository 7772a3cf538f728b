/* SPDX-License-Identifier: MIT */
/* The `ashlar` command: dispatch, help, and the few helpers that every subcommand needs. */
#include "ashlar.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/options.h"

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct subcommand {
	const char *name, *synopsis, *purpose;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{ "run", "[options] [--] COMMAND [ARGUMENT...]", "run a program with its heap on ashlar", cmd_run },
	{ "compare", "[options] [--] COMMAND [ARGUMENT...]", "run it under several allocators and compare",
	  cmd_compare },
	{ "stat", "[--json | --map] PID", "what ashlar holds in a running process", cmd_stat },
	{ "pool", "[[--node N] SIZE [+|-]COUNT]", "the machine's pools of huge pages: show, grow, shrink, split",
	  cmd_pool },
	{ "bench", "[options]", "the project's own benchmarks under every allocator that is found", cmd_bench },
	{ "doctor", "[--root DIR]", "what this machine's set-up allows, and what would mend it", cmd_doctor },
	{ "help", "[SUBCOMMAND|options]", "this, or the help of a subcommand, or the run-time options", cmd_help },
	{ "version", "", "print the version", cmd_version },
};

void complain(const char *format, ...)
{
	va_list args;

	fputs("ashlar: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void usage_error(const char *subcommand, const char *format, ...)
{
	va_list args;

	fputs("ashlar: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry `ashlar %s%shelp`.\n", subcommand != NULL ? subcommand : "",
		subcommand != NULL ? " --" : "");
	exit(STATUS_USAGE);
}

void unknown_option(const char *subcommand, char **argv)
{
	/* A letter may be one of several in a word that getopt has not done with. */
	if (optopt > 0 && optopt <= UCHAR_MAX)
		usage_error(subcommand, "unknown option \"-%c\"", optopt);
	usage_error(subcommand, "unknown option \"%s\"", argv[optind - 1]);
}

void *need(void *allocated)
{
	if (allocated == NULL) {
		complain("out of memory");
		exit(STATUS_FAILED);
	}
	return allocated;
}

char *format_text(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	return need(text);
}

long read_small_file(const char *path, char *buffer, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;

	if (fd < 0)
		return -1;
	while (used < size - 1) {
		const ssize_t n = read(fd, buffer + used, size - 1 - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			const int err = errno;

			close(fd);
			errno = err;
			return -1;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	if (used > 0 && buffer[used - 1] == '\n')
		used--;
	buffer[used] = '\0';
	return (long)used;
}

/* Whatever wrote it, and wherever it ended: what did not arrive is no success. */
static void finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return;
	complain("standard output cannot be written");
	_exit(STATUS_FAILED);
}

static void print_help(FILE *to)
{
	fputs("ashlar puts an unmodified program's heap on huge pages, says what it did, and compares it.\n\nUsage:\n",
	      to);
	for (size_t i = 0; i < ASH_ARRAY_LEN(subcommands); i++)
		fprintf(to, "  ashlar %s %s\n      %s\n", subcommands[i].name, subcommands[i].synopsis,
			subcommands[i].purpose);
	fputs("\nTry it:\n  ashlar run --report -- python3 -c 'print(len(list(range(10**6))))'\n"
	      "  ashlar compare -- python3 -c 'print(len(list(range(10**6))))'\n"
	      "\n`ashlar SUBCOMMAND --help` and ashlar(1), ashlar(7) say more.\n",
	      to);
}

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < ASH_ARRAY_LEN(subcommands); i++) {
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	}
	return NULL;
}

static int cmd_help(int argc, char **argv)
{
	char help_option[] = "--help", *help_argv[] = { NULL, help_option, NULL };
	const struct subcommand *s;

	if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return STATUS_OK;
	}
	if (strcmp(argv[1], "options") == 0) {
		struct ash_writer w;

		ash_writer_init_fd(&w, STDOUT_FILENO);
		ash_options_help(&w, NULL);
		return ash_writer_finish(&w) == 0 ? STATUS_OK : STATUS_FAILED;
	}
	s = find(argv[1]);
	if (s == NULL)
		usage_error(NULL, "no subcommand \"%s\"", argv[1]);
	help_argv[0] = argv[1];
	return s->run(2, help_argv);
}

static int cmd_version(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--help") != 0)
		usage_error(NULL, "version takes no argument (\"%s\")", argv[1]);
	puts("ashlar " ASH_VERSION_TEXT);
	return STATUS_OK;
}

int main(int argc, char **argv)
{
	const struct subcommand *s;

	atexit(finish_output);
	if (argc < 2) {
		print_help(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return STATUS_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return cmd_version(1, argv);
	s = find(argv[1]);
	if (s == NULL)
		usage_error(NULL, "no subcommand \"%s\"", argv[1]);
	return s->run(argc - 1, argv + 1);
}
