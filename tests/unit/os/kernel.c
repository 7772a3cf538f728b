/* SPDX-License-Identifier: MIT */
/* vmem, huge, numa, smaps, thread, clock: against the real kernel and against one that refuses. */
#include "harness/test.h"

#include <sys/mman.h>
#include "unit/os/fake_sys.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/clock.h"
#include "os/cgroup.h"
#include "os/huge.h"
#include "os/numa.h"
#include "os/policy.h"
#include "os/process.h"
#include "os/smaps.h"
#include "os/sync.h"
#include "os/thread.h"
#include "os/vmem.h"

/* Runs fn in a child; its exit status, or -signal. */
static int in_child(void (*fn)(void *), void *arg)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void touch(void *p)
{
	*(volatile char *)p = 1;
}

TEST(reserved_space_faults_until_committed_and_again_after_reset)
{
	void *p = NULL;

	EXPECT_EQ(ash_vmem_reserve(ASH_MIB(4), false, &p), 0);
	EXPECT_EQ(in_child(touch, p), -SIGSEGV);
	EXPECT_EQ(ash_vmem_commit(p, ASH_MIB(2)), 0);
	EXPECT_EQ(in_child(touch, p), 0);
	EXPECT_EQ(in_child(touch, (char *)p + ASH_MIB(2)), -SIGSEGV);
	touch(p);
	EXPECT_EQ(ash_vmem_reset(p, ASH_MIB(2)), 0);
	EXPECT_EQ(in_child(touch, p), -SIGSEGV);
	EXPECT_EQ(ash_vmem_commit(p, ASH_PAGE_SIZE), 0);
	EXPECT_EQ(*(char *)p, 0);
	EXPECT_EQ(ash_vmem_unmap(p, ASH_MIB(4)), 0);
}

TEST(discarded_memory_reads_as_zero)
{
	char *p = NULL;

	EXPECT_EQ(ash_vmem_map(ASH_PAGE_SIZE * 2, (void **)&p), 0);
	memset(p, 1, ASH_PAGE_SIZE * 2);
	EXPECT_EQ(ash_vmem_discard(p, ASH_PAGE_SIZE), 0);
	EXPECT_EQ(p[0], 0);
	EXPECT_EQ(p[ASH_PAGE_SIZE], 1);
	ash_vmem_unmap(p, ASH_PAGE_SIZE * 2);
}

TEST(moving_a_mapping_keeps_its_bytes)
{
	char *from = NULL, *to = NULL;

	EXPECT_EQ(ash_vmem_map(ASH_PAGE_SIZE, (void **)&from), 0);
	EXPECT_EQ(ash_vmem_reserve(ASH_PAGE_SIZE, false, (void **)&to), 0);
	strcpy(from, "payload");
	EXPECT_EQ(ash_vmem_move(from, to, ASH_PAGE_SIZE), 0);
	EXPECT_STREQ(to, "payload");
	EXPECT_EQ(in_child(touch, from), -SIGSEGV);
	ash_vmem_unmap(to, ASH_PAGE_SIZE);
}

TEST(errors_are_negative_errnos_and_errno_is_left_alone)
{
	void *p = (void *)8;

	errno = 99;
	EXPECT_EQ(ash_vmem_commit((void *)8, ASH_PAGE_SIZE), -EINVAL);
	fake_on();
	fake_fail(__NR_mmap, NULL, 0, 1, -ENOMEM);
	EXPECT_EQ(ash_vmem_reserve(ASH_PAGE_SIZE, true, &p), -ENOMEM);
	fake_off();
	EXPECT_EQ((uintptr_t)p, 8);
	EXPECT_EQ(errno, 99);
}

TEST(populate_retries_when_interrupted_and_falls_back_before_linux_5_14)
{
	char *p = NULL;

	EXPECT_EQ(ash_vmem_map(ASH_PAGE_SIZE, (void **)&p), 0);
	fake_on();
	fake_fail(__NR_madvise, NULL, 0, 3, -EAGAIN);
	EXPECT_EQ(ash_vmem_populate(p, ASH_PAGE_SIZE), 0);
	EXPECT_EQ(fake.calls[__NR_madvise], 4);
	fake_on();
	fake_fail(__NR_madvise, NULL, 0, UINT_MAX, -EINVAL);
	fake_fail(__NR_mlock, NULL, 0, 1, -ENOMEM);
	EXPECT_EQ(ash_vmem_populate(p, ASH_PAGE_SIZE), -ENOMEM);
	EXPECT_EQ(ash_vmem_populate(p, ASH_PAGE_SIZE), 0);
	fake_on();
	fake_fail(__NR_madvise, NULL, 0, UINT_MAX, -EAGAIN);
	EXPECT_EQ(ash_vmem_populate(p, ASH_PAGE_SIZE), -EAGAIN);
	fake_off();
	ash_vmem_unmap(p, ASH_PAGE_SIZE);
}

/* Every page of the range belongs to some mapping: nobody else's can come to lie in it. */
static bool all_mapped(void *addr, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += ASH_MIB(2)) {
		void *p = (char *)addr + at;
		void *got = mmap(p, ASH_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (got == p)
			return false;
		if (got != MAP_FAILED)
			munmap(got, ASH_PAGE_SIZE);
	}
	return true;
}

/*
 * A refusal leaves the reservation closed. (mmap with MAP_FIXED removes what was there before it finds that the pool
 * cannot promise the pages: thread stacks then land in the hole, and the next mapping goes over them.)
 */
TEST(hugetlb_beyond_the_pool_is_refused_and_leaves_no_hole)
{
	struct ash_huge_pool pool;
	void *p = NULL, *aligned, *none = NULL;
	int err;

	if (ash_huge_pool(-1, ASH_HUGE_2M_SHIFT, &pool) < 0)
		SKIP("no pool of 2 MiB pages in this kernel");
	EXPECT_EQ(ash_vmem_reserve(ASH_GIB(64) + ASH_MIB(4), false, &p), 0);
	aligned = (void *)ash_align_up((uintptr_t)p, ASH_MIB(2));
	EXPECT(all_mapped(aligned, ASH_GIB(1)));
	err = ash_vmem_map_hugetlb_at(aligned, ASH_GIB(64), ASH_HUGE_2M_SHIFT);
	EXPECT(all_mapped(aligned, ASH_GIB(1)));
	if (err == 0)
		err = ash_vmem_populate(aligned, ASH_GIB(64));
	EXPECT_LT(err, 0);
	EXPECT_EQ(ash_vmem_reset(aligned, ASH_GIB(64)), 0);
	EXPECT(all_mapped(aligned, ASH_GIB(1)));
	EXPECT_EQ(ash_vmem_map_hugetlb(ASH_GIB(64), ASH_HUGE_2M_SHIFT, &none), -ENOMEM);
	EXPECT(none == NULL);
	/* A hole is closed, and what is there stays. */
	ash_vmem_unmap(aligned, ASH_MIB(2));
	EXPECT(!all_mapped(aligned, ASH_MIB(2)));
	EXPECT_EQ(ash_vmem_close(aligned, ASH_MIB(2)), 0);
	EXPECT(all_mapped(aligned, ASH_GIB(1)));
	EXPECT_EQ(ash_vmem_commit(aligned, ASH_PAGE_SIZE), 0);
	*(char *)aligned = 5;
	EXPECT_EQ(ash_vmem_close(aligned, ASH_PAGE_SIZE), 0);
	EXPECT_EQ(*(char *)aligned, 5);
	ash_vmem_unmap(p, ASH_GIB(64) + ASH_MIB(4));
}

TEST(pools_are_read_per_node_and_for_the_machine)
{
	struct ash_huge_pool pool = { 0, 0, 0 };

	fake_on();
	fake.files_only = true;
	fake_file("/sys/devices/system/node/node3/hugepages/hugepages-2048kB/nr_hugepages", "16\n");
	fake_file("/sys/devices/system/node/node3/hugepages/hugepages-2048kB/free_hugepages", "5\n");
	fake_file("/sys/devices/system/node/node3/hugepages/hugepages-2048kB/surplus_hugepages", "2\n");
	EXPECT_EQ(ash_huge_pool(3, ASH_HUGE_2M_SHIFT, &pool), 0);
	EXPECT_EQ(pool.total, 16);
	EXPECT_EQ(pool.free, 5);
	EXPECT_EQ(pool.surplus, 2);
	EXPECT_EQ(ash_huge_pool(-1, ASH_HUGE_2M_SHIFT, &pool), -ENOENT);
	EXPECT_EQ(ash_huge_pool(3, ASH_HUGE_1G_SHIFT, &pool), -ENOENT);
	EXPECT_EQ(pool.total, 16);
	fake_off();
}

TEST(the_thp_mode_is_the_bracketed_word)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";

	fake_on();
	fake.files_only = true;
	fake_file(path, "always [madvise] never\n");
	EXPECT_EQ(ash_thp_mode(), ASH_THP_MADVISE);
	fake.files[0].text = "[always] madvise never\n";
	EXPECT_EQ(ash_thp_mode(), ASH_THP_ALWAYS);
	fake_file("/proc/thread-self/status", "Name:\tx\nTHP_enabled:\t1\nSeccomp:\t0\n");
	EXPECT_EQ(ash_thp_mode(), ASH_THP_ALWAYS);
	fake.files[1].text = "Name:\tx\nTHP_enabled:\t0\nSeccomp:\t0\n";
	EXPECT_EQ(ash_thp_mode(), ASH_THP_NEVER);
	fake.files[1].text = "Name:\tx\n";
	fake.files[0].text = "always madvise [never]\n";
	EXPECT_EQ(ash_thp_mode(), ASH_THP_NEVER);
	EXPECT_EQ(fake.calls[__NR_prctl], 0);
	fake_off();
}

/* As in a folder that was made the root: that there is no /sys does not say that there are no huge pages. */
TEST(a_thp_mode_that_cannot_be_read_is_not_taken_for_never)
{
	fake_on();
	fake.files_only = true;
	EXPECT_EQ(ash_thp_mode(), ASH_THP_MADVISE);
	fake_file("/proc/thread-self/status", "Name:\tx\nTHP_enabled:\t0\n");
	EXPECT_EQ(ash_thp_mode(), ASH_THP_NEVER);
	fake_off();
}

TEST(cgroup_limits_of_both_versions_are_found)
{
	uint64_t limit = 0, used = 0;

	fake_on();
	fake.files_only = true;
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_2M_SHIFT, &limit, &used), -ENOENT);
	fake_file("/proc/self/cgroup", "5:cpu,hugetlb:/box\n0::/slice/x\n");
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_2M_SHIFT, &limit, &used), -ENOENT);
	fake_file("/sys/fs/cgroup/hugetlb/box/hugetlb.2MB.limit_in_bytes", "8388608\n");
	fake_file("/sys/fs/cgroup/hugetlb/box/hugetlb.2MB.usage_in_bytes", "2097152\n");
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_2M_SHIFT, &limit, &used), 0);
	EXPECT_EQ(limit, 8388608);
	EXPECT_EQ(used, 2097152);
	fake_file("/sys/fs/cgroup/slice/x/hugetlb.2MB.rsvd.max", "4194304\n");
	fake_file("/sys/fs/cgroup/slice/x/hugetlb.2MB.rsvd.current", "0\n");
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_2M_SHIFT, &limit, &used), 0);
	EXPECT_EQ(limit, 4194304);
	EXPECT_EQ(used, 0);
	fake_on();
	fake.files_only = true;
	fake_file("/proc/self/cgroup", "0::/\n");
	fake_file("/sys/fs/cgroup/hugetlb.1GB.max", "max\n");
	fake_file("/sys/fs/cgroup/hugetlb.1GB.current", "0\n");
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_1G_SHIFT, &limit, &used), -ENOENT);
	fake_file("/sys/fs/cgroup//hugetlb.1GB.max", "max\n");
	fake_file("/sys/fs/cgroup//hugetlb.1GB.current", "0\n");
	EXPECT_EQ(ash_huge_cgroup(ASH_HUGE_1G_SHIFT, &limit, &used), 0);
	EXPECT(limit == UINT64_MAX);
	fake_off();
}

TEST(the_nearest_memory_limit_of_a_cgroup_and_those_above_it_is_found)
{
	uint64_t limit = 0, used = 0;

	fake_on();
	fake.files_only = true;
	EXPECT_EQ(ash_cgroup_memory(&limit, &used), -ENOENT);
	fake_file("/proc/self/cgroup", "7:cpu,memory:/old\n0::/slice/x\n");
	EXPECT_EQ(ash_cgroup_memory(&limit, &used), -ENOENT);
	/* The own group has no limit; the one above has, and room for less than its number says. */
	fake_file("/sys/fs/cgroup/slice/x/memory.max", "max\n");
	fake_file("/sys/fs/cgroup/slice/x/memory.current", "4096\n");
	fake_file("/sys/fs/cgroup/slice/memory.max", "1048576\n");
	fake_file("/sys/fs/cgroup/slice/memory.current", "700000\n");
	fake_file("/sys/fs/cgroup/slice/memory.stat", "anon 1\nfile 300000\ninactive_file 200000\nactive_file 5\n");
	EXPECT_EQ(ash_cgroup_memory(&limit, &used), 0);
	EXPECT_EQ(limit, 1048576);
	EXPECT_EQ(used, 500000);
	/* A smaller limit with more room behind it is farther away. */
	fake_file("/sys/fs/cgroup/memory/old/memory.limit_in_bytes", "900000\n");
	fake_file("/sys/fs/cgroup/memory/old/memory.usage_in_bytes", "100\n");
	EXPECT_EQ(ash_cgroup_memory(&limit, &used), 0);
	EXPECT_EQ(limit, 1048576);
	/* A container sees its own group as the root. */
	fake_on();
	fake.files_only = true;
	fake_file("/proc/self/cgroup", "0::/\n");
	fake_file("/sys/fs/cgroup/memory.max", "2097152\n");
	fake_file("/sys/fs/cgroup/memory.current", "8192\n");
	EXPECT_EQ(ash_cgroup_memory(&limit, &used), 0);
	EXPECT_EQ(limit, 2097152);
	EXPECT_EQ(used, 8192);
	fake_off();
}

static bool fill_sysinfo(long nr, long a, long b, long c, long d, long e, long *ret)
{
	(void)b, (void)c, (void)d, (void)e;
	if (nr != __NR_sysinfo)
		return false;
	*(struct sysinfo *)a = (struct sysinfo){ .totalram = 2560 << 8, .mem_unit = 4096 };
	*ret = 0;
	return true;
}

/* The kernel keeps so much of the whole machine's memory, of each node's by its size: an eighth of it, here. */
TEST(of_a_nodes_memory_its_share_of_the_kernels_reserve_is_left)
{
	static const char node[] = "Node 5 MemTotal:         327680 kB\nNode 5 MemFree:          283000 kB\n"
				   "Node 5 MemUsed:           20000 kB\nNode 5 Inactive(file):     1000 kB\n";
	static const char reserve[] = "/proc/sys/vm/min_free_kbytes";

	fake_on();
	fake.files_only = true;
	EXPECT_EQ(ash_numa_available(5), UINT64_MAX);
	fake_file("/sys/devices/system/node/node5/meminfo", node);
	EXPECT_EQ(ash_numa_available(5), 284000 << 10);
	fake.front = fill_sysinfo;
	fake_file(reserve, "131072\n");
	EXPECT_EQ(ash_numa_available(5), (284000 - 2 * 131072 / 8) << 10);
	/* More than all that is free. */
	fake.nr_files--;
	fake_file(reserve, "1200000\n");
	EXPECT_EQ(ash_numa_available(5), 0);
	/* How much the machine has is not told: all of the reserve could lie here. */
	fake.nr_files--;
	fake_file(reserve, "131072\n");
	fake.front = NULL;
	fake_fail(__NR_sysinfo, NULL, 0, 1, -ENOSYS);
	EXPECT_EQ(ash_numa_available(5), (284000 - 2 * 131072) << 10);
	fake_file("/proc/meminfo", "MemTotal: 2621440 kB\nMemFree: 1 kB\nMemAvailable: 2000000 kB\n");
	EXPECT_EQ(ash_numa_available(-1), 2000000ull << 10);
	fake_off();
}

TEST(a_kernel_that_refuses_numa_is_one_node)
{
	const struct ash_policy prefer = { .mode = ASH_POLICY_PREFERRED, .nodes = 1 };
	struct ash_policy task = { .mode = ASH_POLICY_MODES };
	void *page = &fake;
	int node = 0;

	EXPECT_NE(ash_numa_allowed(), 0);
	fake_on();
	fake_fail(__NR_get_mempolicy, NULL, 0, UINT_MAX, -EPERM);
	EXPECT_EQ(ash_numa_allowed(), 1);
	EXPECT(!ash_numa_may_be_several());
	EXPECT_EQ(ash_policy_of_task(&task), 0);
	EXPECT_EQ(task.mode, ASH_POLICY_DEFAULT);
	fake_fail(__NR_mbind, NULL, 0, 1, -ENOSYS);
	EXPECT_EQ(ash_policy_apply(&page, ASH_PAGE_SIZE, &prefer), -ENOSYS);
	fake_fail(__NR_move_pages, NULL, 0, 1, -EPERM);
	EXPECT_EQ(ash_numa_where(1, &page, &node), -EPERM);
	fake_off();
}

TEST(bound_memory_is_where_it_was_asked_for)
{
	char *p = NULL;
	int node = -1;
	int want = (int)ash_ctz(ash_numa_allowed());
	const struct ash_policy bind = { .mode = ASH_POLICY_BIND, .nodes = 1ull << want };

	EXPECT_EQ(ash_vmem_map(ASH_PAGE_SIZE, (void **)&p), 0);
	if (ash_policy_apply(p, ASH_PAGE_SIZE, &bind) < 0)
		SKIP("the kernel does not let this process bind memory");
	EXPECT_EQ(ash_numa_where(1, (void *const *)&p, &node), 0);
	EXPECT_EQ(node, -ENOENT);
	touch(p);
	EXPECT_EQ(ash_numa_where(1, (void *const *)&p, &node), 0);
	EXPECT_EQ(node, want);
	ash_vmem_unmap(p, ASH_PAGE_SIZE);
}

TEST(topology_is_parsed_from_sysfs_with_holes_in_the_node_numbers)
{
	static const int expected[] = { 20, 0, 10, 30, 40 };
	int distance[ASH_NODES_MAX];

	fake_on();
	fake.files_only = true;
	EXPECT_EQ(ash_numa_topology()->with_memory(), 0);
	ash_numa_topology()->distances(0, distance);
	for (int node = 0; node < ASH_NODES_MAX; node++)
		EXPECT_EQ(distance[node], 0);
	fake_file("/sys/devices/system/node/has_memory", "0,2-3\n");
	fake_file("/sys/devices/system/node/online", "0,2-4\n");
	fake_file("/sys/devices/system/node/node2/distance", "20 10 30 40\n");
	EXPECT_EQ(ash_numa_topology()->with_memory(), 0xd);
	ash_numa_topology()->distances(2, distance);
	for (int node = 0; node < ASH_NODES_MAX; node++)
		EXPECT_EQ(distance[node], node < 5 ? expected[node] : 0);
	fake_off();
}

#ifdef HAVE_LIBNUMA
TEST(libnuma_agrees_with_sysfs)
{
	const struct ash_numa_topology *sysfs = ash_numa_topology();
	int node = (int)ash_ctz(ash_numa_allowed()), by_sysfs[ASH_NODES_MAX], by_libnuma[ASH_NODES_MAX];

	if (ash_numa_use_libnuma() < 0)
		SKIP("libnuma has no NUMA here");
	EXPECT(ash_numa_topology() != sysfs);
	EXPECT_EQ(ash_numa_topology()->with_memory(), sysfs->with_memory());
	ash_numa_topology()->distances(node, by_libnuma);
	sysfs->distances(node, by_sysfs);
	EXPECT_EQ(memcmp(by_libnuma, by_sysfs, sizeof(by_sysfs)), 0);
	ash_numa_topology_set(NULL);
	EXPECT(ash_numa_topology() == sysfs);
}
#endif

TEST(smaps_counts_what_was_touched)
{
	struct ash_smaps s = { 0, 0, 0, 0, 0 };
	char *p = NULL;

	EXPECT_EQ(ash_vmem_map(ASH_MIB(1), (void **)&p), 0);
	/* A mapping of its own: neighbours of the same kind would merge and hide its beginning. */
	EXPECT_EQ(ash_vmem_advise(p, ASH_MIB(1), ASH_VMEM_DONTFORK), 0);
	for (unsigned i = 0; i < 5; i++)
		touch(p + i * ASH_PAGE_SIZE);
	EXPECT_EQ(ash_smaps_read((uintptr_t)p, (uintptr_t)p + ASH_MIB(1), &s), 0);
	EXPECT_EQ(s.mappings, 1);
	EXPECT_EQ(s.base + s.thp, 5 * ASH_PAGE_SIZE);
	ash_vmem_unmap(p, ASH_MIB(1));
}

TEST(a_filter_is_seen_and_what_cannot_be_seen_is_one)
{
	static const struct {
		const char *status;
		bool filtered;
	} cases[] = {
		{ "Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n", false },
		{ "Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n", true },
		{ "Name:\tx\n", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_on();
		fake_file("/proc/thread-self/status", cases[i].status);
		EXPECT_EQ(ash_process_filtered(), cases[i].filtered);
		fake_fail(__NR_openat, NULL, 0, 1, -EACCES);
		EXPECT(ash_process_filtered());
		fake_off();
	}
}

TEST(smaps_sorts_bytes_by_backing)
{
	struct ash_smaps s = { 0, 0, 0, 0, 0 };

	fake_on();
	fake_file("/proc/self/smaps",
		  "0fff0000-10000000 rw-p 0 00:00 0\nKernelPageSize: 4 kB\nRss: 64 kB\n"
		  "10000000-10400000 rw-p 0 00:00 0 [anon:x]\nKernelPageSize: 4 kB\n"
		  "Rss: 2052 kB\nAnonHugePages: 2048 kB\n"
		  "10400000-10800000 rw-p 0 00:0f 1 /anon_hugepage (deleted)\nKernelPageSize: 2048 kB\nRss: 0 kB\n"
		  "Shared_Hugetlb: 2048 kB\nPrivate_Hugetlb: 4096 kB\n"
		  "40000000-80000000 rw-p 0 00:0f 1 /anon_hugepage (deleted)\nKernelPageSize: 1048576 kB\n"
		  "Private_Hugetlb: 1048576 kB\n"
		  "90000000-90001000 rw-p 0 00:00 0\nKernelPageSize: 4 kB\nRss: 4 kB\n");
	EXPECT_EQ(ash_smaps_read(0x10000000, 0x90000000, &s), 0);
	EXPECT_EQ(s.mappings, 3);
	EXPECT_EQ(s.base, ASH_KIB(4));
	EXPECT_EQ(s.thp, ASH_MIB(2));
	EXPECT_EQ(s.huge_2m, ASH_MIB(6));
	EXPECT_EQ(s.huge_1g, ASH_GIB(1));
	fake_fail(__NR_openat, NULL, 0, 1, -EACCES);
	EXPECT_EQ(ash_smaps_read(0, 1, &s), -EACCES);
	EXPECT_EQ(s.mappings, 3);
	fake_off();
}

static _Atomic int exits;

static void count_exit(void)
{
	exits++;
}

static void *armed_thread(ASH_UNUSED void *arg)
{
	return (void *)(intptr_t)ash_thread_on_exit(count_exit);
}

static int exits_seen_by_peer;
static pthread_key_t peer_key;

/* The hook must come after the first destructor of every key, whichever key is older. */
static void peer_destructor(ASH_UNUSED void *value)
{
	exits_seen_by_peer = exits;
}

static void *armed_thread_with_peer(void *key)
{
	pthread_setspecific(*(pthread_key_t *)key, key);
	return (void *)(intptr_t)ash_thread_on_exit(count_exit);
}

/* Arms the hook in the round that the value says. */
static void arming_destructor(void *value)
{
	if ((uintptr_t)value > 1)
		pthread_setspecific(peer_key, (void *)((uintptr_t)value - 1));
	else if (ash_thread_on_exit(count_exit) != 0)
		exits = -1000;
}

/* Never armed while it runs: a destructor is the first to need the hook. */
static void *thread_armed_at_its_end(void *value)
{
	pthread_setspecific(peer_key, value);
	return NULL;
}

static int run_with_peer(void (*destructor)(void *), void *(*fn)(void *), void *arg)
{
	void *err = NULL;
	pthread_t t;

	exits = 0;
	exits_seen_by_peer = -1;
	EXPECT_EQ(pthread_key_create(&peer_key, destructor), 0);
	EXPECT_EQ(pthread_create(&t, NULL, fn, arg), 0);
	EXPECT_EQ(pthread_join(t, &err), 0);
	EXPECT_EQ((intptr_t)err, 0);
	pthread_key_delete(peer_key);
	return exits;
}

TEST(thread_exit_is_told_once_and_after_other_destructors)
{
	pthread_t t;
	void *err = NULL;

	exits = 0;
	pthread_create(&t, NULL, armed_thread, NULL);
	pthread_join(t, &err);
	EXPECT_EQ((intptr_t)err, 0);
	EXPECT_EQ(exits, 1);
	EXPECT_EQ(run_with_peer(peer_destructor, armed_thread_with_peer, &peer_key), 1);
	EXPECT_EQ(exits_seen_by_peer, 0);
}

TEST(thread_exit_is_told_when_armed_by_a_destructor)
{
	EXPECT_EQ(run_with_peer(arming_destructor, thread_armed_at_its_end, (void *)1), 1);
	EXPECT_EQ(run_with_peer(arming_destructor, thread_armed_at_its_end, (void *)2), 1);
}

TEST(the_clock_runs_and_can_be_turned)
{
	uint64_t t = ash_clock_ms();

	EXPECT_GT(t, 0);
	EXPECT_GE(ash_clock_ms(), t);
	fake_on();
	fake_clock(12345);
	EXPECT_EQ(ash_clock_ms(), 12345);
	fake_off();
}

static struct ash_lock lock = ASH_LOCK_INIT;
static unsigned counted;

static void *count_under_lock(ASH_UNUSED void *arg)
{
	for (unsigned i = 0; i < 20000; i++) {
		ash_lock(&lock, &ash_futex_ops);
		counted++;
		ash_unlock(&lock, &ash_futex_ops);
	}
	return NULL;
}

TEST(futex_locks_exclude_and_wake)
{
	pthread_t t[4];

	counted = 0;
	for (unsigned i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, count_under_lock, NULL);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(counted, 80000);
	EXPECT(!ash_lock_is_held(&lock));
	EXPECT_EQ(ash_gettid(), getpid());
}
