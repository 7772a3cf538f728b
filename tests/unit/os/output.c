/* SPDX-License-Identifier: MIT */
/* os/output: SIGPIPE never reaches the program, and a kept descriptor is told from what took its number. */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/output.h"
#include "os/process.h"

static volatile sig_atomic_t sigpipes;

static void count_sigpipe(int signal)
{
	(void)signal;
	sigpipes++;
}

static int broken_pipe(void)
{
	int ends[2];

	EXPECT_EQ(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

TEST(a_reader_that_has_gone_is_an_error_and_no_signal)
{
	const int fd = broken_pipe();

	signal(SIGPIPE, count_sigpipe);
	sigpipes = 0;
	EXPECT_EQ(ash_output_write(fd, "x", 1), -EPIPE);
	EXPECT_EQ(sigpipes, 0);
	/* The signal still works for the program's own writes. */
	EXPECT_EQ(write(fd, "x", 1), -1);
	EXPECT_EQ(sigpipes, 1);
	signal(SIGPIPE, SIG_DFL);
	close(fd);
}

TEST(a_signal_that_was_pending_before_stays_pending)
{
	const int fd = broken_pipe();
	sigset_t set, pending;

	signal(SIGPIPE, count_sigpipe);
	sigpipes = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGPIPE);
	EXPECT_EQ(ash_output_write(fd, "x", 1), -EPIPE);
	sigpending(&pending);
	EXPECT(sigismember(&pending, SIGPIPE));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	EXPECT_EQ(sigpipes, 1);
	signal(SIGPIPE, SIG_DFL);
	close(fd);
}

TEST(errors_are_returned_and_errno_is_kept)
{
	errno = 42;
	EXPECT_EQ(ash_output_write(-1, "x", 1), -EBADF);
	EXPECT_EQ(ash_output_open("/nonexistent/file"), -ENOENT);
	EXPECT_EQ(errno, 42);
}

TEST(a_file_is_appended_to)
{
	char path[] = "/tmp/ashlar-output-XXXXXX", text[8] = "";
	int fd = mkstemp(path);

	EXPECT_GE(fd, 0);
	for (int i = 0; i < 2; i++) {
		const int out = ash_output_open(path);

		EXPECT_GE(out, 0);
		EXPECT_EQ(ash_output_write(out, i == 0 ? "ab" : "cd", 2), 0);
		ash_output_close(out);
	}
	EXPECT_EQ(pread(fd, text, sizeof(text), 0), 4);
	EXPECT_STREQ(text, "abcd");
	close(fd);
	unlink(path);
}

TEST(a_kept_file_outlives_its_descriptor_and_no_impostor_passes_for_it)
{
	struct ash_kept_fd kept, saved;
	const int original = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int impostor;

	EXPECT_EQ(ash_output_keep(original, &kept), 0);
	EXPECT_GE(kept.fd, 200);
	EXPECT_EQ(fcntl(kept.fd, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(ash_output_kept(&kept), kept.fd);
	saved = kept;
	close(original);
	EXPECT_EQ(ash_output_kept(&kept), kept.fd);
	impostor = open("/dev/zero", O_WRONLY | O_CLOEXEC);
	EXPECT_EQ(dup2(impostor, kept.fd), kept.fd);
	EXPECT_EQ(impostor, original);
	EXPECT_EQ(ash_output_kept(&kept), -1);
	close(kept.fd);
	EXPECT_EQ(ash_output_kept(&kept), -1);
	close(impostor);
	EXPECT_EQ(open("/dev/null", O_WRONLY | O_CLOEXEC), saved.origin);
	EXPECT_EQ(ash_output_kept(&kept), saved.origin);
	close(saved.origin);
}

TEST(keeping_a_closed_descriptor_fails_and_keeps_nothing)
{
	struct ash_kept_fd kept;

	EXPECT_EQ(ash_output_keep(199, &kept), -EBADF);
	EXPECT_EQ(kept.fd, -1);
}

TEST(the_process_is_told_truly)
{
	struct ash_process_usage before, after;
	volatile char *memory;

	EXPECT_EQ(ash_process_id(), getpid());
	EXPECT(strncmp(ash_process_name().text, "test_os_output", 14) == 0);
	EXPECT_EQ(ash_process_usage(&before), 0);
	memory = malloc(16 << 20);
	for (size_t i = 0; i < 16 << 20; i += 4096)
		memory[i] = 1;
	EXPECT_EQ(ash_process_usage(&after), 0);
	EXPECT_GE(after.peak_rss, before.peak_rss);
	EXPECT_GE(after.peak_rss, 16 << 20);
	EXPECT_GT(after.minor_faults, before.minor_faults);
	free((void *)(uintptr_t)memory);
}
