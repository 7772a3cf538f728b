/* SPDX-License-Identifier: MIT */
/* The bounded writer against the C library's printf, its buffering, and its escapes. */
#include "harness/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "ctl/writer.h"

static char out[8192];
static size_t out_used;
static unsigned sink_calls;

static int sink(void *context, const char *bytes, size_t n)
{
	sink_calls++;
	if (context != NULL)
		return *(int *)context;
	EXPECT_LE(out_used + n, sizeof(out) - 1);
	memcpy(out + out_used, bytes, n);
	out_used += n;
	out[out_used] = '\0';
	return 0;
}

static void start(struct ash_writer *w)
{
	out_used = sink_calls = 0;
	out[0] = '\0';
	ash_writer_init(w, sink, NULL);
}

#define SAME_AS_PRINTF(...)                                                                                            \
	do {                                                                                                           \
		struct ash_writer w_;                                                                                  \
		char expected_[512];                                                                                   \
		snprintf(expected_, sizeof(expected_), __VA_ARGS__);                                                   \
		start(&w_);                                                                                            \
		ash_write(&w_, __VA_ARGS__);                                                                           \
		EXPECT_EQ(ash_writer_finish(&w_), 0);                                                                  \
		EXPECT_STREQ(out, expected_);                                                                          \
	} while (0)

TEST(integers_are_written_as_printf_writes_them)
{
	SAME_AS_PRINTF("%d %i %u %x", 0, -1, 42u, 0xbeefu);
	SAME_AS_PRINTF("%d|%d|%u", INT_MIN, INT_MAX, UINT_MAX);
	SAME_AS_PRINTF("%ld|%ld|%lu", LONG_MIN, LONG_MAX, ULONG_MAX);
	SAME_AS_PRINTF("%lld|%llu|%llx|%zu", LLONG_MIN, ULLONG_MAX, ULLONG_MAX, SIZE_MAX);
}

TEST(widths_and_flags_are_those_of_printf)
{
	SAME_AS_PRINTF("[%5d][%-5d][%05d][%05d]", 42, 42, 42, -42);
	SAME_AS_PRINTF("[%1d][%6lu ][%12lu ][%8s ]", 12345, 1ul, 2ul, "Normal");
	SAME_AS_PRINTF("[%-8s][%8s][%2s][%.2s][%-6.3s][%*d][%.*s]", "abc", "abc", "abc", "abc", "abcdef", 7, 5, 2,
		       "xyz");
	SAME_AS_PRINTF("%c%c%% 100%%", 'o', 'k');
	SAME_AS_PRINTF("%-43s ", "Free pages count per migrate type at order");
}

TEST(random_integers_match_printf)
{
	uint64_t state = test_seed;

	for (int i = 0; i < 20000; i++) {
		const uint64_t v = test_random(&state) >> (test_random(&state) % 64);
		const int width = (int)(test_random(&state) % 25);

		SAME_AS_PRINTF("%*lld|%-*llu|%llx", width, (long long)v, width, (unsigned long long)v,
			       (unsigned long long)v);
	}
}

TEST(output_longer_than_the_buffer_arrives_whole_in_few_calls)
{
	struct ash_writer w;

	start(&w);
	for (int i = 0; i < 1000; i++)
		ash_write(&w, "%03d,", i);
	EXPECT_EQ(ash_writer_finish(&w), 0);
	EXPECT_EQ(out_used, 4000);
	EXPECT_EQ(sink_calls, 4);
	for (int i = 0; i < 1000; i++)
		EXPECT_EQ(atoi(out + i * 4), i);
}

TEST(first_error_is_kept_and_output_stops)
{
	struct ash_writer w;
	int error = -EPIPE;

	start(&w);
	ash_writer_init(&w, sink, &error);
	for (int i = 0; i < 5000; i++)
		ash_write(&w, "x");
	EXPECT_EQ(sink_calls, 1);
	error = -EIO;
	EXPECT_EQ(ash_writer_finish(&w), -EPIPE);
	EXPECT_EQ(sink_calls, 1);
}

TEST(a_closed_descriptor_is_an_error_not_a_crash)
{
	struct ash_writer w;
	const int fd = open("/dev/null", O_RDONLY);

	ash_writer_init_fd(&w, fd);
	ash_write(&w, "x");
	EXPECT_EQ(ash_writer_finish(&w), -EBADF);
	close(fd);
}

TEST(hostile_text_is_escaped)
{
	struct ash_writer w;

	start(&w);
	ash_write_json_string(&w, "a\"b\\c\nd\x1b[31m\xff");
	EXPECT_EQ(ash_writer_finish(&w), 0);
	EXPECT_STREQ(out, "\"a\\\"b\\\\c?d?[31m?\"");
	start(&w);
	ash_write_xml_text(&w, "<a b=\"c\"> & \t");
	EXPECT_EQ(ash_writer_finish(&w), 0);
	EXPECT_STREQ(out, "&lt;a b=&quot;c&quot;&gt; &amp; ?");
	start(&w);
	ash_write_clean(&w,
			"ab\x1b"
			"cdef",
			7, 5);
	EXPECT_EQ(ash_writer_finish(&w), 0);
	EXPECT_STREQ(out, "ab?cd...");
}

TEST(sizes_for_people_round_down)
{
	EXPECT_STREQ(ash_size_text(0).text, "0");
	EXPECT_STREQ(ash_size_text(1023).text, "1023 B");
	EXPECT_STREQ(ash_size_text(1024).text, "1.0 KiB");
	EXPECT_STREQ(ash_size_text((2u << 20) - 1).text, "1.9 MiB");
	EXPECT_STREQ(ash_size_text(2u << 20).text, "2.0 MiB");
	EXPECT_STREQ(ash_size_text((uint64_t)3 << 29).text, "1.5 GiB");
	EXPECT_STREQ(ash_size_text(UINT64_MAX).text, "15.9 EiB");
}
