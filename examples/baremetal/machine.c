/* SPDX-License-Identifier: MIT */
/* The machine as QEMU gives it: PVH start info, a serial port, a port that ends the emulation. */
#include "machine.h"

#define FRAME 4096u
#define MAPPED_END (16ull << 30) /* boot.S maps this much */
#define COM1 0x3f8
#define LINE_STATUS 5
#define CAN_SEND 0x20
#define DEBUG_EXIT 0xf4 /* QEMU's isa-debug-exit: its exit status is 2 * value + 1 */
#define PASSED 0x10
#define FAILED 0x01

/* The start info of PVH, version 1, and an entry of its memory map. Types are those of the PC's e820 map. */
struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, command_line, acpi;
	uint64_t map;
	uint32_t nr_map, reserved;
};
#define START_MAGIC 0x336ec578

struct map_entry {
	uint64_t start, size;
	uint32_t type, reserved;
};
#define MAP_RAM 1

#define MAX_RANGES 32
struct range memory[MAX_RANGES];
unsigned nr_ranges;
static char command_line[256];

extern char image_start[], image_end[]; /* baremetal.ld */

void machine_main(const struct start_info *info);

/* --- Ports --- */

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void machine_off(bool good)
{
	print(good ? "baremetal: passed\n" : "baremetal: FAILED\n");
	__asm__ volatile("outl %0, %1" : : "a"(good ? PASSED : FAILED), "Nd"((uint16_t)DEBUG_EXIT));
	for (;;)
		__asm__ volatile("hlt");
}

void print(const char *text)
{
	for (; *text != '\0'; text++) {
		while (!(in8(COM1 + LINE_STATUS) & CAN_SEND))
			;
		out8(COM1, (uint8_t)*text);
	}
}

static void print_digits(uint64_t value, unsigned base, unsigned width)
{
	char text[24];
	size_t at = sizeof(text) - 1;

	text[at] = '\0';
	while (value > 0 || at == sizeof(text) - 1 || sizeof(text) - 1 - at < width) {
		text[--at] = "0123456789abcdef"[value % base];
		value /= base;
	}
	print(text + at);
}

void print_number(uint64_t value)
{
	print_digits(value, 10, 1);
}

void print_address(uint64_t address)
{
	print_digits(address, 16, 9);
}

/* --- Memory before there is a zone --- */

static void add_range(uint64_t start, uint64_t end)
{
	unsigned at = nr_ranges;

	if (start >= end)
		return;
	if (nr_ranges == MAX_RANGES) {
		print("more ranges of memory than expected\n");
		machine_off(false);
	}
	for (; at > 0 && memory[at - 1].start > start; at--)
		memory[at] = memory[at - 1];
	memory[at] = (struct range){ start, end };
	nr_ranges++;
}

/* Take [start, end) out of the map: cuts ranges short, in two, or out. */
static void remove_range(uint64_t start, uint64_t end)
{
	for (unsigned i = nr_ranges; i-- > 0;) {
		const struct range r = memory[i];

		if (r.end <= start || end <= r.start)
			continue;
		for (unsigned j = i; j + 1 < nr_ranges; j++)
			memory[j] = memory[j + 1];
		nr_ranges--;
		/* What is left goes back at i or above; what stands below i is still to come. */
		add_range(r.start, start < r.end ? start : r.end);
		add_range(end > r.start ? end : r.start, r.end);
	}
}

void *early_alloc(size_t bytes)
{
	bytes = (bytes + FRAME - 1) & ~(size_t)(FRAME - 1);
	for (unsigned i = 0; i < nr_ranges; i++) {
		const uint64_t start = memory[i].start;

		/* The low megabyte is left for what needs such addresses. */
		if (start < 0x100000 || memory[i].end - start < bytes)
			continue;
		remove_range(start, start + bytes);
		__builtin_memset(at_address(start), 0, bytes);
		return at_address(start);
	}
	print("no room for the zone's own tables\n");
	machine_off(false);
}

static uint64_t frame_up(uint64_t address)
{
	return (address + FRAME - 1) & ~(uint64_t)(FRAME - 1);
}

static void read_map(const struct start_info *info)
{
	const struct map_entry *map = at_address(info->map);

	for (uint32_t i = 0; i < info->nr_map; i++) {
		const uint64_t end = map[i].start + map[i].size;

		print("  ");
		print_address(map[i].start);
		print(" - ");
		print_address(end);
		print(map[i].type == MAP_RAM ? " memory\n" : " reserved\n");
		if (map[i].type == MAP_RAM)
			add_range(frame_up(map[i].start),
				  (end < MAPPED_END ? end : MAPPED_END) & ~(uint64_t)(FRAME - 1));
	}
	/* What is said to be both is not memory. Frame 0 stays out, so that no address we hand out is NULL. */
	for (uint32_t i = 0; i < info->nr_map; i++) {
		if (map[i].type != MAP_RAM)
			remove_range(map[i].start & ~(uint64_t)(FRAME - 1), frame_up(map[i].start + map[i].size));
	}
	remove_range(0, FRAME);
	remove_range((uintptr_t)image_start, (uintptr_t)image_end);
}

bool asked(const char *word)
{
	for (const char *at = command_line; *at != '\0'; at++) {
		size_t n = 0;

		while (word[n] != '\0' && at[n] == word[n])
			n++;
		if (word[n] == '\0' && (at == command_line || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
			return true;
	}
	return false;
}

void machine_main(const struct start_info *info)
{
	const char *words = at_address(info->command_line);

	print("baremetal: the machine's memory\n");
	if (info->magic != START_MAGIC || info->version < 1 || info->nr_map == 0) {
		print("not started by the PVH protocol, or without a memory map\n");
		machine_off(false);
	}
	/* The start info itself lies in memory that the zone is about to get. */
	for (size_t i = 0; info->command_line != 0 && i < sizeof(command_line) - 1 && words[i] != '\0'; i++)
		command_line[i] = words[i];
	read_map(info);
	machine_off(run());
}

/* --- What a compiler may call of its own accord --- */

void *memset(void *to, int byte, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}
