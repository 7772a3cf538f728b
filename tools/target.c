/* SPDX-License-Identifier: MIT */
/*
 * Can this program be preloaded? LD_PRELOAD is read by the dynamic linker, so it reaches neither a static program, nor
 * one of another architecture or C library, nor one that gains rights by being executed, and nobody says so: the
 * program just runs without. Here it is said before it runs, with the file and the reason.
 *
 * Scripts are followed to the program that interprets them (and env to what it is asked for), as the kernel does: five
 * levels at most. Programs are untrusted files: every offset is checked before it is used.
 */
#include "ashlar.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPT_LEVELS 5
#define HEAD_BYTES 256 /* what the kernel looks at (BINPRM_BUF_SIZE) */

static int check_file(const char *path, int level, char **why);

/* What of an ELF file decides whether it can be preloaded. */
struct elf_facts {
	unsigned char class, data;
	unsigned machine, type;
	bool has_interp;
	char interp[HEAD_BYTES];
};

static bool read_at(int fd, void *buffer, size_t n, uint64_t offset)
{
	return offset <= INT64_MAX - n && pread(fd, buffer, n, (off_t)offset) == (ssize_t)n;
}

/* false: truncated or inconsistent. Programs of another class are told apart before their headers are looked at. */
static bool read_elf(int fd, struct elf_facts *facts)
{
	Elf64_Ehdr ehdr;

	memset(facts, 0, sizeof(*facts));
	if (!read_at(fd, &ehdr, EI_NIDENT + 4, 0))
		return false;
	facts->class = ehdr.e_ident[EI_CLASS];
	facts->data = ehdr.e_ident[EI_DATA];
	facts->type = ehdr.e_type;
	facts->machine = ehdr.e_machine;
	if (facts->class != ELFCLASS64)
		return true;
	if (!read_at(fd, &ehdr, sizeof(ehdr), 0) || ehdr.e_phentsize != sizeof(Elf64_Phdr))
		return false;
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		Elf64_Phdr phdr;

		if (!read_at(fd, &phdr, sizeof(phdr), ehdr.e_phoff + (uint64_t)i * sizeof(phdr)))
			return false;
		if (phdr.p_type != PT_INTERP)
			continue;
		if (phdr.p_filesz < 2 || phdr.p_filesz > sizeof(facts->interp) ||
		    !read_at(fd, facts->interp, phdr.p_filesz, phdr.p_offset) ||
		    facts->interp[phdr.p_filesz - 1] != '\0')
			return false;
		facts->has_interp = true;
	}
	return true;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* This program is dynamic, of the preload's own class, machine and C library: what it is, a target must be. */
static bool own_facts(struct elf_facts *own)
{
	const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const bool ok = fd >= 0 && read_elf(fd, own) && own->has_interp;

	if (fd >= 0)
		close(fd);
	return ok;
}

static char *elf_objection(const char *path, const struct elf_facts *facts)
{
	struct elf_facts own;

	if (!own_facts(&own))
		return format_text("this program cannot read its own ELF header through /proc/self/exe");
	if (facts->class != own.class)
		return format_text("%s is a %s program; the preloaded library is 64-bit and cannot be loaded into it",
				   path, facts->class == ELFCLASS32 ? "32-bit" : "broken");
	if (facts->data != own.data || facts->machine != own.machine)
		return format_text("%s is built for another processor (ELF machine %u, this is %u)", path,
				   facts->machine, own.machine);
	if (facts->type != ET_EXEC && facts->type != ET_DYN)
		return format_text("%s is an ELF file but not a program (type %u)", path, facts->type);
	if (!facts->has_interp) {
		/* The dynamic linker itself, run as a command, has no interpreter and obeys LD_PRELOAD all the same. */
		if (strcmp(base_name(path), base_name(own.interp)) == 0)
			return NULL;
		return format_text("%s is statically linked: it loads no libraries, so its malloc cannot be replaced",
				   path);
	}
	if (strcmp(base_name(facts->interp), base_name(own.interp)) != 0)
		return format_text("%s belongs to another C library (its dynamic linker is %s, the preloaded library's "
				   "is %s)",
				   path, facts->interp, own.interp);
	if (access(facts->interp, X_OK) != 0)
		return format_text("%s needs the dynamic linker %s: %s", path, facts->interp, strerror(errno));
	return NULL;
}

/*
 * Does executing the file give rights that the caller has not, so that ld.so ignores LD_PRELOAD? As the kernel decides:
 * set-id bits count where they change the id and are not switched off, capabilities where the caller is not root.
 */
static char *rights_objection(const char *path, int fd)
{
	struct statvfs fs;
	struct stat st;
	const char *what = NULL;

	if (fstat(fd, &st) != 0)
		return format_text("%s: %s", path, strerror(errno));
	if ((fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID)) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return NULL;
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		what = "is setuid";
	else if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
		what = "is setgid";
	else if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		what = "has file capabilities";
	if (what == NULL)
		return NULL;
	return format_text("%s %s: the dynamic linker ignores LD_PRELOAD for programs that gain rights", path, what);
}

/* The program that env, asked with these words, will look for; NULL: none to be seen. Changes words. */
static char *env_program(char *words)
{
	for (char *save, *word = strtok_r(words, " \t", &save); word != NULL; word = strtok_r(NULL, " \t", &save)) {
		if (word[0] != '-' && strchr(word, '=') == NULL)
			return word;
	}
	return NULL;
}

static int check_script(const char *path, char *head, int level, char **why)
{
	char *interp = head + 2, *rest, *program;
	int status;

	head[strcspn(head, "\n")] = '\0';
	interp += strspn(interp, " \t");
	rest = interp + strcspn(interp, " \t");
	if (*rest != '\0')
		*rest++ = '\0';
	if (*interp == '\0') {
		*why = format_text("script %s names no interpreter after #!", path);
		return STATUS_CANNOT_RUN;
	}
	if (level >= SCRIPT_LEVELS) {
		*why = format_text("script %s: interpreters that are scripts are nested too deeply", path);
		return STATUS_CANNOT_RUN;
	}
	if (access(interp, F_OK) != 0) {
		*why = format_text("script %s: its interpreter %s: %s", path, interp, strerror(errno));
		return STATUS_NOT_FOUND;
	}
	status = check_file(interp, level + 1, why);
	if (status == 0 && strcmp(base_name(interp), "env") == 0 && (program = env_program(rest)) != NULL) {
		struct target found;

		status = target_find(program, &found, why);
	}
	if (status != 0) {
		char *inner = *why;

		*why = format_text("script %s: %s", path, inner);
		free(inner);
	}
	return status;
}

/* An open file of any kind. level counts the scripts that led here. */
static int check_open_file(const char *path, int fd, int level, char **why)
{
	char head[HEAD_BYTES + 1] = { 0 };
	const ssize_t n = pread(fd, head, HEAD_BYTES, 0);
	struct elf_facts facts;

	if (n < 0) {
		*why = format_text("%s: %s", path, strerror(errno));
		return STATUS_CANNOT_RUN;
	}
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		return check_script(path, head, level, why);
	*why = rights_objection(path, fd);
	if (*why == NULL && n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		*why = read_elf(fd, &facts) ? elf_objection(path, &facts)
					    : format_text("%s is a damaged ELF file", path);
	return *why == NULL ? 0 : STATUS_CANNOT_RUN;
}

static int check_file(const char *path, int level, char **why)
{
	struct stat st;
	int fd, status;

	if (stat(path, &st) != 0) {
		*why = format_text("%s: %s", path, strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
	}
	if (S_ISDIR(st.st_mode))
		*why = format_text("%s is a directory", path);
	else if (!S_ISREG(st.st_mode))
		*why = format_text("%s is not a regular file", path);
	else if (access(path, X_OK) != 0)
		*why = format_text("%s cannot be executed: %s", path, strerror(errno));
	else
		*why = NULL;
	if (*why != NULL)
		return STATUS_CANNOT_RUN;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) /* Executable but not readable: the kernel can run it, we cannot look; ld.so will obey. */
		return 0;
	status = check_open_file(path, fd, level, why);
	close(fd);
	return status;
}

/* As execvp(3): a name with a slash is a path, another is looked for along PATH. */
static int resolve(const char *command, char path[PATH_MAX], char **why)
{
	const char *folders = getenv("PATH");
	char *not_runnable = NULL;

	if (*command == '\0') {
		*why = format_text("the command is empty");
		return STATUS_NOT_FOUND;
	}
	if (strlen(command) >= PATH_MAX) {
		*why = format_text("the command's name is longer than a path can be");
		return STATUS_NOT_FOUND;
	}
	if (strchr(command, '/') != NULL) {
		strcpy(path, command);
		return 0;
	}
	for (const char *f = folders != NULL ? folders : "/usr/local/bin:/bin:/usr/bin";; f++) {
		const size_t n = strcspn(f, ":");
		char *candidate = n > 0 ? format_text("%.*s/%s", (int)n, f, command) : format_text("./%s", command);
		struct stat st;

		if (strlen(candidate) < PATH_MAX && stat(candidate, &st) == 0 && !S_ISDIR(st.st_mode)) {
			if (access(candidate, X_OK) == 0) {
				strcpy(path, candidate);
				free(candidate);
				free(not_runnable);
				return 0;
			}
			if (not_runnable == NULL)
				not_runnable = format_text("%s cannot be executed: %s", candidate, strerror(errno));
		}
		free(candidate);
		f += n;
		if (*f == '\0')
			break;
	}
	*why = not_runnable != NULL ? not_runnable : format_text("%s: not found in PATH", command);
	return not_runnable != NULL ? STATUS_CANNOT_RUN : STATUS_NOT_FOUND;
}

/* No magic that a kernel knows, and no NUL in what can be seen of it: execvp(3) gives such files to /bin/sh. */
static bool is_bare_script(const char *path)
{
	char head[HEAD_BYTES];
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd >= 0 ? read(fd, head, sizeof(head)) : -1;

	if (fd >= 0)
		close(fd);
	if (n < 0 || (n >= 2 && memcmp(head, "#!", 2) == 0) || (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0))
		return false;
	return memchr(head, '\0', (size_t)n) == NULL;
}

int target_find(const char *command, struct target *target, char **why)
{
	int status;

	*why = NULL;
	status = resolve(command, target->path, why);
	if (status != 0)
		return status;
	status = check_file(target->path, 0, why);
	if (status != 0)
		return status;
	target->through_shell = is_bare_script(target->path);
	return target->through_shell ? check_file("/bin/sh", 1, why) : 0;
}

void target_exec(const struct target *target, char **argv)
{
	size_t n = 0;
	char **shell_argv;

	if (!target->through_shell) {
		execv(target->path, argv);
		return;
	}
	while (argv[n] != NULL)
		n++;
	/* "/bin/sh PATH arguments...": argv[0] gives way to two. */
	shell_argv = need(calloc(n + 2, sizeof(*shell_argv)));
	shell_argv[0] = format_text("/bin/sh");
	shell_argv[1] = format_text("%s", target->path);
	memcpy(shell_argv + 2, argv + 1, n * sizeof(*argv));
	execv(shell_argv[0], shell_argv);
	free(shell_argv[1]);
	free(shell_argv[0]);
	free(shell_argv);
}
