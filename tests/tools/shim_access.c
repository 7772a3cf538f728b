/* SPDX-License-Identifier: MIT */
/* Makes files whose path contains $SHIM_HIDE look absent to access(2): an allocator that is not installed. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int access(const char *path, int mode)
{
	static int (*next)(const char *, int);
	const char *hidden = getenv("SHIM_HIDE");

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "access");
	if (hidden != NULL && strstr(path, hidden) != NULL) {
		errno = ENOENT;
		return -1;
	}
	return next(path, mode);
}
