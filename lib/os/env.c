/* SPDX-License-Identifier: MIT */
/*
 * Environment and limits before libc is ready.
 *
 * The first malloc of a process may come from the dynamic loader or from another library's constructor, before glibc's
 * own has set environ. glibc's loader notes where the kernel put argc, argv, envp (__libc_stack_end); the symbol is
 * weak, so where it is missing the early environment is simply empty.
 */
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "os/env.h"
#include "os/file.h"
#include "os/sys.h"
#include "os/text.h"

extern void *__libc_stack_end ASH_WEAK;

enum { ASH_ARGC_SANE = 1 << 20, ASH_OVERCOMMIT_NEVER = 2 };

/* argc, argv[argc], NULL, envp..., as the kernel lays them out (System V ABI, "Initial Process Stack"). */
static char **initial_environ(void)
{
	const long *stack;

	if (&__libc_stack_end == NULL || __libc_stack_end == NULL)
		return NULL;
	stack = __libc_stack_end;
	if (stack[0] < 0 || stack[0] > ASH_ARGC_SANE || stack[1 + stack[0]] != 0)
		return NULL;
	return (char **)__libc_stack_end + 1 + stack[0] + 1;
}

static char **process_environ(void)
{
	return environ != NULL ? environ : initial_environ();
}

const char *ash_env_get(const char *name)
{
	char **env = process_environ();

	for (; env != NULL && *env != NULL; env++) {
		const char *value = ash_after_prefix(*env, name);

		if (value != NULL && *value == '=')
			return value + 1;
	}
	return NULL;
}

ASH_EARLY void ash_env_each(void (*each)(void *arg, const char *entry), void *arg)
{
	char **env = process_environ();

	for (; env != NULL && *env != NULL; env++)
		each(arg, *env);
}

ASH_AT_START bool ash_env_has_prefix(const char *prefix)
{
	char **env = process_environ();

	for (; env != NULL && *env != NULL; env++) {
		const char *entry = *env, *p = prefix;

		while (*p != '\0' && *p == *entry)
			p++, entry++;
		if (*p == '\0')
			return true;
	}
	return false;
}

ASH_EARLY bool ash_env_secure(void)
{
	return getauxval(AT_SECURE) != 0;
}

ASH_EARLY size_t ash_env_page_size(void)
{
	return getauxval(AT_PAGESZ);
}

ASH_EARLY size_t ash_env_ram(void)
{
	struct sysinfo info;

	if (ash_sys(__NR_sysinfo, (long)&info, 0, 0, 0, 0, 0) < 0)
		return 0;
	return (size_t)info.totalram * info.mem_unit;
}

static size_t limit_of(int resource)
{
	struct rlimit limit;

	if (ash_sys(__NR_prlimit64, 0, resource, 0, (long)&limit, 0, 0) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur;
}

ASH_EARLY size_t ash_env_address_limit(void)
{
	return limit_of(RLIMIT_AS);
}

size_t ash_env_lock_limit(void)
{
	return limit_of(RLIMIT_MEMLOCK);
}

bool ash_env_counts_untouched(void)
{
	uint64_t mode;

	return limit_of(RLIMIT_DATA) != SIZE_MAX ||
	       (ash_file_num("/proc/sys/vm/overcommit_memory", &mode) == 0 && mode == ASH_OVERCOMMIT_NEVER);
}
