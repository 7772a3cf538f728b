/* SPDX-License-Identifier: MIT */
/* What a program without a libc has: text on standard output, an exit, and the names a compiler calls by itself. */
#ifndef ASH_TESTS_BARE_START_H
#define ASH_TESTS_BARE_START_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Supplied by the program. argv is the kernel's. */
int bare_main(int argc, const char *const *argv);

ASH_NORETURN void bare_exit(int status);
void bare_write(const char *text);
void bare_write_number(uint64_t value);
ASH_NORETURN void bare_entry(const long *stack);

void *memset(void *to, int byte, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
