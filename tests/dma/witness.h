/* SPDX-License-Identifier: MIT */
/* Where pages are, asked of the kernel by the test itself: what the library says is compared with this. */
#ifndef ASH_TESTS_DMA_WITNESS_H
#define ASH_TESTS_DMA_WITNESS_H

#include "harness/test.h"

#include <ashlar/dma.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

/* The physical address of p, or ASH_DMA_UNKNOWN. */
static inline uint64_t witness_phys(const void *p)
{
	const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0)
		return ASH_DMA_UNKNOWN;
	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / 4096 * sizeof(entry))) != sizeof(entry))
		entry = 0;
	close(fd);
	if (entry >> 63 == 0 || (entry & ((1ull << 55) - 1)) == 0)
		return ASH_DMA_UNKNOWN;
	return (entry & ((1ull << 55) - 1)) * 4096 + (uintptr_t)p % 4096;
}

static inline bool witness_sees(void)
{
	static const char here[1] = { 1 };

	return witness_phys(here) != ASH_DMA_UNKNOWN;
}

/* Every frame of [p, p + bytes) is where the library says, and the segments are exactly the physical runs. */
static inline void witness_agrees(const void *p, size_t bytes)
{
	const char *at = p;
	size_t left = bytes, segments = 0;
	uint64_t end = 0;

	while (left > 0) {
		size_t len = left;
		const uint64_t phys = ash_dma_translate(at, &len);

		EXPECT_GT(len, 0);
		EXPECT_LE(len, left);
		EXPECT_NE(phys, ASH_DMA_UNKNOWN);
		for (size_t i = 0; i < len; i += 4096)
			EXPECT_EQ(witness_phys(at + i), phys + i);
		if (segments > 0)
			EXPECT_NE(phys, end);
		end = phys + len;
		segments++;
		at += len;
		left -= len;
	}
	EXPECT_EQ(ash_dma_segments(p, bytes, NULL, 0), segments);
}

static inline struct ash_dma_info describe(const void *p)
{
	struct ash_dma_info info;

	memset(&info, 0xee, sizeof(info));
	info.size = sizeof(info);
	EXPECT_EQ(ash_dma_info_read(p, &info), 0);
	EXPECT_EQ(info.size, sizeof(info));
	return info;
}

static inline int count_bytes(const struct ash_dma_run *run, void *arg)
{
	*(size_t *)arg += run->len;
	return 0;
}

/* What is in the arenas. */
static inline size_t present(void)
{
	size_t bytes = 0;

	EXPECT_EQ(ash_dma_walk_runs(count_bytes, &bytes), 0);
	return bytes;
}

static inline struct ash_dma_attr wish(enum ash_dma_level level)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	attr.level = level;
	return attr;
}

#endif
