/* SPDX-License-Identifier: MIT */
/* Text without stdio; see text.h. */
#include <string.h>

#include "base/compiler.h"
#include "os/text.h"

void ash_text_init(struct ash_text *t, char *buf, size_t size)
{
	t->buf = buf;
	t->size = size;
	t->len = 0;
	buf[0] = '\0';
}

void ash_text_bytes(struct ash_text *t, const char *s, size_t n)
{
	size_t room = t->size - 1 - t->len;

	if (n > room)
		n = room;
	memcpy(t->buf + t->len, s, n);
	t->len += n;
	t->buf[t->len] = '\0';
}

void ash_text_str(struct ash_text *t, const char *s)
{
	ash_text_bytes(t, s, strlen(s));
}

static void put_digits(struct ash_text *t, uint64_t n, unsigned base)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n != 0);
	ash_text_bytes(t, digits + i, sizeof(digits) - i);
}

void ash_text_num(struct ash_text *t, uint64_t n)
{
	put_digits(t, n, 10);
}

void ash_text_hex(struct ash_text *t, uint64_t n)
{
	put_digits(t, n, 16);
}

void ash_text_size(struct ash_text *t, uint64_t n)
{
	static const char *const units[] = { " bytes", " KiB", " MiB", " GiB" };
	unsigned unit = 0;

	while (unit < 3 && n != 0 && n % 1024 == 0) {
		n /= 1024;
		unit++;
	}
	ash_text_num(t, n);
	ash_text_str(t, units[unit]);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

bool ash_parse_num(const char **s, unsigned base, uint64_t *out)
{
	const char *p = *s;
	uint64_t n = 0;

	for (; (unsigned)digit_value(*p) < base; p++) {
		if (__builtin_mul_overflow(n, (uint64_t)base, &n) ||
		    __builtin_add_overflow(n, (uint64_t)digit_value(*p), &n))
			n = UINT64_MAX / base;
	}
	if (p == *s)
		return false;
	*s = p;
	*out = n;
	return true;
}

ASH_EARLY const char *ash_after_prefix(const char *s, const char *prefix)
{
	while (*prefix != '\0' && *s == *prefix)
		s++, prefix++;
	return *prefix == '\0' ? s : NULL;
}
