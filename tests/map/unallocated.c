/* SPDX-License-Identifier: MIT */
/* A program that maps memory and never allocates any. */
#include <sys/mman.h>

int main(void)
{
	const unsigned long bytes = 4ul << 20;

	for (unsigned i = 0; i < 3; i++) {
		char *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || p[0] != 0 || p[bytes - 1] != 0)
			return 1;
		for (unsigned long at = 0; at < bytes; at += 4096)
			p[at] = 1;
		if (munmap(p, bytes) != 0)
			return 1;
	}
	return 0;
}
