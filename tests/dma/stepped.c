/* SPDX-License-Identifier: MIT */
/*
 * A registration that ends while another thread translates in it, wherever that is: the reader goes by single steps
 * (the processor's trap flag), and at one of them the other thread has its turn.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#if defined(__x86_64__)

enum { TRAP_FLAG = 0x100, BYTES = 64 * 1024, MOST = 10000 };

static volatile unsigned traps, at;
static char *registered;
static _Atomic unsigned asked, done;
static _Atomic bool over;
static unsigned waited_out;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void *end_when_asked(void *arg)
{
	uintptr_t failed = 0;

	(void)arg;
	while (!atomic_load(&over)) {
		if (atomic_load(&asked) == atomic_load(&done))
			continue;
		failed |= ash_dma_unregister(registered, 0) != 0;
		atomic_fetch_add(&done, 1);
	}
	return (void *)failed;
}

static void trap(ASH_UNUSED int sig, ASH_UNUSED siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	uint64_t since;

	if (++traps != at)
		return;
	u->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	since = now_us();
	atomic_fetch_add(&asked, 1);
	/* It may have to wait for who is interrupted here: then this goes on first. */
	while (atomic_load(&done) != atomic_load(&asked) && now_us() - since < 3000)
		;
	waited_out += atomic_load(&done) != atomic_load(&asked);
}

static uint64_t translate_in_steps(unsigned instruction)
{
	uint64_t phys;

	traps = 0;
	at = instruction;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	phys = ash_dma_translate(registered + BYTES / 2, NULL);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
	return phys;
}

CHILD_TEST(a_registration_ends_at_any_instruction_of_a_translation_in_it)
{
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };
	unsigned all, told = 0;
	pthread_t thread;
	void *failed;
	uint64_t phys;

	registered = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(registered != MAP_FAILED);
	EXPECT_EQ(mlock(registered, BYTES), 0);
	if (ash_dma_register(registered, BYTES) != ASH_DMA_PINNED_KERNEL)
		SKIP("nothing can be pinned here");
	phys = ash_dma_translate(registered + BYTES / 2, NULL);
	EXPECT_EQ(sigaction(SIGTRAP, &action, NULL), 0);
	(void)translate_in_steps(MOST);
	all = traps;
	if (all == 0)
		SKIP("no single steps on this machine");
	EXPECT_LT(all, MOST);
	EXPECT_EQ(pthread_create(&thread, NULL, end_when_asked, NULL), 0);
	for (unsigned i = 1; i <= all; i++) {
		const uint64_t now = translate_in_steps(i);

		while (atomic_load(&done) != atomic_load(&asked))
			;
		EXPECT(now == ASH_DMA_UNKNOWN || now == phys);
		told += now != ASH_DMA_UNKNOWN;
		if (ash_dma_register(registered, BYTES) < 0)
			EXPECT(traps < at);
		/* Not faulted in anew by the pin, or the kernel might have moved it meanwhile. */
		phys = ash_dma_translate(registered + BYTES / 2, NULL);
	}
	atomic_store(&over, true);
	EXPECT_EQ(pthread_join(thread, &failed), 0);
	EXPECT(failed == NULL);
	printf("# %u instructions; at %u of them it had to wait; %u translations were told\n", all, waited_out, told);
}

#else

TEST(a_registration_ends_at_any_instruction_of_a_translation_in_it)
{
	SKIP("single steps are for x86-64");
}

#endif
