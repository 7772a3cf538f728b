/* SPDX-License-Identifier: MIT */
/* A preload with a fault for the differential test to find. */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(FORGETS_MUNMAP)
/* Pages are not taken out of small mappings. */
int munmap(void *addr, size_t bytes)
{
	return bytes <= 3 * 4096 && bytes > 0 ? 0 : (int)syscall(SYS_munmap, addr, bytes);
}
#elif defined(FORGETS_MPROTECT)
/* What may only be read can be executed as well: nothing but the rights shows it. */
int mprotect(void *addr, size_t bytes, int prot)
{
	return (int)syscall(SYS_mprotect, addr, bytes, prot == PROT_READ ? prot | PROT_EXEC : prot);
}
#elif defined(FORGETS_MADVISE)
/* Up to a pageblock keeps what was written there: nothing but the contents shows it. */
int madvise(void *addr, size_t bytes, int advice)
{
	return (int)syscall(SYS_madvise, addr, bytes,
			    advice == MADV_DONTNEED && bytes <= 2 << 20 ? MADV_NORMAL : advice);
}
#endif
