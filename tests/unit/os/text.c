/* SPDX-License-Identifier: MIT */
/* Text building and parsing, small files, the log line, the environment. */
#include "harness/test.h"
#include "unit/os/fake_sys.h"

#include <unistd.h>

#include "os/env.h"
#include "os/file.h"
#include "os/log.h"
#include "os/text.h"

TEST(a_writer_drops_what_does_not_fit_and_stays_terminated)
{
	char buf[8];
	struct ash_text t;

	memset(buf, 'x', sizeof(buf));
	ash_text_init(&t, buf, sizeof(buf) - 1);
	ash_text_str(&t, "abc");
	ash_text_num(&t, 12345);
	EXPECT_STREQ(buf, "abc123");
	EXPECT_EQ(t.len, 6);
	EXPECT_EQ(buf[7], 'x');
}

TEST(numbers_are_written_and_read_back)
{
	static const uint64_t values[] = { 0, 1, 9, 10, 4096, UINT64_MAX };
	char buf[64];
	struct ash_text t;

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		const char *s = buf;
		uint64_t n = 77;

		ash_text_init(&t, buf, sizeof(buf));
		ash_text_num(&t, values[i]);
		EXPECT(ash_parse_num(&s, 10, &n) && *s == '\0');
		EXPECT_EQ(n, values[i]);
		s = buf;
		ash_text_init(&t, buf, sizeof(buf));
		ash_text_hex(&t, values[i]);
		EXPECT(ash_parse_num(&s, 16, &n) && *s == '\0');
		EXPECT_EQ(n, values[i]);
	}
}

TEST(sizes_are_written_in_their_largest_exact_unit)
{
	char buf[64];
	struct ash_text t;

	ash_text_init(&t, buf, sizeof(buf));
	ash_text_size(&t, 6ull << 20);
	ash_text_str(&t, ",");
	ash_text_size(&t, 1025);
	ash_text_str(&t, ",");
	ash_text_size(&t, 1ull << 40);
	ash_text_str(&t, ",");
	ash_text_size(&t, 0);
	EXPECT_STREQ(buf, "6 MiB,1025 bytes,1024 GiB,0 bytes");
}

TEST(parsing_refuses_text_and_saturates)
{
	const char *s = "x1";
	uint64_t n = 5;

	EXPECT(!ash_parse_num(&s, 10, &n));
	EXPECT_EQ(n, 5);
	s = "99999999999999999999999999z";
	EXPECT(ash_parse_num(&s, 10, &n));
	EXPECT_EQ(*s, 'z');
	EXPECT(n >= UINT64_MAX / 10);
	s = "1f-";
	EXPECT(ash_parse_num(&s, 16, &n));
	EXPECT_EQ(n, 0x1f);
}

static int collect(void *arg, const char *line)
{
	char *all = arg;

	strcat(all, line);
	strcat(all, "|");
	return strcmp(line, "stop") == 0 ? 7 : 0;
}

TEST(lines_come_one_by_one_also_the_last_without_newline)
{
	char all[256] = "";

	fake_on();
	fake_file("/f", "one\n\nthree");
	EXPECT_EQ(ash_file_lines("/f", collect, all), 0);
	EXPECT_STREQ(all, "one||three|");
	all[0] = '\0';
	fake_file("/g", "a\nstop\nb\n");
	EXPECT_EQ(ash_file_lines("/g", collect, all), 7);
	EXPECT_STREQ(all, "a|stop|");
	fake.files_only = true;
	EXPECT_EQ(ash_file_lines("/nothing", collect, all), -ENOENT);
	fake_off();
}

TEST(a_failing_read_is_an_error_not_an_empty_file)
{
	char buf[16];

	fake_on();
	fake_file("/f", "12");
	fake_fail(__NR_read, NULL, 0, 1, -EIO);
	EXPECT_EQ(ash_file_read("/f", buf, sizeof(buf)), -EIO);
	fake_fail(__NR_read, NULL, 0, 1, -EINTR);
	EXPECT_EQ(ash_file_read("/f", buf, sizeof(buf)), 2);
	fake_off();
}

TEST(file_numbers_know_max_and_refuse_text)
{
	uint64_t n = 1;

	fake_on();
	fake_file("/n", "42\n");
	fake_file("/max", "max\n");
	fake_file("/text", "none\n");
	EXPECT_EQ(ash_file_num("/n", &n), 0);
	EXPECT_EQ(n, 42);
	EXPECT_EQ(ash_file_num("/max", &n), 0);
	EXPECT(n == UINT64_MAX);
	EXPECT_EQ(ash_file_num("/text", &n), -EINVAL);
	fake_off();
}

TEST(the_log_is_one_write_of_one_line_and_leaves_errno)
{
	fake_on();
	fake.capture = true;
	errno = 123;
	ash_log("pool is dry");
	EXPECT_EQ(errno, 123);
	EXPECT_EQ(fake.calls[__NR_write], 1);
	EXPECT_STREQ(fake.log, "ashlar: pool is dry\n");
	fake_off();
}

TEST(an_overlong_log_line_is_cut_but_still_a_line)
{
	char line[1024];

	memset(line, 'y', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	fake_on();
	fake.capture = true;
	ash_log(line);
	EXPECT_EQ(fake.log[fake.log_len - 1], '\n');
	EXPECT_EQ(fake.log_len, 511);
	fake_off();
}

static void find_entry(void *arg, const char *entry)
{
	if (strcmp(entry, "ASH_TEST_ENV=value=x") == 0)
		*(int *)arg += 1;
}

TEST(the_environment_is_read_from_environ_and_before_it_from_the_stack)
{
	char **saved = environ;
	const char *path = getenv("PATH");
	int found = 0;

	setenv("ASH_TEST_ENV", "value=x", 1);
	setenv("ASH_TEST_ENVELOPE", "no", 1);
	EXPECT_STREQ(ash_env_get("ASH_TEST_ENV"), "value=x");
	EXPECT(ash_env_get("ASH_TEST_EN") == NULL);
	ash_env_each(find_entry, &found);
	EXPECT_EQ(found, 1);
	if (path == NULL)
		SKIP("the test was started without PATH in its environment");
	saved = environ;
	environ = NULL;
	path = ash_env_get("PATH");
	environ = saved;
	EXPECT(path != NULL);
	EXPECT_STREQ(path, getenv("PATH"));
}

TEST(limits_are_the_kernels)
{
	EXPECT(!ash_env_secure());
	EXPECT_EQ(ash_env_page_size(), sysconf(_SC_PAGESIZE));
	EXPECT_EQ(ash_env_ram(), (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE));
	fake_on();
	fake_fail(__NR_sysinfo, NULL, 0, 1, -EPERM);
	EXPECT_EQ(ash_env_ram(), 0);
	fake_fail(__NR_prlimit64, NULL, 0, 1, -EPERM);
	EXPECT(ash_env_address_limit() == SIZE_MAX);
	fake_off();
}
