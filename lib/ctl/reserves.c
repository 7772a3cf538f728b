/* SPDX-License-Identifier: MIT */
/* Parsing dma_reserve; see reserves.h. */
#include "ctl/reserves.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "ctl/options.h"

enum { NODE_MAX = 1023 };

/* A name is letters, digits, '_', '-' and '.': what ASHLAR_CONF and a shell leave alone. */
static bool is_name(const char *text, size_t n)
{
	if (n == 0 || n >= ASH_RESERVE_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '-' || c == '.'))
			return false;
	}
	return true;
}

static const char *find_char(const char *text, size_t n, char c)
{
	const char *at = memchr(text, c, n);

	return at != NULL ? at : text + n;
}

ASH_EARLY int ash_reserve_next(const char **text, size_t *n, struct ash_reserve_wish *out)
{
	const char *const start = *text, *const end = find_char(start, *n, '/');
	const char *const equals = find_char(start, (size_t)(end - start), '=');
	const char *const at = find_char(start, (size_t)(end - start), '@');
	uint64_t bytes, node = 0;
	int err;

	if (*n == 0)
		return 0;
	if (equals == end || at < equals || !is_name(start, (size_t)(equals - start)))
		return -EINVAL;
	err = ash_options_parse_number(equals + 1, (size_t)(at - equals - 1), true, &bytes);
	if (err == 0 && at < end)
		err = ash_options_parse_number(at + 1, (size_t)(end - at - 1), false, &node);
	if (err == 0 && (bytes == 0 || bytes > SIZE_MAX / 2 || node > NODE_MAX))
		err = -ERANGE;
	if (err < 0)
		return err;
	*out = (struct ash_reserve_wish){ .bytes = bytes, .node = at < end ? (int)node : -1 };
	memcpy(out->name, start, (size_t)(equals - start));
	*n -= (size_t)(end - start);
	*text = end;
	if (*n > 0) {
		(*n)--;
		(*text)++;
		/* A slash announces another. */
		return *n > 0 ? 1 : -EINVAL;
	}
	return 1;
}

/* Whether the name, filled up with zeros, is there more than once. */
static bool is_twice(const char *text, size_t n, const char *name)
{
	struct ash_reserve_wish w;
	unsigned times = 0;

	while (ash_reserve_next(&text, &n, &w) > 0)
		times += memcmp(w.name, name, sizeof(w.name)) == 0;
	return times > 1;
}

ASH_EARLY int ash_reserves_check(const char *text, size_t n)
{
	const char *at = text;
	size_t left = n;
	struct ash_reserve_wish w;
	int ret;

	while ((ret = ash_reserve_next(&at, &left, &w)) > 0) {
		if (is_twice(text, n, w.name))
			return -EINVAL;
	}
	return ret;
}
