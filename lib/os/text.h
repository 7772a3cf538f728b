/* SPDX-License-Identifier: MIT */
/*
 * Text without stdio: build a line in the caller's buffer, take numbers out of kernel files.
 *
 * A writer never writes past its buffer and always leaves it terminated; what does not fit is dropped.
 */
#ifndef ASH_OS_TEXT_H
#define ASH_OS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ash_text {
	char *buf;
	size_t size, len; /* size of buf, at least 1; bytes used without the final NUL */
};

void ash_text_init(struct ash_text *t, char *buf, size_t size);
void ash_text_str(struct ash_text *t, const char *s);
void ash_text_bytes(struct ash_text *t, const char *s, size_t n);
void ash_text_num(struct ash_text *t, uint64_t n);
void ash_text_hex(struct ash_text *t, uint64_t n);
/* "512 KiB", "6 MiB": the largest binary unit that divides n. */
void ash_text_size(struct ash_text *t, uint64_t n);

/*
 * Parse an unsigned number of base 10 or 16 at *s and step over it (saturating). false: no digit there.
 */
bool ash_parse_num(const char **s, unsigned base, uint64_t *out);

/* s begins with prefix: the rest of s, else NULL. */
const char *ash_after_prefix(const char *s, const char *prefix);

#endif
