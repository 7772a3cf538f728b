/* SPDX-License-Identifier: MIT */
/* Memory with descriptors; see memfd.h. */
#include "os/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/bits.h"
#include "os/sys.h"

int ash_memfd_create(const char *name, size_t bytes, unsigned page_shift)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	long fd, err;

	if (page_shift > ASH_PAGE_SHIFT)
		flags |= MFD_HUGETLB | page_shift << MFD_HUGE_SHIFT;
	fd = ash_sys(__NR_memfd_create, (long)name, flags, 0, 0, 0, 0);
	if (fd < 0)
		return (int)fd;
	err = ash_sys(__NR_ftruncate, fd, (long)bytes, 0, 0, 0, 0);
	if (err == 0)
		err = ash_sys(__NR_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, 0, 0, 0);
	if (err < 0) {
		ash_memfd_close((int)fd);
		return (int)err;
	}
	return (int)fd;
}

int ash_memfd_look(int fd, unsigned *page_shift, size_t *bytes, bool *sealed)
{
	struct stat st;
	long seals = ash_sys(__NR_fcntl, fd, F_GET_SEALS, 0, 0, 0, 0);
	long err = ash_sys(__NR_fstat, fd, (long)&st, 0, 0, 0, 0);

	if (seals < 0 || err < 0)
		return (int)(seals < 0 ? seals : err);
	*page_shift = ash_log2_floor((uint64_t)st.st_blksize);
	*bytes = (size_t)st.st_size;
	*sealed = (seals & F_SEAL_SHRINK) != 0;
	return 0;
}

int ash_memfd_map(int fd, uint64_t offset, size_t bytes, void **out)
{
	const long ret = ash_sys(__NR_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (long)offset);

	if ((unsigned long)ret >= (unsigned long)-4095)
		return (int)ret;
	*out = (void *)ret;
	return 0;
}

int ash_memfd_dup(int fd)
{
	return (int)ash_sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0, 0, 0, 0);
}

void ash_memfd_close(int fd)
{
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
}

/* A message of n bytes with room for one descriptor. */
union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int ash_memfd_send(int socket, int fd, const void *bytes, size_t n)
{
	union control control = { .bytes = { 0 } };
	struct iovec body = { (void *)(uintptr_t)bytes, n };
	struct msghdr message = { .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	long sent;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	sent = ash_sys(__NR_sendmsg, socket, (long)&message, MSG_NOSIGNAL, 0, 0, 0);
	if (sent < 0)
		return (int)sent;
	return (size_t)sent == n ? 0 : -EPROTO;
}

int ash_memfd_receive(int socket, int *fd, void *bytes, size_t n)
{
	union control control;
	struct iovec body = { bytes, n };
	struct msghdr message = { .msg_iov = &body, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	const long got = ash_sys(__NR_recvmsg, socket, (long)&message, MSG_CMSG_CLOEXEC | MSG_WAITALL, 0, 0, 0);
	const struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&message);

	if (got < 0)
		return (int)got;
	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if ((size_t)got == n)
		return 0;
	ash_memfd_close(*fd);
	return -EPROTO;
}

int ash_memfd_udmabuf(int fd, uint64_t offset, size_t bytes)
{
	struct udmabuf_create create = { .memfd = (uint32_t)fd, .flags = UDMABUF_FLAGS_CLOEXEC, .offset = offset,
					 .size = bytes };
	const long device = ash_sys(__NR_openat, AT_FDCWD, (long)"/dev/udmabuf", O_RDWR | O_CLOEXEC, 0, 0, 0);
	long ret;

	if (device < 0)
		return (int)device;
	ret = ash_sys(__NR_ioctl, device, UDMABUF_CREATE, (long)&create, 0, 0, 0);
	ash_memfd_close((int)device);
	return (int)ret;
}

int ash_uring_buffers_set(int ring, const struct iovec *ranges, unsigned n)
{
	return (int)ash_sys(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, (long)ranges, n, 0, 0);
}

int ash_uring_buffers_clear(int ring)
{
	return (int)ash_sys(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, 0, 0, 0, 0);
}
