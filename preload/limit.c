/* SPDX-License-Identifier: MIT */
/*
 * A program that limits its own address space is to have room in it for more than our reservation, which counts. The
 * call itself is the kernel's, by the system call that libc makes of all four; only when it has been done the arenas
 * are told.
 */
#undef _FILE_OFFSET_BITS /* which would make setrlimit another name of setrlimit64: here both are defined */
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "arena/arena.h"
#include "base/compiler.h"
#include "os/process.h"

ASH_BUILD_ASSERT(sizeof(struct rlimit) == sizeof(struct rlimit64), "both are the kernel's");

static int call(pid_t pid, int resource, const void *new, void *old)
{
	const int ret = (int)syscall(SYS_prlimit64, pid, resource, new, old);

	if (ret == 0 && new != NULL && resource == RLIMIT_AS && (pid == 0 || pid == ash_process_id()))
		ash_arena_fit(((const struct rlimit *)new)->rlim_cur);
	return ret;
}

ASH_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
	return call(0, (int)resource, new, NULL);
}

ASH_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *new)
{
	return call(0, (int)resource, new, NULL);
}

ASH_EXPORT int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *new, struct rlimit *old)
{
	return call(pid, (int)resource, new, old);
}

ASH_EXPORT int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	return call(pid, (int)resource, new, old);
}
