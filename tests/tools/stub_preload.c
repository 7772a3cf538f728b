/* SPDX-License-Identifier: MIT */
/* Preloaded in the library's stead: appends a line to the file named by STUB_LOG when it is loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void loaded(void)
{
	const char *path = getenv("STUB_LOG"), *conf = getenv("ASHLAR_CONF");
	FILE *log = path != NULL ? fopen(path, "a") : NULL;

	if (log == NULL)
		return;
	fprintf(log, "%d %s\n", (int)getpid(), conf != NULL ? conf : "-");
	fclose(log);
}

/* What `ashlar stat` would read, of a version that nobody knows. */
extern const char ash_view[64];
const char ash_view[64] = "ashlar\377";
