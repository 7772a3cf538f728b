/* SPDX-License-Identifier: MIT */
/*
 * The `ashlar` command: what its subcommands share. A subcommand is a function in a file of its own; it gets argv with
 * its own name first and returns the exit status.
 */
#ifndef ASHLAR_TOOLS_ASHLAR_H
#define ASHLAR_TOOLS_ASHLAR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,       /* the comparison failed, the doctor found a problem */
	STATUS_USAGE = 2,        /* bad arguments */
	STATUS_CANNOT_RUN = 126, /* as shells: found, but not to be run */
	STATUS_NOT_FOUND = 127,  /* as shells */
};

int cmd_run(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_pool(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* "ashlar: ...\n" on standard error. */
void complain(const char *format, ...) ASH_PRINTF(1, 2);
/* The same, then a pointer to the help of the subcommand (NULL: of the whole), and exit with STATUS_USAGE. */
ASH_NORETURN void usage_error(const char *subcommand, const char *format, ...) ASH_PRINTF(2, 3);
/* For what getopt_long() has just refused. */
ASH_NORETURN void unknown_option(const char *subcommand, char **argv);
/* malloc that ends the program when there is no memory; asprintf likewise. */
void *need(void *allocated);
char *format_text(const char *format, ...) ASH_PRINTF(1, 2);

/* A small file into buffer, terminated, without its last newline: its length, or -1 (errno set). */
long read_small_file(const char *path, char *buffer, size_t size);

/* --- preload_path.c: LD_PRELOAD --- */

/*
 * The absolute path of libashlar-preload.so: $ASHLAR_PRELOAD, or beside this program in a build tree, or where an
 * installation puts it. NULL: not found or not to be named in LD_PRELOAD, said in *why (malloc'ed).
 */
char *preload_find(char **why);
/* NULL, or why LD_PRELOAD cannot carry this path (malloc'ed). */
char *preload_unspeakable(const char *path);
/* LD_PRELOAD's new value: existing (may be NULL) with path at the end, unless it is there already. */
char *preload_append(const char *existing, const char *path);
/* The name of an allocator known to be in the list, which would take malloc before us; NULL: none. */
const char *preload_other_allocator(const char *list);

/* --- target.c: can this program be preloaded? --- */

struct target {
	char path[PATH_MAX]; /* what to execute */
	bool through_shell;  /* a script without "#!": /bin/sh runs it, as execvp(3) does */
};
/* 0, STATUS_CANNOT_RUN or STATUS_NOT_FOUND; then *why (malloc'ed) is a sentence that names the file. */
int target_find(const char *command, struct target *target, char **why);
/* Replace this process by the program; returns only when that fails (errno set). argv[0] is the command as typed. */
void target_exec(const struct target *target, char **argv);

/* --- system.c: what the machine offers; root is "" or a folder that stands for / --- */

enum thp_mode { THP_UNKNOWN, THP_ALWAYS, THP_MADVISE, THP_NEVER };
enum thp_mode thp_mode(const char *root);

#endif
