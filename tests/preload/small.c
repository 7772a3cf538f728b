/* SPDX-License-Identifier: MIT */
/*
 * A small process of which the code of the preloaded object from an offset on cannot run; layout.py gives the offset.
 *
 * usage: small OFFSET (hexadecimal). Exit status 0, or 1 and on standard output the offset of what ran beyond it.
 */
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uintptr_t object;

static void ran_beyond(int sig, siginfo_t *info, void *context)
{
	char text[32];
	const int n = snprintf(text, sizeof(text), "%lx\n", (unsigned long)((uintptr_t)info->si_addr - object));

	_exit(write(STDOUT_FILENO, text, (size_t)n) == n ? 1 : 2);
}

static int forbid(struct dl_phdr_info *info, size_t size, void *arg)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	const uintptr_t from = (info->dlpi_addr + *(const uintptr_t *)arg + page - 1) & -page;

	if (strstr(info->dlpi_name, "libashlar-preload") == NULL)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		const uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + page - 1) & -page;

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0 && from < end) {
			object = info->dlpi_addr;
			return mprotect((void *)from, end - from, PROT_READ) == 0 ? 1 : -1;
		}
	}
	return -1;
}

/* Requests as date, id, ls, sort and bash make them. */
static int allocate(void)
{
	static const size_t sizes[] = { 1, 5, 24, 32, 40, 56, 72, 120, 200, 472, 552, 776, 1024, 1152, 2048, 4096 };
	enum { KINDS = sizeof(sizes) / sizeof(sizes[0]), EACH = 8 };
	static char *volatile p[KINDS][EACH];

	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < EACH; i++) {
			p[k][i] = i == 7 ? calloc(1, sizes[k]) : malloc(sizes[k]);
			if (p[k][i] == NULL)
				return 1;
			*p[k][i] = 1;
		}
	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < EACH; i++) {
			if (i == 6)
				p[k][i] = realloc(p[k][i], 2 * sizes[k]);
			if (i % 2 == 0)
				free(p[k][i]);
		}
	p[0][0] = malloc(32768);
	free(p[0][0]);
	free(NULL);
	p[0][0] = aligned_alloc(4096, 8192);
	free(p[0][0]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = ran_beyond, .sa_flags = SA_SIGINFO };
	uintptr_t from;

	if (argc != 2)
		return 2;
	from = strtoul(argv[1], NULL, 16);
	if (sigaction(SIGSEGV, &action, NULL) != 0 || dl_iterate_phdr(forbid, &from) != 1)
		return 2;
	return allocate();
}
