/* SPDX-License-Identifier: MIT */
/* A preload with a fault for the differential test to find: pages are not taken out of small mappings. */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int munmap(void *addr, size_t bytes)
{
	return bytes <= 3 * 4096 && bytes > 0 ? 0 : (int)syscall(SYS_munmap, addr, bytes);
}
