/* SPDX-License-Identifier: MIT */
/* fork while another thread makes the first allocation of the process, and is stuck in it: the child can allocate. */
#include "harness/test.h"

#include <ashlar/ashlar.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int full_pipe[2];

/* The options hold a slip of the pen, and nobody reads the complaint until the pipe is drained. */
static void *boots(void *unused)
{
	(void)unused;
	return ash_heap_create(ASH_NODE_LOCAL);
}

static void *drains(void *unused)
{
	char bytes[4096];

	(void)unused;
	usleep(200000);
	while (read(full_pipe[0], bytes, sizeof(bytes)) > 0)
		;
	return NULL;
}

static void fill_pipe(void)
{
	char bytes[4096] = "";

	EXPECT_EQ(pipe(full_pipe), 0);
	EXPECT_EQ(fcntl(full_pipe[1], F_SETFL, O_NONBLOCK), 0);
	while (write(full_pipe[1], bytes, sizeof(bytes)) > 0)
		;
	while (write(full_pipe[1], bytes, 1) > 0)
		;
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(fcntl(full_pipe[1], F_SETFL, 0), 0);
}

TEST(a_child_of_a_process_that_boots_can_boot)
{
	pthread_t booting, draining;
	int status, kept;
	pid_t child;

	setenv("ASHLAR_CONF", "no_such_option:1", 1);
	fill_pipe();
	kept = dup(2);
	dup2(full_pipe[1], 2);
	EXPECT_EQ(pthread_create(&booting, NULL, boots, NULL), 0);
	usleep(100000);
	EXPECT_EQ(pthread_create(&draining, NULL, drains, NULL), 0);
	child = fork();
	if (child == 0) {
		alarm(HANG_SECONDS);
		_exit(ash_heap_create(ASH_NODE_LOCAL) != NULL ? 0 : 1);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(pthread_join(booting, NULL), 0);
	dup2(kept, 2);
	close(full_pipe[1]);
	EXPECT_EQ(pthread_join(draining, NULL), 0);
	EXPECT_EQ(status, 0);
}
