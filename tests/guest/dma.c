/* SPDX-License-Identifier: MIT */
/*
 * A real device reads and writes buffers: by physical address, then behind an IOMMU. Runs in a guest whose pools and
 * device tests/guest/meson.build gives it. One process: what one test leaves in the arenas, the next one meets.
 */
#include "dma/witness.h"
#include "guest/edu.h"

#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static struct edu edu;
static unsigned char patterns;

static char *get(size_t bytes, struct ash_dma_attr attr)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	char text[512], *p;

	attr.error = &error;
	p = ash_dma_alloc(bytes, &attr);
	if (p == NULL) {
		(void)ash_dma_explain(&error, text, sizeof(text));
		TEST_FAIL("no buffer: %s", text);
	}
	return p;
}

static struct ash_dma_attr wish_pages(enum ash_dma_level level, enum ash_dma_pages pages)
{
	struct ash_dma_attr attr = wish(level);

	attr.pages = pages;
	attr.flags = ASH_DMA_PAGES_STRICT;
	return attr;
}

/* Have the device copy [from, from + bytes) to to, range by range as the addresses of both allow. */
static void device_copies(const struct ash_dma_iommu *iommu, const char *from, char *to, size_t bytes)
{
	while (bytes > 0) {
		size_t n = bytes < EDU_MOST ? bytes : EDU_MOST, len = n;
		const uint64_t source = ash_dma_iova(iommu, from, &len);
		const uint64_t target = ash_dma_iova(iommu, to, &n);

		EXPECT_NE(source, ASH_DMA_UNKNOWN);
		EXPECT_NE(target, ASH_DMA_UNKNOWN);
		n = n < len ? n : len;
		edu_copy(&edu, source, target, n);
		from += n;
		to += n;
		bytes -= n;
	}
}

/* A copy by the device arrives, whole, where it was sent and nowhere else. */
static void check_copy(const struct ash_dma_iommu *iommu, char *from, char *to, size_t bytes)
{
	patterns += 17;
	for (size_t i = 0; i < bytes; i++)
		from[i] = (char)(i * 7 + patterns);
	memset(to, 0, bytes);
	to[-1] = to[bytes] = 0x55;
	device_copies(iommu, from, to, bytes);
	EXPECT_EQ(memcmp(from, to, bytes), 0);
	EXPECT_EQ(to[-1], 0x55);
	EXPECT_EQ(to[bytes], 0x55);
}

TEST(the_device_is_there)
{
	EXPECT(edu_find(&edu));
	edu_open_raw(&edu);
	*(volatile uint32_t *)(edu.bar + 4) = 0x12345678;
	EXPECT_EQ(*(volatile uint32_t *)(edu.bar + 4), ~0x12345678u);
	EXPECT(witness_sees());
}

TEST(by_physical_address_within_and_across_frames)
{
	char *p = get(KIB(32), wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M));

	witness_agrees(p, KIB(32));
	check_copy(NULL, p + 100, p + KIB(8) + 3, 600);
	check_copy(NULL, p + KIB(4) - 700, p + KIB(20) - 900, 2000);
	EXPECT_EQ(ash_dma_free(p), 0);
}

TEST(by_physical_address_across_huge_pages_that_are_neighbours_in_the_machine)
{
	char *p = get(MIB(6), wish(ASH_DMA_PHYSICAL));

	witness_agrees(p, MIB(6));
	EXPECT_EQ(describe(p).nr_segments, 1);
	/* In one transfer each: the device knows nothing of pages. */
	check_copy(NULL, p + MIB(2) - 1500, p + MIB(4) - 2000, EDU_MOST - 5);
	EXPECT_EQ(ash_dma_free(p), 0);
}

TEST(by_segments_where_the_machine_has_gaps)
{
	char *hole, *p;

	/* Every other huge page is somebody's, so that a run of several is none in the machine. */
	for (unsigned i = 0; i < 4; i++) {
		hole = get(MIB(2), wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M));
		(void)get(KIB(4), wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M));
		EXPECT(hole != NULL);
	}
	p = get(MIB(7), wish_pages(ASH_DMA_VIRTUAL, ASH_DMA_PAGES_2M));
	witness_agrees(p, MIB(7));
	check_copy(NULL, p + MIB(2) - 1000, p + MIB(4) - 2000, 3000);
	EXPECT_EQ(ash_dma_free(p), 0);
}

TEST(into_transparent_huge_pages_that_the_kernel_pins)
{
	char *p = get(MIB(2), wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_THP));

	EXPECT_EQ(describe(p).pinned, ASH_DMA_PINNED_KERNEL);
	witness_agrees(p, MIB(2));
	check_copy(NULL, p + KIB(512) - 33, p + MIB(1) - 1000, 2500);
	EXPECT_EQ(ash_dma_free(p), 0);
}

TEST(more_than_a_node_has_is_refused_and_nobody_is_killed)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);

	attr.node = 1;
	attr.flags = ASH_DMA_NODE_STRICT;
	EXPECT(ash_dma_alloc(MIB(512), &attr) == NULL);
}

/* What else there is to be had, each with room around the bytes that are copied. */
enum { KIND_SMALL, KIND_POOL, KIND_RESERVE, KIND_SHARED, KIND_BASE, KIND_REGISTERED, KINDS, KIND_BYTES = 2040 };
static struct ash_dma_pool *pool;
static char *kind[KINDS];

static void get_kinds(const struct ash_dma_iommu *iommu)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);

	kind[KIND_SMALL] = get(2048, wish(ASH_DMA_PHYSICAL));
	if (pool == NULL)
		pool = ash_dma_pool_create("edu", 9000, 0, 0, &attr);
	EXPECT(pool != NULL);
	kind[KIND_POOL] = ash_dma_pool_get(pool);
	(void)ash_dma_reserve("edu", MIB(2), NULL);
	attr.reserve = "edu";
	kind[KIND_RESERVE] = get(KIB(64), attr);
	attr = wish(ASH_DMA_VIRTUAL);
	attr.flags = ASH_DMA_SHARED;
	kind[KIND_SHARED] = get(MIB(2), attr);
	/* Base pages have a device address behind an IOMMU only. */
	kind[KIND_BASE] = iommu != NULL ? get(KIB(64), wish_pages(ASH_DMA_VIRTUAL, ASH_DMA_PAGES_BASE)) :
					  get(KIB(64), wish(ASH_DMA_PHYSICAL));
	kind[KIND_REGISTERED] = mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(kind[KIND_REGISTERED] != MAP_FAILED);
	EXPECT_EQ(ash_dma_register(kind[KIND_REGISTERED], KIB(64)), ASH_DMA_PINNED_KERNEL);
}

/* From each kind into the next, in the larger ones across a boundary of frames. */
static void copy_kinds(const struct ash_dma_iommu *iommu)
{
	for (unsigned i = 0; i < KINDS; i++) {
		char *from = kind[i], *to = kind[(i + 1) % KINDS];

		EXPECT(from != NULL && to != NULL);
		from += i == KIND_SMALL ? 4 : KIB(4) - 1000;
		to += (i + 1) % KINDS == KIND_SMALL ? 4 : KIB(4) - 500;
		check_copy(iommu, from, to, KIND_BYTES);
	}
}

static void end_kinds(void)
{
	ash_dma_pool_put(pool, kind[KIND_POOL]);
	EXPECT_EQ(ash_dma_free(kind[KIND_SMALL]) | ash_dma_free(kind[KIND_RESERVE]) | ash_dma_free(kind[KIND_BASE]), 0);
}

TEST(into_every_kind_of_buffer_by_physical_address)
{
	get_kinds(NULL);
	copy_kinds(NULL);
	end_kinds();
	EXPECT_EQ(ash_dma_free(kind[KIND_SHARED]), 0);
	EXPECT_EQ(ash_dma_unregister(kind[KIND_REGISTERED], 0), 0);
}

TEST(into_a_gibibyte_in_one_segment)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	char *p;

	attr.align = (size_t)1 << 30;
	attr.node = 0;
	p = get((size_t)1 << 30, attr);
	EXPECT_EQ(describe(p).nr_segments, 1);
	EXPECT_EQ(describe(p).pages, ASH_DMA_PAGES_1G);
	EXPECT_EQ(witness_phys(p + MIB(777)), ash_dma_translate(p, NULL) + MIB(777));
	check_copy(NULL, p + MIB(300) - 2000, p + MIB(1022) - 1000, 3000);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_GE(ash_dma_trim(), (size_t)1 << 30);
}

static bool free_gigantic(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "r");
	long n = 0;

	EXPECT(f != NULL);
	EXPECT_EQ(fscanf(f, "%ld", &n), 1);
	fclose(f);
	return n > 0;
}

/* As an administrator does who wants long runs of small pages: what a page of 1 GiB is split into lies side by side. */
TEST(into_half_a_gibibyte_of_a_demoted_page)
{
	const int fd = open("/sys/kernel/mm/hugepages/hugepages-1048576kB/demote", O_WRONLY | O_CLOEXEC);
	const struct timespec pause = { 0, 10000000 };
	struct ash_dma_attr attr = wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M);
	char *p;

	/* The one that the test before has had comes back when the kernel has let go of its pin. */
	while (!free_gigantic())
		nanosleep(&pause, NULL);
	EXPECT(fd >= 0);
	EXPECT_EQ(write(fd, "1", 1), 1);
	close(fd);
	attr.node = 0;
	attr.flags |= ASH_DMA_NODE_STRICT;
	p = get(MIB(512), attr);
	EXPECT_EQ(describe(p).nr_segments, 1);
	EXPECT_EQ(describe(p).pages, ASH_DMA_PAGES_2M);
	for (size_t at = 0; at < MIB(512); at += MIB(2))
		EXPECT_EQ(witness_phys(p + at), ash_dma_translate(p, NULL) + at);
	check_copy(NULL, p + MIB(2) - 2000, p + MIB(510) - 1500, EDU_MOST - 7);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_GE(ash_dma_trim(), MIB(512));
}

TEST(a_freed_buffer_is_not_written)
{
	char *a = get(KIB(16), wish(ASH_DMA_PHYSICAL)), *b = get(KIB(16), wish(ASH_DMA_PHYSICAL)), *c;
	const uint64_t phys = ash_dma_translate(a, NULL);

	memset(a, 0x11, KIB(16));
	EXPECT_EQ(ash_dma_free(a), 0);
	/* Whoever gets the frames next finds in them what it wrote, whatever is copied beside them. */
	c = get(KIB(16), wish(ASH_DMA_PHYSICAL));
	EXPECT_EQ(ash_dma_translate(c, NULL), phys);
	memset(c, 0x22, KIB(16));
	check_copy(NULL, b + 1, b + KIB(8), KIB(8) - 2 < EDU_MOST ? KIB(8) - 2 : EDU_MOST);
	for (size_t i = 0; i < KIB(16); i++)
		EXPECT_EQ(c[i], 0x22);
	EXPECT_EQ(ash_dma_free(b) | ash_dma_free(c), 0);
}

enum { OBJECTS = 8192, RUN = 16 };
static unsigned char *object[OBJECTS];
static unsigned moves;

/* Have the arena own a run of many megabytes, free: what is to be emptied later, and where its contents can go. */
static void own_run(void)
{
	struct ash_dma_attr attr = wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M);

	attr.node = 0;
	attr.flags |= ASH_DMA_NODE_STRICT;
	EXPECT_EQ(ash_dma_free(get(MIB(RUN), attr)), 0);
}

/* All that is free becomes objects, and every second of these free: nowhere are there two free frames side by side. */
static size_t fill_with_objects(const struct ash_dma_object_ops *ops)
{
	size_t n = 0;

	while (n < OBJECTS && (object[n] = ash_dma_alloc_object(4096, ops, &object[n], 0,
								ASH_DMA_NO_GROW | ASH_DMA_NODE_STRICT)) != NULL) {
		memset(object[n], (int)(n % 251), 4096);
		n++;
	}
	EXPECT_GE(n, MIB(RUN) / 4096);
	EXPECT_LT(n, OBJECTS);
	for (size_t i = 0; i < n; i += 2) {
		EXPECT_EQ(ash_dma_free(object[i]), 0);
		object[i] = NULL;
	}
	return n;
}

static int on_move(void *to, void *from, size_t bytes, void *arg)
{
	unsigned char **at = arg;

	EXPECT(*at == from);
	memcpy(to, from, bytes);
	/* Whoever still wrote to the old place would be seen there. */
	memset(from, 0x99, bytes);
	*at = to;
	moves++;
	return 0;
}

TEST(after_fragmentation_the_device_has_a_long_run_and_moved_objects_are_not_written)
{
	const struct ash_dma_object_ops movable = { on_move, NULL };
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	size_t n;
	char *p;

	own_run();
	n = fill_with_objects(&movable);
	attr.flags = ASH_DMA_NO_GROW | ASH_DMA_NODE_STRICT;
	attr.node = 0;
	p = get(MIB(3), attr);
	EXPECT_GT(moves, 0);
	witness_agrees(p, MIB(3));
	check_copy(NULL, p + MIB(2) - 2000, p + MIB(1), EDU_MOST);
	check_copy(NULL, p + 1, p + MIB(3) - EDU_MOST - 1, EDU_MOST);
	for (size_t i = 1; i < n; i += 2) {
		for (size_t k = 0; k < 4096; k++)
			EXPECT_EQ(object[i][k], i % 251);
		EXPECT_EQ(ash_dma_free(object[i]), 0);
	}
	EXPECT_EQ(ash_dma_verify(), 0);
	EXPECT_EQ(ash_dma_free(p), 0);
}

/* What move_pages(2) did with the page of p when asked to take it to a node. */
static int moved_to(void *p, int node)
{
	int status = -1;

	EXPECT_EQ(syscall(SYS_move_pages, 0, 1ul, &p, &node, &status, 2) < 0, 0);
	return status;
}

TEST(a_pinned_page_is_not_moved_by_anybody)
{
	struct ash_dma_attr attr = wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_THP);
	char *control = mmap(NULL, MIB(4), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p, *q;
	unsigned tries = 0;

	attr.node = 0;
	attr.flags |= ASH_DMA_NODE_STRICT;
	p = get(MIB(2), attr);
	attr.pages = ASH_DMA_PAGES_2M;
	q = get(KIB(4), attr);
	/* The request itself works: a page that nobody pins goes, once the kernel does not have it in hand itself. */
	do {
		control[MIB(2)] = 1;
		(void)moved_to(control + MIB(2), 0);
	} while (moved_to(control + MIB(2), 1) != 1 && tries++ < 1000);
	EXPECT_LT(tries, 1000);
	EXPECT_NE(moved_to(p, 1), 1);
	EXPECT_NE(moved_to(q, 1), 1);
	EXPECT_EQ(ash_dma_verify(), 0);
	EXPECT_EQ(ash_dma_free(p) | ash_dma_free(q), 0);
}

TEST(strict_nodes_are_kept)
{
	struct ash_dma_attr attr = wish_pages(ASH_DMA_PHYSICAL, ASH_DMA_PAGES_2M);

	for (attr.node = 0; attr.node < 2; attr.node++) {
		void *p;
		int node = -1;

		attr.flags |= ASH_DMA_NODE_STRICT;
		p = get(KIB(64), attr);
		EXPECT_EQ(describe(p).node, attr.node);
		EXPECT_EQ(syscall(SYS_move_pages, 0, 1ul, &p, NULL, &node, 0), 0);
		EXPECT_EQ(node, attr.node);
		EXPECT_EQ(ash_dma_free(p), 0);
	}
}

static int container = -1, device = -1;

/* The device's group handed to VFIO, and its registers mapped. */
static void open_vfio(void)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = 0 };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	char path[300], link[300] = "";
	int group;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", edu.name);
	EXPECT_GT(readlink(path, link, sizeof(link) - 1), 0);
	EXPECT(edu_write_file(edu.name, "driver_override", "vfio-pci"));
	EXPECT(edu_write_file("", "drivers_probe", edu.name));
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	EXPECT(container >= 0 && group >= 0);
	EXPECT_EQ(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	EXPECT_EQ(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, edu.name);
	EXPECT(device >= 0);
	EXPECT_EQ(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar), 0);
	EXPECT_EQ(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config), 0);
	edu.bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
	EXPECT(edu.bar != MAP_FAILED);
	edu_enable(device, (off_t)config.offset);
}

static struct ash_dma_iommu *attached(struct ash_dma_iommu *iommu)
{
	if (iommu == NULL)
		TEST_FAIL("not attached: %s", strerror(errno));
	return iommu;
}

TEST(behind_an_iommu_through_vfio)
{
	struct ash_dma_iommu *iommu;
	char *before = get(MIB(3), wish_pages(ASH_DMA_VIRTUAL, ASH_DMA_PAGES_2M)), *after;
	uint64_t late;
	size_t len;

	edu_close(&edu);
	open_vfio();
	iommu = attached(ash_dma_iommu_vfio(container, ASH_DMA_IOVA_OFFSET));
	EXPECT_NE(ash_dma_iova(iommu, before, NULL), ash_dma_translate(before, NULL));
	check_copy(iommu, before + MIB(2) - 1000, before + KIB(300), 2500);
	get_kinds(iommu);
	copy_kinds(iommu);
	end_kinds();
	/* A mapped range is not let go; one that its owner takes away is out of the device's reach at once. */
	late = ash_dma_iova(iommu, kind[KIND_REGISTERED], NULL);
	EXPECT_EQ(ash_dma_unregister(kind[KIND_REGISTERED], 0), -EBUSY);
	EXPECT_EQ(ash_dma_free(kind[KIND_SHARED]), -EBUSY);
	memset(kind[KIND_REGISTERED], 0x44, KIB(4));
	EXPECT_EQ(ash_dma_unregister(kind[KIND_REGISTERED], ASH_DMA_UNMAP), 0);
	edu_transfer(&edu, EDU_BUFFER, late, 100, EDU_TO_MEMORY);
	for (size_t i = 0; i < KIB(4); i++)
		EXPECT_EQ(kind[KIND_REGISTERED][i], 0x44);
	/* What comes later is mapped when it comes. */
	after = get(MIB(5), wish(ASH_DMA_VIRTUAL));
	check_copy(iommu, after + MIB(4) - 777, after + 4096, 2000);
	/* And what is mapped is not given back. */
	len = 1;
	EXPECT_EQ(ash_dma_free(after), 0);
	EXPECT_EQ(ash_dma_trim(), 0);
	EXPECT_NE(ash_dma_iova(iommu, after, &len), ASH_DMA_UNKNOWN);
	ash_dma_iommu_end(iommu);
	EXPECT_GT(ash_dma_trim(), 0);
	/*
	 * The same by physical addresses: the device cannot tell whether there is an IOMMU. Base pages have none: where
	 * the pool of the node that this runs on is dry, the shared buffer lies on such.
	 */
	EXPECT_EQ(ash_dma_free(kind[KIND_SHARED]), 0);
	iommu = attached(ash_dma_iommu_vfio(container, ASH_DMA_IOVA_PHYS));
	EXPECT_EQ(ash_dma_iova(iommu, before, NULL), ash_dma_translate(before, NULL));
	check_copy(iommu, before + 50, before + KIB(64), 1000);
	/* Nothing of it is mapped any more, so the device reads no secrets: the buffer stays as it was. */
	ash_dma_iommu_end(iommu);
	memset(before, 0x33, KIB(8));
	edu_transfer(&edu, EDU_BUFFER, ash_dma_translate(before, NULL), 100, EDU_TO_MEMORY);
	for (size_t i = 0; i < KIB(8); i++)
		EXPECT_EQ(before[i], 0x33);
	EXPECT_EQ(ash_dma_free(before), 0);
}
