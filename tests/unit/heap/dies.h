/* SPDX-License-Identifier: MIT */
/* Whether the heap ends the program because of what it finds: in a child of its own. */
#ifndef ASH_TESTS_UNIT_HEAP_DIES_H
#define ASH_TESTS_UNIT_HEAP_DIES_H

#include "harness/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* How fn ends in a child of its own, as waitpid() says it. */
static inline int ends(void (*fn)(void))
{
	int status = -1;
	const pid_t pid = fork();

	if (pid == 0) {
		close(2);
		fn();
		_exit(0);
	}
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static inline bool dies(void (*fn)(void))
{
	const int status = ends(fn);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
