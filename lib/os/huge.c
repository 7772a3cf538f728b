/* SPDX-License-Identifier: MIT */
/*
 * Pools, THP mode and cgroup limits from the kernel's files; see huge.h.
 *
 * Files: Documentation/admin-guide/mm/hugetlbpage.rst and transhuge.rst, cgroup-v1/hugetlb.rst, cgroup-v2.rst.
 */
#include <errno.h>
#include <string.h>

#include "os/cgroup.h"
#include "os/file.h"
#include "os/huge.h"
#include "os/process.h"
#include "os/text.h"

enum { ASH_PATH_MAX = 512 };

static int pool_counter(int node, unsigned page_shift, const char *counter, uint64_t *out)
{
	char path[ASH_PATH_MAX];
	struct ash_text t;

	ash_text_init(&t, path, sizeof(path));
	if (node < 0) {
		ash_text_str(&t, "/sys/kernel/mm");
	} else {
		ash_text_str(&t, "/sys/devices/system/node/node");
		ash_text_num(&t, (uint64_t)node);
	}
	ash_text_str(&t, "/hugepages/hugepages-");
	ash_text_num(&t, (1ull << page_shift) >> 10);
	ash_text_str(&t, "kB/");
	ash_text_str(&t, counter);
	return ash_file_num(path, out);
}

int ash_huge_pool(int node, unsigned page_shift, struct ash_huge_pool *out)
{
	struct ash_huge_pool pool;
	int err = pool_counter(node, page_shift, "nr_hugepages", &pool.total);

	if (err == 0)
		err = pool_counter(node, page_shift, "free_hugepages", &pool.free);
	if (err == 0)
		err = pool_counter(node, page_shift, "surplus_hugepages", &pool.surplus);
	if (err == 0)
		*out = pool;
	return err;
}

enum ash_thp_mode ash_thp_mode(void)
{
	char buf[128];

	if (!ash_process_may_have_thp())
		return ASH_THP_NEVER;
	/* A folder that was made the root (chroot) may have no /sys, which says nothing of the kernel. */
	if (ash_file_read("/sys/kernel/mm/transparent_hugepage/enabled", buf, sizeof(buf)) < 0)
		return ASH_THP_MADVISE;
	if (strstr(buf, "[always]") != NULL)
		return ASH_THP_ALWAYS;
	return strstr(buf, "[madvise]") != NULL ? ASH_THP_MADVISE : ASH_THP_NEVER;
}

static int cgroup_num(const char *root, const char *group, unsigned page_shift, const char *file, uint64_t *out)
{
	char path[2 * ASH_PATH_MAX];
	struct ash_text t;

	ash_text_init(&t, path, sizeof(path));
	ash_text_str(&t, root);
	ash_text_str(&t, group);
	ash_text_str(&t, page_shift >= 30 ? "/hugetlb.1GB." : "/hugetlb.2MB.");
	ash_text_str(&t, file);
	return ash_file_num(path, out);
}

/* Limits of 2^62 and more are how version 1 writes "none" (PAGE_COUNTER_MAX in bytes). */
static void read_limit(const char *root, const char *group, unsigned page_shift, const char *limit_file,
		       const char *used_file, uint64_t best[2])
{
	uint64_t limit, used;

	if (cgroup_num(root, group, page_shift, limit_file, &limit) < 0 ||
	    cgroup_num(root, group, page_shift, used_file, &used) < 0)
		return;
	if (limit >= 1ull << 62)
		limit = UINT64_MAX;
	if (limit <= best[0]) {
		best[0] = limit;
		best[1] = used;
	}
}

int ash_huge_cgroup(unsigned page_shift, uint64_t *limit, uint64_t *used)
{
	static const char v1_root[] = "/sys/fs/cgroup/hugetlb";
	struct ash_cgroup_paths paths;
	uint64_t best[2] = { UINT64_MAX, UINT64_MAX };
	int err = ash_cgroup_paths("hugetlb", &paths);

	if (err < 0)
		return err;
	if (paths.v1[0] != '\0') {
		read_limit(v1_root, paths.v1, page_shift, "limit_in_bytes", "usage_in_bytes", best);
		read_limit(v1_root, paths.v1, page_shift, "rsvd.limit_in_bytes", "rsvd.usage_in_bytes", best);
	}
	if (paths.v2[0] != '\0') {
		read_limit("/sys/fs/cgroup", paths.v2, page_shift, "max", "current", best);
		read_limit("/sys/fs/cgroup", paths.v2, page_shift, "rsvd.max", "rsvd.current", best);
	}
	if (best[1] == UINT64_MAX)
		return -ENOENT;
	*limit = best[0];
	*used = best[1];
	return 0;
}
