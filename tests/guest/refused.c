/* SPDX-License-Identifier: MIT */
/*
 * usage: refused ERRNO COMMAND [ARG]...
 *
 * Runs a command as a container's filter would have it: none of NUMA's system calls is permitted, and each fails with
 * ERRNO.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REFUSE(nr, steps) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, steps, 0)

int main(int argc, char **argv)
{
	const unsigned error = argc > 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		REFUSE(__NR_mbind, 5),
		REFUSE(__NR_get_mempolicy, 4),
		REFUSE(__NR_set_mempolicy, 3),
		REFUSE(__NR_move_pages, 2),
		REFUSE(__NR_migrate_pages, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (error == 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		perror("refused");
		return 125;
	}
	if (syscall(__NR_mbind, 0, 0, 0, 0, 0, 0) != -1 || errno != (int)error)
		return 125;
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 125;
}
