/* SPDX-License-Identifier: MIT */
/* System calls through libc's syscall(2), for architectures without a file of their own; errno is put back. */
#include <errno.h>
#include <unistd.h>

#include "os/sys.h"

ASH_EARLY long ash_sys_kernel(long nr, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long ret = syscall(nr, a, b, c, d, e, f);

	if (ret == -1)
		ret = -errno;
	errno = saved;
	return ret;
}
