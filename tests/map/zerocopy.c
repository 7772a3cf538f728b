/* SPDX-License-Identifier: MIT */
/*
 * A program that sends its mappings without copying (MSG_ZEROCOPY), and unmaps them before the network has read them:
 * what arrives is what was there. Run without and with the preload.
 */
#include "harness/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES ((size_t)2 << 20)
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

#include "warm.h"

static void set(int fd, int option, int value)
{
	EXPECT_EQ(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)), 0);
}

/* Two ends of a connection: [0] keeps nearly all that is written to it until [1] reads. */
static void connect_pair(int fd[2])
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t bytes = sizeof(here);
	const int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0)
		SKIP("no sockets");
	set(listener, SO_RCVBUF, 4096);
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) != 0)
		SKIP("no address of the machine's own");
	EXPECT_EQ(listen(listener, 1), 0);
	EXPECT_EQ(getsockname(listener, (struct sockaddr *)&here, &bytes), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	EXPECT(fd[0] >= 0);
	set(fd[0], SO_SNDBUF, 256 << 10);
	if (connect(fd[0], (struct sockaddr *)&here, sizeof(here)) != 0)
		SKIP("no network, not even within the machine");
	fd[1] = accept(listener, NULL, NULL);
	EXPECT(fd[1] >= 0);
	close(listener);
}

/* As much as the socket takes and the limit on locked memory allows. */
static size_t send_some(int fd, const uint64_t *words)
{
	for (size_t bytes = BYTES; bytes >= 4096; bytes /= 2) {
		const ssize_t sent = send(fd, words, bytes, MSG_ZEROCOPY | MSG_DONTWAIT);

		if (sent > 0)
			return (size_t)sent;
		EXPECT(errno == ENOBUFS || errno == EAGAIN);
	}
	SKIP("nothing can be sent without copying here");
}

static void expect_arrives(int fd, size_t bytes)
{
	static uint64_t got[BYTES / 8];
	size_t n = 0;

	while (n < bytes) {
		const ssize_t more = recv(fd, (char *)got + n, bytes - n, 0);

		EXPECT(more > 0);
		n += (size_t)more;
	}
	for (size_t i = 0; i < bytes / 8; i++)
		EXPECT_EQ(got[i], 0x1000000 + i);
}

TEST(what_is_being_sent_may_be_unmapped)
{
	const int one = 1;
	uint64_t *words;
	size_t sent;
	int fd[2];

	warm_up();
	connect_pair(fd);
	if (setsockopt(fd[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) != 0)
		SKIP("the kernel always copies");
	words = map();
	for (size_t i = 0; i < BYTES / 8; i++)
		words[i] = 0x1000000 + i;
	sent = send_some(fd[0], words);
	EXPECT_EQ(munmap(words, BYTES), 0);
	/* Others, which would have its pages. */
	for (unsigned i = 0; i < 4; i++)
		memset(map(), 0xee, BYTES);
	expect_arrives(fd[1], sent);
	close(fd[0]);
	close(fd[1]);
}

TEST(other_options_are_the_kernels)
{
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t bytes = sizeof(int);
	int value = 1;

	if (fd < 0)
		SKIP("no sockets");
	EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)), 0);
	value = 0;
	EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &bytes), 0);
	EXPECT_EQ(value, 1);
	errno = 0;
	EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 1), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(setsockopt(-1, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)), -1);
	EXPECT_EQ(errno, EBADF);
	close(fd);
}
