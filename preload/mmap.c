/* SPDX-License-Identifier: MIT */
/*
 * The calls by which a program comes by mappings of its own. What lib/map does not want goes to the kernel by raw
 * system call, with the caller's arguments as they are: a program may map memory before libc is ready, and from inside
 * the function that dlsym(3) would call.
 *
 * The rest of the family (mprotect, msync, mincore, mlock, brk, shmat ...) is not here, because a served mapping
 * is the kernel's like any other. libc's own mappings do not come here, nor does who makes system calls by itself;
 * nothing depends on their doing so.
 */
#undef _FILE_OFFSET_BITS /* which would make mmap another name of mmap64: here both are defined */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/compiler.h"
#include "map/map.h"

ssize_t vmsplice(int fd, const struct iovec *vector, size_t n, unsigned flags);

static void *address_or_errno(long ret)
{
	if (ASH_LIKELY((unsigned long)ret < (unsigned long)-4095))
		return (void *)ret;
	errno = (int)-ret;
	return MAP_FAILED;
}

ASH_EXPORT void *mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	return address_or_errno(ash_map_mmap(addr, bytes, prot, flags, fd, offset));
}

ASH_EXPORT void *mmap64(void *addr, size_t bytes, int prot, int flags, int fd, off64_t offset) ASH_ALIAS(mmap);

ASH_EXPORT int munmap(void *addr, size_t bytes)
{
	const long ret = ash_map_munmap(addr, bytes);

	if (ASH_LIKELY(ret == 0))
		return 0;
	errno = (int)-ret;
	return -1;
}

ASH_EXPORT void *mremap(void *addr, size_t old_bytes, size_t new_bytes, int flags, ...)
{
	void *to = NULL;
	va_list args;

	if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0) {
		va_start(args, flags);
		to = va_arg(args, void *);
		va_end(args);
	}
	return address_or_errno(ash_map_mremap(addr, old_bytes, new_bytes, flags, to));
}

/* Here only for who listens (<ashlar/map.h>). */
ASH_EXPORT int madvise(void *addr, size_t bytes, int advice)
{
	const long ret = ash_map_madvise(addr, bytes, advice);

	if (ASH_LIKELY(ret == 0))
		return 0;
	errno = (int)-ret;
	return -1;
}

/*
 * A pipe now holds the pages, and goes on holding them when the program unmaps them. (That the vector was read by the
 * kernel is why it may be read here.) A cancellation point, as in libc.
 */
ASH_EXPORT ssize_t vmsplice(int fd, const struct iovec *vector, size_t n, unsigned flags)
{
	ssize_t ret;

	pthread_testcancel();
	ret = syscall(SYS_vmsplice, fd, vector, n, flags);
	for (size_t i = 0; ret > 0 && i < n; i++)
		ash_map_release(vector[i].iov_base, vector[i].iov_len);
	return ret;
}

/* Passed on; of who makes a userfaultfd(2) work it is taken note. */
ASH_EXPORT ASH_EARLY int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (ASH_UNLIKELY(request == UFFDIO_API))
		ash_map_stop_recycling();
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/*
 * Passed on; of a socket that is to send without copying (MSG_ZEROCOPY) note is taken. The network then reads pages
 * until it says that it is done, and a program may unmap them before: they are the socket's, which the kernel does not
 * hold against moving them.
 */
ASH_EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t bytes)
{
	const int ret = (int)syscall(SYS_setsockopt, fd, level, option, value, bytes);

	if (ASH_UNLIKELY(level == SOL_SOCKET && option == SO_ZEROCOPY && ret == 0))
		ash_map_stop_recycling();
	return ret;
}
