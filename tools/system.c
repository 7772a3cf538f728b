/* SPDX-License-Identifier: MIT */
/* What the machine offers, read from /proc and /sys. */
#include "ashlar.h"

#include <stdlib.h>
#include <string.h>

enum thp_mode thp_mode(const char *root)
{
	char *path = format_text("%s/sys/kernel/mm/transparent_hugepage/enabled", root), text[128];
	const long n = read_small_file(path, text, sizeof(text));

	free(path);
	if (n < 0)
		return THP_UNKNOWN;
	if (strstr(text, "[always]") != NULL)
		return THP_ALWAYS;
	if (strstr(text, "[madvise]") != NULL)
		return THP_MADVISE;
	return strstr(text, "[never]") != NULL ? THP_NEVER : THP_UNKNOWN;
}
