/* SPDX-License-Identifier: MIT */
/*
 * QEMU's edu device (docs/specs/edu.rst of QEMU): it copies up to 4095 bytes between memory and a buffer of its own, by
 * whatever address it is told. Registers: 0x80 source, 0x88 destination, 0x90 bytes, 0x98 command (1 start, 2 towards
 * memory). QEMU 7.2 aborts on a transfer of a full 4096 bytes.
 */
#ifndef ASH_TESTS_GUEST_EDU_H
#define ASH_TESTS_GUEST_EDU_H

#include "harness/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { EDU_MOST = 4095, EDU_BUFFER = 0x40000, EDU_TO_MEMORY = 2, EDU_BAR_BYTES = 1 << 20 };

struct edu {
	char name[32]; /* on the PCI bus */
	volatile uint8_t *bar;
};

/* The first edu on the bus; false: none. */
static inline bool edu_find(struct edu *e)
{
	DIR *d = opendir("/sys/bus/pci/devices");
	struct dirent *entry;
	bool found = false;

	while (d != NULL && !found && (entry = readdir(d)) != NULL) {
		char path[300];
		unsigned id = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", entry->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		found = fscanf(f, "%x", &id) == 1 && id == 0x11e8;
		snprintf(e->name, sizeof(e->name), "%.31s", entry->d_name);
		fclose(f);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static inline bool edu_write_file(const char *name, const char *file, const char *text)
{
	char path[300];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/sys/bus/pci/%s%s/%s", name[0] != '\0' ? "devices/" : "", name, file);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Switch the device on and let it write to memory (bits 1 and 2 of the command register), by its place in config
 * space. */
static inline void edu_enable(int config, off_t at)
{
	uint16_t command = 0;

	EXPECT_EQ(pread(config, &command, sizeof(command), at + 4), sizeof(command));
	command |= 6;
	EXPECT_EQ(pwrite(config, &command, sizeof(command), at + 4), sizeof(command));
}

/* Without a driver: through the files of sysfs. */
static inline void edu_open_raw(struct edu *e)
{
	char path[300];
	int fd;

	EXPECT(edu_write_file(e->name, "enable", "1"));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", e->name);
	fd = open(path, O_RDWR);
	edu_enable(fd, 0);
	close(fd);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", e->name);
	fd = open(path, O_RDWR | O_SYNC);
	e->bar = mmap(NULL, EDU_BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(e->bar != MAP_FAILED);
	close(fd);
}

static inline void edu_close(struct edu *e)
{
	munmap((void *)(uintptr_t)e->bar, EDU_BAR_BYTES);
}

static inline void edu_set(struct edu *e, unsigned at, uint64_t value)
{
	*(volatile uint64_t *)(e->bar + at) = value;
}

/* One transfer; the device takes a tenth of a second for each. */
static inline void edu_transfer(struct edu *e, uint64_t from, uint64_t to, size_t bytes, unsigned direction)
{
	const struct timespec pause = { 0, 1000000 };

	EXPECT_LE(bytes, EDU_MOST);
	edu_set(e, 0x80, from);
	edu_set(e, 0x88, to);
	edu_set(e, 0x90, bytes);
	edu_set(e, 0x98, 1 | direction);
	for (unsigned i = 0; i < 20000 && (*(volatile uint64_t *)(e->bar + 0x98) & 1) != 0; i++)
		nanosleep(&pause, NULL);
	EXPECT_EQ(*(volatile uint64_t *)(e->bar + 0x98) & 1, 0);
}

/* The device copies bytes from one of its addresses to another. */
static inline void edu_copy(struct edu *e, uint64_t from, uint64_t to, size_t bytes)
{
	edu_transfer(e, from, EDU_BUFFER, bytes, 0);
	edu_transfer(e, EDU_BUFFER, to, bytes, EDU_TO_MEMORY);
}

#endif
