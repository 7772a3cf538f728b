/* SPDX-License-Identifier: MIT */
/* The smallest program: memory from huge-page arenas, and where it lies. */
#include <ashlar/ashlar.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct ash_page_info page;
	char *text = ash_malloc(64);

	if (text == NULL)
		return 1;
	strcpy(text, "hello, heap");
	if (ash_page_info_read(text, &page, sizeof(page)) != 0)
		return 1;
	printf("%s: arena %u on node %d, frame %llu, %zu bytes usable\n", text, (unsigned)page.arena, (int)page.node,
	       (unsigned long long)page.pfn, ash_usable_size(text));
	ash_free(text);
	return 0;
}
