/* SPDX-License-Identifier: MIT */
/*
 * A real device behind an IOMMU, by way of a real iommufd: the device's character device bound to it, an address space
 * made there, everything the arenas have mapped into that. For a kernel that has iommufd
 * (tests/guest/kernel-with-iommufd).
 */
#include "dma/witness.h"
#include "guest/edu.h"

#include <linux/vfio.h>
#include <sys/ioctl.h>

/* Of <linux/iommufd.h> and <linux/vfio.h>, which are newer than the headers we build with. */
struct ioas_alloc {
	uint32_t size, flags, ioas;
};
struct bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t device;
};
struct attach {
	uint32_t argsz, flags, ioas;
};
#define IOAS_ALLOC _IO(';', 0x81)
#define DEVICE_BIND_IOMMUFD _IO(';', 100 + 18)
#define DEVICE_ATTACH_IOMMUFD _IO(';', 100 + 19)

static struct edu edu;
static int iommufd = -1, device = -1;
static struct ioas_alloc space = { .size = sizeof(space) };

/* The file below /dev/vfio/devices that the device has got. */
static int open_device(void)
{
	char path[300];
	struct dirent *entry;
	int fd = -1;
	DIR *d;

	EXPECT(edu_write_file(edu.name, "driver_override", "vfio-pci"));
	EXPECT(edu_write_file("", "drivers_probe", edu.name));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", edu.name);
	d = opendir(path);
	EXPECT(d != NULL);
	while ((entry = readdir(d)) != NULL && fd < 0) {
		snprintf(path, sizeof(path), "/dev/vfio/devices/%.32s", entry->d_name);
		if (strncmp(entry->d_name, "vfio", 4) == 0)
			fd = open(path, O_RDWR);
	}
	closedir(d);
	return fd;
}

TEST(the_device_is_bound_to_an_address_space)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = 0 };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct bind bind = { .argsz = sizeof(bind) };
	struct attach attach = { .argsz = sizeof(attach) };

	EXPECT(edu_find(&edu));
	device = open_device();
	iommufd = open("/dev/iommu", O_RDWR);
	EXPECT(device >= 0 && iommufd >= 0);
	bind.iommufd = iommufd;
	EXPECT_EQ(ioctl(device, DEVICE_BIND_IOMMUFD, &bind), 0);
	EXPECT_EQ(ioctl(iommufd, IOAS_ALLOC, &space), 0);
	attach.ioas = space.ioas;
	EXPECT_EQ(ioctl(device, DEVICE_ATTACH_IOMMUFD, &attach), 0);
	EXPECT_EQ(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar), 0);
	EXPECT_EQ(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config), 0);
	edu.bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)bar.offset);
	EXPECT(edu.bar != MAP_FAILED);
	edu_enable(device, (off_t)config.offset);
}

static struct ash_dma_iommu *attached(enum ash_dma_iova how)
{
	struct ash_dma_iommu *iommu = ash_dma_iommu_iommufd(iommufd, space.ioas, how);

	if (iommu == NULL)
		TEST_FAIL("not attached: %s", strerror(errno));
	return iommu;
}

/* The device copies bytes from one place to another, by the addresses it was given, and nothing beside them. */
static void check_copy(const struct ash_dma_iommu *iommu, char *from, char *to, size_t bytes)
{
	static unsigned char pattern;

	pattern += 17;
	for (size_t i = 0; i < bytes; i++)
		from[i] = (char)(i * 7 + pattern);
	memset(to, 0, bytes);
	to[-1] = to[bytes] = 0x55;
	for (size_t done = 0, n; done < bytes; done += n) {
		size_t there = bytes - done;

		n = bytes - done;
		const uint64_t source = ash_dma_iova(iommu, from + done, &n),
			       target = ash_dma_iova(iommu, to + done, &there);

		EXPECT_NE(source, ASH_DMA_UNKNOWN);
		EXPECT_NE(target, ASH_DMA_UNKNOWN);
		n = n < there ? n : there;
		n = n < EDU_MOST ? n : EDU_MOST;
		edu_copy(&edu, source, target, n);
	}
	EXPECT_EQ(memcmp(from, to, bytes), 0);
	EXPECT_EQ(to[-1], 0x55);
	EXPECT_EQ(to[bytes], 0x55);
}

static char *get(size_t bytes, enum ash_dma_pages pages, unsigned flags)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	char text[512], *p;

	attr.pages = pages;
	attr.flags = flags;
	attr.error = &error;
	p = ash_dma_alloc(bytes, &attr);
	if (p == NULL) {
		(void)ash_dma_explain(&error, text, sizeof(text));
		TEST_FAIL("no buffer: %s", text);
	}
	return p;
}

TEST(it_reads_and_writes_what_is_mapped_and_nothing_else)
{
	char *huge = get(MIB(3), ASH_DMA_PAGES_2M, 0), *base = get(KIB(64), ASH_DMA_PAGES_BASE, ASH_DMA_PAGES_STRICT),
	     *later;
	struct ash_dma_iommu *iommu = attached(ASH_DMA_IOVA_OFFSET);
	char *foreign = mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *shared;
	uint64_t late;

	check_copy(iommu, huge + MIB(2) - 1000, huge + KIB(300), 2500);
	check_copy(iommu, base + 4000, huge + MIB(2) - 700, 1500);
	/* What comes later is mapped when it comes; a listener's UNMAPPING is what keeps it. */
	later = get(MIB(5), ASH_DMA_PAGES_ANY, 0);
	shared = get(MIB(2), ASH_DMA_PAGES_ANY, ASH_DMA_SHARED);
	EXPECT_GE(ash_dma_register(foreign, KIB(64)), 0);
	check_copy(iommu, later + MIB(4) - 777, shared + 4096 - 50, 2000);
	check_copy(iommu, shared + 5000, foreign + 4096 - 100, 3000);
	EXPECT_EQ(ash_dma_free(shared), -EBUSY);
	EXPECT_EQ(ash_dma_unregister(foreign, 0), -EBUSY);
	/* Taken away by its owner, it is out of the device's reach at once. */
	late = ash_dma_iova(iommu, foreign, NULL);
	memset(foreign, 0x44, KIB(4));
	EXPECT_EQ(ash_dma_unregister(foreign, ASH_DMA_UNMAP), 0);
	edu_transfer(&edu, EDU_BUFFER, late, 100, EDU_TO_MEMORY);
	for (size_t i = 0; i < KIB(4); i++)
		EXPECT_EQ(foreign[i], 0x44);
	late = ash_dma_iova(iommu, huge, NULL);
	ash_dma_iommu_end(iommu);
	memset(huge, 0x33, KIB(8));
	edu_transfer(&edu, EDU_BUFFER, late, 100, EDU_TO_MEMORY);
	for (size_t i = 0; i < KIB(8); i++)
		EXPECT_EQ(huge[i], 0x33);
	EXPECT_EQ(ash_dma_free(shared) | ash_dma_free(later) | ash_dma_free(base) | ash_dma_free(huge), 0);
	EXPECT_GT(ash_dma_trim(), MIB(5));
}

/* After the test before, in which the address space was filled and emptied: nothing of it is left there. */
TEST(the_same_by_physical_addresses)
{
	char *p = get(MIB(3), ASH_DMA_PAGES_2M, ASH_DMA_PAGES_STRICT);
	struct ash_dma_iommu *iommu = attached(ASH_DMA_IOVA_PHYS);

	EXPECT_EQ(ash_dma_iova(iommu, p, NULL), ash_dma_translate(p, NULL));
	check_copy(iommu, p + MIB(2) - 100, p + KIB(64), 1000);
	ash_dma_iommu_end(iommu);
	EXPECT_EQ(ash_dma_free(p), 0);
}
