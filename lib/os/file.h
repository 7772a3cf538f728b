/* SPDX-License-Identifier: MIT */
/* Reading the small files of /proc and /sys into the caller's buffer: open, read, close, nothing kept. */
#ifndef ASH_OS_FILE_H
#define ASH_OS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* At most size - 1 bytes of path into buf, terminated. The number of bytes read, or a negative errno. */
ASH_MUST_USE long ash_file_read(const char *path, char *buf, size_t size);

/* The number the file begins with. -EINVAL: none ("max" counts as UINT64_MAX). */
ASH_MUST_USE int ash_file_num(const char *path, uint64_t *out);

/*
 * Calls line(arg, text) for each line of path, without its newline, until it returns non-zero; lines are cut at 511
 * bytes. Returns what line returned, 0 at the end of the file, or a negative errno.
 */
ASH_MUST_USE int ash_file_lines(const char *path, int (*line)(void *arg, const char *text), void *arg);

#endif
