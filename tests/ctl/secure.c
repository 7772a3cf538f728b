/* SPDX-License-Identifier: MIT */
/* Allocates once and says whether the kernel gave it more rights than its caller has, for tests/ctl/secure.py. */
#include <stdio.h>
#include <sys/auxv.h>

#include <ashlar/ashlar.h>

int main(void)
{
	void *p = ash_malloc(100);

	printf("secure=%lu allocated=%d\n", getauxval(AT_SECURE), p != NULL);
	ash_free(p);
	return 0;
}
