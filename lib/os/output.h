/* SPDX-License-Identifier: MIT */
/*
 * Writing to descriptors that belong to the program: reports on standard error or in a file the user named.
 *
 * Nothing here raises SIGPIPE: a reader that has gone away is an error code, not the end of the program. errno is not
 * touched.
 */
#ifndef ASH_OS_OUTPUT_H
#define ASH_OS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* All n bytes to fd: 0 or a negative errno. */
ASH_MUST_USE int ash_output_write(int fd, const char *bytes, size_t n);

/* Open path for appending, made when it is not there: a descriptor, or a negative errno. */
ASH_MUST_USE int ash_output_open(const char *path);
void ash_output_close(int fd);

/* A second descriptor of an open file, and what tells whether it still is that file. */
struct ash_kept_fd {
	int fd;     /* -1: none */
	int origin; /* the descriptor it was made from */
	uint64_t dev, ino;
};

/*
 * Keep fd open under a high number of our own (closed by exec), so that it outlives the program's close of it. 0, or a
 * negative errno; then kept->fd is -1.
 */
int ash_output_keep(int fd, struct ash_kept_fd *kept);

/*
 * A descriptor that still is the kept file: ours, or the one it was made from; -1 when the program has closed both or
 * put something else in their places.
 */
int ash_output_kept(const struct ash_kept_fd *kept);

#endif
