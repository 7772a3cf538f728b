/* SPDX-License-Identifier: MIT */
/* A program that allocates once; layout.py counts its page faults. */
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	char *volatile p = malloc(1);

	if (p == NULL)
		return 1;
	*p = 1;
	_exit(0);
}
