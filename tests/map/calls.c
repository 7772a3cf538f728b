/* SPDX-License-Identifier: MIT */
/* Random mapping calls; see calls.h. */
#include "map/calls.h"
#include "map/rights.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PB = 512, PAGES = 8 * PB, NOTHING = 0xffff, LOOKS = 8, WRITES = 16 };
/* Where nothing else is, in both processes. */
#define PLAY ((char *)0x200000000000)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

/* Which call last made each page what it is: pages with one number are in one mapping of the kernel's, however it
 * joins. */
static uint16_t piece[PAGES];
static uint16_t pieces;
/* Pages that something was written to, wherever it went since: what is looked at when the sequence ends. */
static bool dirty[PAGES];
/* What this step has to do with; what is mapped there is looked at after it. */
static unsigned changed_first, changed_end;
static uint64_t rng;
static struct calls_record now;
static pid_t self; /* of this process; asking the kernel each time takes longer than what it is for */

static uint32_t rnd(uint32_t n)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return (uint32_t)((rng * 0x2545f4914f6cdd1du) >> 33) % n;
}

static uint32_t mix(uint32_t h, uint64_t v)
{
	return (uint32_t)(((h ^ v) * 0x9e3779b97f4a7c15u) >> 31);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(now.what, sizeof(now.what), format, args);
	va_end(args);
}

static char *at(unsigned page)
{
	return PLAY + (size_t)page * PAGE;
}

static void answer(long ret)
{
	now.error = ret == -1 ? errno : 0;
	now.ret = ret;
}

static void answer_address(const void *p)
{
	answer((long)p);
	if (p != MAP_FAILED)
		now.ret = (const char *)p >= PLAY && (const char *)p < at(PAGES) ? (const char *)p - PLAY : INT64_MAX;
}

static void set_changed(unsigned first, unsigned end)
{
	changed_first = first < changed_first ? first : changed_first;
	changed_end = end > changed_end ? end : changed_end;
}

static void set_piece(unsigned first, unsigned nr, bool mapped)
{
	const uint16_t id = mapped ? (uint16_t)(1 + pieces++ % (NOTHING - 2)) : NOTHING;

	set_changed(first, first + nr);
	for (unsigned i = first; i < first + nr; i++)
		piece[i] = id;
}

/* What was one piece before is several after a call that changes a part of it. */
static void split_pieces(unsigned first, unsigned nr)
{
	unsigned start = first;

	for (unsigned i = first; i <= first + nr; i++) {
		if (i < first + nr && piece[i] == piece[start])
			continue;
		set_piece(start, i - start, piece[start] != NOTHING);
		start = i;
	}
}

/* Around pageblock borders, mostly. */
static void pick(unsigned *first, unsigned *nr)
{
	static const unsigned sizes[] = { 1, 2, 3, 4, 5, PB / 2, PB - 1, PB, PB, PB + 1 };
	static const unsigned large[] = { 2 * PB, 2 * PB + 1, 3 * PB - 1, 4 * PB };

	*first = rnd(4) > 0 ? rnd(PAGES / PB) * PB : rnd(PAGES);
	if (rnd(3) == 0)
		*first = (*first + rnd(5) + PAGES - 2) % PAGES;
	*nr = rnd(8) > 0 ? sizes[rnd(10)] : rnd(2) > 0 ? 1 + rnd(PB) : large[rnd(4)];
	if (*nr > PAGES - *first)
		*nr = PAGES - *first;
}

static int pick_prot(void)
{
	static const int prots[] = { RW, RW, RW, PROT_READ, PROT_NONE, RW | PROT_EXEC };

	return prots[rnd(6)];
}

/* Writes by the kernel, which stops at the first page that may not be written; that one is counted and passed over. */
static void write_pages(unsigned first, unsigned nr)
{
	uint64_t words[WRITES];
	struct iovec from[WRITES], to[WRITES];

	for (unsigned i = 0; i < WRITES; i++) {
		const unsigned page = first + rnd(nr);

		words[i] = ((uint64_t)now.sequence << 32) + now.step * 256 + i;
		from[i] = (struct iovec){ words + i, sizeof(words[i]) };
		to[i] = (struct iovec){ at(page) + (rnd(PAGE / 8)) * 8, sizeof(words[i]) };
		dirty[page] = true;
	}
	for (unsigned i = 0; i < WRITES; i++) {
		const ssize_t got = process_vm_writev(self, from + i, WRITES - i, to + i, WRITES - i, 0);

		now.content = mix(now.content, (uint64_t)got);
		i += got > 0 ? (unsigned)got / sizeof(words[0]) : 0;
	}
}

static void look_at(const uint64_t words[PAGE / 8])
{
	/* Nearly all of them are zero, nearly always: eight at a time. */
	for (unsigned k = 0; k < PAGE / 8; k += 8) {
		uint64_t any = 0;

		for (unsigned i = k; i < k + 8; i++)
			any |= words[i];
		for (unsigned i = k; any != 0 && i < k + 8; i++)
			now.content = words[i] != 0 ? mix(now.content, words[i] + i) : now.content;
	}
}

/* By the kernel, which stops at the first page that may not be read; that one is counted as such and passed over. */
static void look_at_pages(const struct iovec from[LOOKS], unsigned nr)
{
	static uint64_t words[LOOKS][PAGE / 8];
	struct iovec to[LOOKS];

	for (unsigned i = 0; i < nr; i++)
		to[i] = (struct iovec){ words[i], PAGE };
	for (unsigned i = 0; i < nr; i++) {
		const ssize_t got = process_vm_readv(self, to + i, nr - i, from + i, nr - i, 0);

		for (ssize_t n = got; n >= PAGE; n -= PAGE)
			look_at(words[i++]);
		if (i < nr)
			now.content = mix(now.content, (uint64_t)(got > 0 ? got % PAGE : got) + 77);
	}
}

static void look(unsigned first, unsigned nr)
{
	struct iovec from[LOOKS];

	for (unsigned i = 0; i < LOOKS; i++)
		from[i] = (struct iovec){ at(i % 3 == 0 ? rnd(PAGES) : first + rnd(nr)), PAGE };
	look_at_pages(from, LOOKS);
}

/* Every page that anything was written to. */
static void look_at_all(void)
{
	struct iovec from[LOOKS];
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		if (!dirty[i])
			continue;
		from[n++] = (struct iovec){ at(i), PAGE };
		if (n == LOOKS) {
			look_at_pages(from, n);
			n = 0;
		}
	}
	look_at_pages(from, n);
}

/*
 * Three sequences of four ask for huge pages where mappings are served, which have them anyway; so the other process
 * does not spend most of the time on base pages.
 */
static void dress(void *p, unsigned nr)
{
	if (now.sequence % 4 != 0 && p != MAP_FAILED)
		(void)syscall(SYS_madvise, p, (size_t)nr * PAGE, MADV_HUGEPAGE);
}

/* A mapping of the kind that is served, at a place that was made free: the kernel takes the hint. */
static void do_map(unsigned first, unsigned nr)
{
	const int flags = ANON | (rnd(32) == 0 ? MAP_POPULATE : 0);
	void *p;

	nr = nr < PB ? nr + PB : nr;
	nr = nr > PAGES - first ? PAGES - first : nr;
	say("munmap(%u, %u); mmap(the same, RW, 0x%x)", first, nr, flags);
	(void)munmap(at(first), (size_t)nr * PAGE);
	p = mmap(at(first), (size_t)nr * PAGE, RW, flags, -1, 0);
	answer_address(p);
	dress(p, nr);
	set_piece(first, nr, p == at(first));
	if (p != at(first) && p != MAP_FAILED)
		(void)munmap(p, (size_t)nr * PAGE);
}

static void do_map_fixed(unsigned first, unsigned nr)
{
	static const int others[] = { ANON, ANON, ANON | MAP_NORESERVE, MAP_SHARED | MAP_ANONYMOUS };
	const int how = rnd(3) == 0 ? MAP_FIXED_NOREPLACE : MAP_FIXED, flags = how | others[rnd(4)], prot = pick_prot();
	void *p;

	say("mmap(%u, %u, %d, 0x%x)", first, nr, prot, flags);
	p = mmap(at(first), (size_t)nr * PAGE, prot, flags, -1, 0);
	answer_address(p);
	if (p == at(first))
		set_piece(first, nr, true);
}

static void do_unmap(unsigned first, unsigned nr)
{
	say("munmap(%u, %u)", first, nr);
	answer(munmap(at(first), (size_t)nr * PAGE));
	set_piece(first, nr, false);
}

static void do_protect(unsigned first, unsigned nr)
{
	const int prot = pick_prot();

	say("mprotect(%u, %u, %d)", first, nr, prot);
	answer(mprotect(at(first), (size_t)nr * PAGE, prot));
	split_pieces(first, nr);
}

static void do_advise(unsigned first, unsigned nr)
{
	/* MADV_FREE: the kernel may take the pages at any time; it is made to, so that contents can be compared. */
	static const int advices[] = { 0,  1,  2,  3,  4,  4,  4,  8,  9,  10, 11, 14,  15, 16,
				       17, 18, 19, 20, 21, 22, 23, 23, 23, 24, 77, 102, 103 };
	const int advice = advices[rnd(sizeof(advices) / sizeof(advices[0]))];

	say("madvise(%u, %u, %d)", first, nr, advice);
	answer(madvise(at(first), (size_t)nr * PAGE, advice));
	if (advice == MADV_FREE)
		(void)madvise(at(first), (size_t)nr * PAGE, MADV_DONTNEED);
	split_pieces(first, nr);
}

static void remap_result(unsigned first, unsigned old, unsigned nr, unsigned to, int flags, void *p)
{
	answer_address(p);
	if (p == MAP_FAILED)
		return;
	if (p == at(to))
		memmove(dirty + to, dirty + first, (old < nr ? old : nr) * sizeof(dirty[0]));
	if (p == at(first)) {
		if (nr < old)
			set_piece(first + nr, old - nr, false);
		else if (first + nr <= PAGES)
			split_pieces(first, nr), set_piece(first, nr, true);
		return;
	}
	if ((flags & MREMAP_DONTUNMAP) == 0)
		set_piece(first, old, false);
	if (p == at(to) && (flags & MREMAP_FIXED) != 0)
		set_piece(to, nr, true);
	else
		(void)munmap(p, (size_t)nr * PAGE);
}

/* Inside one piece: what the kernel makes of neighbours is its own affair, and names and advice come into it. */
static void do_remap(unsigned first, unsigned nr)
{
	static const int kinds[] = { 0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_FIXED,
				     MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP };
	const int flags = kinds[rnd(5)];
	unsigned old = 0, to, unused;

	while (old < nr && piece[first + old] == piece[first])
		old++;
	nr = rnd(3) == 0 ? old : rnd(2) == 0 ? 1 + rnd(old) : old + 1 + rnd(PB + 2);
	pick(&to, &unused);
	if ((flags & MREMAP_FIXED) != 0 && nr > PAGES - to)
		nr = PAGES - to;
	if ((flags & MREMAP_FIXED) == 0 && nr > PAGES - first)
		nr = PAGES - first;
	if ((flags & MREMAP_DONTUNMAP) != 0) {
		old = nr = old < nr ? old : nr;
		/*
		 * It unlocks not what was moved but all of the kernel's mapping around it, and how neighbours were
		 * joined in that may differ. So nothing is locked.
		 */
		(void)munlockall();
	}
	say("mremap(%u, %u, %u, %d, %u)", first, old, nr, flags, to);
	remap_result(first, old, nr, to, flags,
		     mremap(at(first), (size_t)old * PAGE, (size_t)nr * PAGE, flags, at(to)));
}

static void do_lock(unsigned first, unsigned nr)
{
	const unsigned kind = rnd(3);

	say("%s(%u, %u)", kind == 0 ? "mlock" : kind == 1 ? "mlock2(ONFAULT)" : "munlock", first, nr);
	answer(kind == 0 ? mlock(at(first), (size_t)nr * PAGE) :
	       kind == 1 ? mlock2(at(first), (size_t)nr * PAGE, MLOCK_ONFAULT) : munlock(at(first), (size_t)nr * PAGE));
	split_pieces(first, nr);
}

static void do_ask(unsigned first, unsigned nr)
{
	static unsigned char there[PAGES];
	const bool sync = rnd(2) == 0;

	say("%s(%u, %u)", sync ? "msync" : "mincore", first, nr);
	/* Which pages are in memory may differ; whether they can be asked for may not. */
	answer(sync ? msync(at(first), (size_t)nr * PAGE, rnd(2) == 0 ? MS_SYNC : MS_ASYNC | MS_INVALIDATE) :
		      mincore(at(first), (size_t)nr * PAGE, there));
}

static void do_write(unsigned first, unsigned nr)
{
	const bool all = nr < 2 * PB && rnd(16) == 0;

	say("write(%u, %u)%s", first, nr, all ? ", all of it there" : "");
	if (all)
		answer(madvise(at(first), (size_t)nr * PAGE, 23));
	write_pages(first, nr);
}

static void do_mistake(unsigned first, unsigned nr)
{
	const unsigned kind = rnd(8);

	say("mistake %u at %u", kind, first);
	switch (kind) {
	case 0: answer(munmap(at(first) + 1, (size_t)nr * PAGE)); break;
	case 1: answer(munmap(at(first), 0)); break;
	case 2: answer(munmap(at(first), SIZE_MAX - PAGE)); break;
	case 3: answer_address(mmap(NULL, 0, RW, ANON, -1, 0)); break;
	case 4: answer_address(mmap(NULL, SIZE_MAX / 2, RW, ANON, -1, 0)); break;
	case 5: answer_address(mmap(at(first) + 8, PAGE, RW, ANON | MAP_FIXED, -1, 0)); break;
	case 6: answer_address(mmap(NULL, 4 * PB * PAGE, RW, MAP_ANONYMOUS, -1, 0)); break;
	default: answer_address(mremap(at(first) + 1, PAGE, 2 * PAGE, 0)); break;
	}
}

/* Past the C library. */
static void do_raw(unsigned first, unsigned nr)
{
	const unsigned kind = rnd(3);
	const int prot = pick_prot();

	say("system call %u (%u, %u, %d)", kind, first, nr, prot);
	if (kind == 0) {
		answer(syscall(SYS_munmap, at(first), (size_t)nr * PAGE));
		set_piece(first, nr, false);
	} else if (kind == 1) {
		answer_address((void *)syscall(SYS_mmap, at(first), (size_t)nr * PAGE, prot, ANON | MAP_FIXED, -1, 0));
		set_piece(first, nr, true);
	} else {
		answer(syscall(SYS_madvise, at(first), (size_t)nr * PAGE, MADV_DONTNEED));
	}
}

/* Where the kernel likes: zero, then what was written, then gone. */
static void do_elsewhere(unsigned nr)
{
	const unsigned pages = PB + (rnd(4) > 0 ? nr % 8 : nr);
	const size_t bytes = (size_t)pages * PAGE;
	char *p = mmap(NULL, bytes, RW, ANON | (rnd(8) == 0 ? MAP_POPULATE : 0), -1, 0);
	const size_t stride = PAGE << (rnd(16) == 0 ? 0 : 2 + rnd(6));

	dress(p, pages);
	say("mmap(NULL, %u), touch, munmap", pages);
	answer_address(p);
	if (p == MAP_FAILED)
		return;
	for (size_t i = 0; i < bytes; i += 8 + rnd(PAGE / 2) * (8 * stride / PAGE))
		now.content = mix(now.content, *(uint64_t *)(p + i));
	for (size_t i = 0; i < bytes; i += stride)
		*(uint64_t *)(p + i + 8 * rnd(PAGE / 8)) = ~i;
	now.content = mix(now.content, (uint64_t)munmap(p, bytes / 2 & ~(size_t)(PAGE - 1)));
	p += bytes / 2 & ~(size_t)(PAGE - 1);
	for (size_t i = 0; i < bytes / 2; i += stride)
		now.content = mix(now.content, *(uint64_t *)(p + i));
	now.content = mix(now.content, (uint64_t)munmap(p, bytes - (bytes / 2 & ~(size_t)(PAGE - 1))));
}

/* A child sees what it should, and its own calls do not show here. */
static void do_fork(unsigned first, unsigned nr)
{
	int status = 0;
	pid_t pid;

	say("fork");
	pid = fork();
	if (pid == 0) {
		self = getpid();
		look(first, nr);
		write_pages(first, nr);
		(void)munmap(at(first), (size_t)nr * PAGE);
		look(first, nr);
		_exit(now.content & 0x7f);
	}
	(void)rnd(2);
	answer(waitpid(pid, &status, 0) == pid ? status : -1);
}

static void step(void)
{
	const unsigned kind = rnd(100);
	unsigned first, nr;

	pick(&first, &nr);
	changed_first = first;
	changed_end = first + nr;
	if (kind < 14)
		do_map(first, nr);
	else if (kind < 20)
		do_map_fixed(first, nr);
	else if (kind < 30)
		do_unmap(first, nr);
	else if (kind < 40)
		do_protect(first, nr);
	else if (kind < 56)
		do_advise(first, nr);
	else if (kind < 67)
		do_remap(first, nr);
	else if (kind < 69)
		do_lock(first, nr);
	else if (kind < 72)
		do_ask(first, nr);
	else if (kind < 88)
		do_write(first, nr);
	else if (kind < 91)
		do_mistake(first, nr);
	else if (kind < 95)
		do_raw(first, nr);
	else if (kind < 96)
		do_elsewhere(nr);
	else if (kind < 97)
		do_fork(first, nr);
	else
		do_map_fixed(first, nr);
	look(first, nr);
}

/* Of all, now and then; else, where that is cheap, of what the step had to do with, and the pages around it. */
static uint32_t rights(uint32_t step)
{
	if (step % 12 == 11)
		return rights_hash(at(0), at(PAGES));
	if (!rights_are_cheap())
		return 0;
	return rights_hash(at(changed_first > 0 ? changed_first - 1 : 0),
			   at(changed_end < PAGES ? changed_end + 1 : PAGES));
}

void calls_run(uint64_t seed, uint32_t sequence, uint64_t leave_out, void (*out)(const struct calls_record *record))
{
	(void)munmap(PLAY, (size_t)PAGES * PAGE);
	if (mmap(PLAY, (size_t)PAGES * PAGE, PROT_NONE, ANON | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != PLAY) {
		perror("the playground is not to be had");
		exit(2);
	}
	set_piece(0, PAGES, true);
	memset(dirty, 0, sizeof(dirty));
	self = getpid();
	for (uint32_t i = 0; i < CALLS_STEPS; i++) {
		memset(&now, 0, sizeof(now));
		now.sequence = sequence;
		now.step = i;
		rng = (seed * 1000003 + sequence) * 1000003 + i + 1;
		(void)rnd(2), (void)rnd(2);
		changed_first = changed_end = 0;
		if (((leave_out >> i) & 1) == 0)
			step();
		if (i == CALLS_STEPS - 1)
			look_at_all();
		now.access = rights(i);
		out(&now);
	}
}
