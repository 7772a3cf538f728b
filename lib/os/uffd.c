/* SPDX-License-Identifier: MIT */
/* Moving pages between mappings; see uffd.h. */
#include "os/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "base/bits.h"
#include "os/huge.h"
#include "os/sys.h"

/* Newer than the oldest kernel headers we build with (Linux 6.8; 5.11). */
#define UFFD_FEATURE_MOVE_BIT ((uint64_t)1 << 16)
enum { UFFD_FLAG_USER_MODE_ONLY = 1, MOVE_NR = 0x05, MOVE_TRIES = 64, HUGE_BYTES = 1 << ASH_HUGE_2M_SHIFT };

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t move; /* out: bytes moved, or a negative errno */
};
#define UFFD_IOCTL_MOVE _IOWR(UFFDIO, MOVE_NR, struct uffd_move)

static long control(int fd, unsigned long request, void *arg)
{
	return ash_sys(__NR_ioctl, fd, (long)request, (long)arg, 0, 0, 0);
}

int ash_uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE_BIT };
	const int fd = (int)ash_sys(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_FLAG_USER_MODE_ONLY, 0, 0, 0, 0, 0);
	long err;

	if (fd < 0)
		return fd;
	err = control(fd, UFFDIO_API, &api);
	if (err == 0)
		return fd;
	ash_uffd_close(fd);
	return (int)err;
}

void ash_uffd_close(int fd)
{
	(void)ash_sys(__NR_close, fd, 0, 0, 0, 0, 0);
}

int ash_uffd_register(int fd, void *addr, size_t bytes)
{
	struct uffdio_register r = {
		.range = { .start = (uintptr_t)addr, .len = bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return (int)control(fd, UFFDIO_REGISTER, &r);
}

void ash_uffd_unregister(int fd, void *addr, size_t bytes)
{
	struct uffdio_range r = { .start = (uintptr_t)addr, .len = bytes };

	(void)control(fd, UFFDIO_UNREGISTER, &r);
}

size_t ash_uffd_move(int fd, void *to, void *from, size_t bytes)
{
	size_t done = 0, step = bytes;

	/*
	 * The kernel reports how far it got; -EAGAIN asks for another try (a page that was locked just then). -EINVAL
	 * may say that a border of two mappings is in the way, which none can go over: halves are tried up to it.
	 */
	for (unsigned tries = 0; done < bytes && tries < MOVE_TRIES; tries++) {
		struct uffd_move m = {
			.dst = (uintptr_t)to + done,
			.src = (uintptr_t)from + done,
			.len = ash_min(step, bytes - done),
		};
		const long err = control(fd, UFFD_IOCTL_MOVE, &m);

		if (err == 0 || m.move > 0) {
			done += err == 0 ? m.len : (size_t)m.move;
			step = bytes;
		} else if (err == -EINVAL && m.len >= 2 * HUGE_BYTES) {
			step = ash_align_down(m.len / 2, HUGE_BYTES);
		} else if (err != -EAGAIN) {
			break;
		}
	}
	return done;
}
