/* SPDX-License-Identifier: MIT */
/*
 * Fuzzing the page core by the operation language: the first byte picks a zone, every eight bytes after it are an
 * operation. Every input means something, and everything the model checks is checked after every operation.
 *
 * Built by tests/fuzz/run with clang's libFuzzer; built with ASH_FUZZ_REPLAY it is a program that runs the files it is
 * given, which is how the corpus in the tree, and every input that ever found something, is part of the ordinary tests.
 */
#include "base/bits.h"
#include "model/hosted.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPS 4096
#define OP_BYTES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct model_config configs[] = {
	{ .geometry = { 3, 5 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1, .pcp_batch = 3 },
	{ .geometry = { 2, 2 }, .nr_frames = 32, .online_nr = 32 },
	{ .geometry = { 2, 4 }, .nr_frames = 47, .online_start = 1, .online_nr = 45, .nr_cpus = 2, .zeroed = true },
	{ .geometry = { 2, 5 }, .nr_frames = 64, .online_nr = 64, .types = "MMCCHMUMMMMRMMMM", .movable = true },
	{ .geometry = { 3, 4 }, .nr_frames = 64, .online_start = 16, .online_nr = 24, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 0, 3 }, .nr_frames = 16, .online_nr = 16 },
	{ .geometry = { 3, 6 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1, .movable = true, .pcp_owned = true },
	{ .geometry = { 1, 4 }, .nr_frames = 24, .online_nr = 24 },
	{ .geometry = { 2, 4 }, .nr_frames = 48, .online_nr = 48, .nr_cpus = 1, .shrinks = true },
};

static struct model_op decode(const uint8_t *p)
{
	struct model_op op = {
		.code = p[0] % MODEL_NR_CODES,
		.order = p[1] & 15,
		.cpu = p[1] >> 4 & 3,
		.mt = (p[2] & 15) % ASH_MT_PCPTYPES,
		.flags = p[2] >> 4,
		.a = (uint32_t)(p[3] | p[4] << 8),
		.b = (uint32_t)(p[5] | p[6] << 8 | p[7] << 16),
	};

	return op;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model_op ops[MAX_OPS];
	struct hosted_world w;
	size_t n = 0;

	if (size == 0)
		return 0;
	for (size_t at = 1; at + OP_BYTES <= size && n < MAX_OPS; at += OP_BYTES)
		ops[n++] = decode(data + at);
	hosted_open(&w, &configs[data[0] % ASH_ARRAY_LEN(configs)]);
	if (!hosted_run(&w, ops, n)) {
		hosted_print_error(w.m);
		n = hosted_shrink(&w, ops, n);
		hosted_print_error(w.m);
		hosted_print_ops(&w, ops, n);
		abort();
	}
	hosted_close(&w);
	return 0;
}

#if ASH_FUZZ_REPLAY
static size_t replay(const char *folder, const char *name)
{
	static uint8_t data[1 + MAX_OPS * OP_BYTES];
	char path[4096];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (f == NULL) {
		fprintf(stderr, "%s cannot be read\n", path);
		exit(1);
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	return n / OP_BYTES;
}

int main(int argc, char **argv)
{
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
	const struct dirent *entry;
	size_t files = 0, operations = 0;

	if (folder == NULL) {
		fprintf(stderr, "usage: fuzz_replay FOLDER\n");
		return 1;
	}
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		operations += replay(argv[1], entry->d_name);
		files++;
	}
	closedir(folder);
	printf("fuzz: %zu inputs, %zu operations replayed\n", files, operations);
	return operations > 0 ? 0 : 1;
}
#endif
