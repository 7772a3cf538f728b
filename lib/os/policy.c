/* SPDX-License-Identifier: MIT */
/* Policies as text, and mbind(2); see policy.h. */
#include "os/policy.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/bits.h"
#include "os/numa.h"
#include "os/sys.h"
#include "os/text.h"

ASH_BUILD_ASSERT((int)ASH_POLICY_NODES == (int)ASH_NODES_MAX, "a policy can name every node that is known");

/* The kernel's numbers; the later ones are newer than the oldest headers we build with. */
enum { SYS_DEFAULT, SYS_PREFERRED, SYS_BIND, SYS_INTERLEAVE, SYS_LOCAL, SYS_PREFERRED_MANY, SYS_WEIGHTED_INTERLEAVE };
enum { SYS_STATIC_NODES = 1 << 15, SYS_RELATIVE_NODES = 1 << 14, SYS_MODE_FLAGS = 0x7 << 13 };

static const char *const names[ASH_POLICY_MODES] = {
	[ASH_POLICY_DEFAULT] = "default",
	[ASH_POLICY_LOCAL] = "local",
	[ASH_POLICY_BIND] = "bind",
	[ASH_POLICY_PREFERRED] = "preferred",
	[ASH_POLICY_PREFERRED_MANY] = "preferred-many",
	[ASH_POLICY_INTERLEAVE] = "interleave",
	[ASH_POLICY_WEIGHTED_INTERLEAVE] = "weighted-interleave",
};

/* Text that is not terminated. */
struct cursor {
	const char *at, *end;
};

static bool eat(struct cursor *c, char what)
{
	if (c->at == c->end || *c->at != what)
		return false;
	c->at++;
	return true;
}

static bool eat_number(struct cursor *c, unsigned *out)
{
	const char *const from = c->at;
	unsigned v = 0;

	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
		v = v > 100000 ? v : v * 10 + (unsigned)(*c->at - '0');
	*out = v;
	return c->at != from;
}

/* The kernel number of the nth allowed node, or one that is too large. */
static unsigned nth(uint64_t allowed, unsigned n)
{
	for (; n > 0 && allowed != 0; n--)
		allowed &= allowed - 1;
	return allowed != 0 ? ash_ctz(allowed) : ASH_NODES_MAX + n;
}

static int add_range(const struct ash_nodelist *list, struct cursor *c, bool relative, uint64_t *mask, unsigned *bad)
{
	unsigned first, last, weight = 0;

	if (!eat_number(c, &first))
		return -EINVAL;
	last = first;
	if (eat(c, '-') && (!eat_number(c, &last) || last < first))
		return -EINVAL;
	if (eat(c, '*') && (list->weight == NULL || !eat_number(c, &weight) || weight == 0 || weight > UINT8_MAX))
		return -EINVAL;
	for (unsigned i = first; i <= last; i++) {
		const unsigned node = relative ? nth(list->allowed, i) : i;

		if (node >= ASH_NODES_MAX || (list->exists >> node & 1) == 0) {
			*bad = i;
			return -ERANGE;
		}
		*mask |= 1ull << node;
		if (weight != 0)
			list->weight[node] = (uint8_t)weight;
	}
	return 0;
}

int ash_nodelist_parse(const struct ash_nodelist *list, const char *s, size_t n, uint64_t *nodes, unsigned *bad)
{
	struct cursor c = { s, s + n };
	const bool invert = eat(&c, '!'), relative = eat(&c, '+');
	uint64_t mask = 0;

	*bad = 0;
	if (c.end - c.at == 3 && memcmp(c.at, "all", 3) == 0 && !relative) {
		mask = list->allowed;
	} else {
		do {
			const int err = add_range(list, &c, relative, &mask, bad);

			if (err < 0)
				return err;
		} while (eat(&c, ',') || eat(&c, '/'));
		if (c.at != c.end)
			return -EINVAL;
	}
	*nodes = invert ? list->allowed & ~mask : mask;
	return *nodes != 0 ? 0 : -EINVAL;
}

static bool one_bit(uint64_t mask)
{
	return mask != 0 && (mask & (mask - 1)) == 0;
}

bool ash_policy_valid(const struct ash_policy *p)
{
	switch (p->mode) {
	case ASH_POLICY_DEFAULT:
	case ASH_POLICY_LOCAL:
		return p->nodes == 0;
	case ASH_POLICY_PREFERRED:
		return one_bit(p->nodes);
	default:
		return p->mode < ASH_POLICY_MODES && p->nodes != 0;
	}
}

/* A weight that some nodes have and others have not is 1 for those. */
static void complete_weights(struct ash_policy *p)
{
	bool any = false;

	for (unsigned node = 0; node < ASH_NODES_MAX; node++)
		any |= p->weight[node] != 0;
	for (unsigned node = 0; any && node < ASH_NODES_MAX; node++) {
		if ((p->nodes >> node & 1) == 0)
			p->weight[node] = 0;
		else if (p->weight[node] == 0)
			p->weight[node] = 1;
	}
}

ASH_EARLY int ash_policy_read(struct ash_policy *out, const char *s, size_t n)
{
	const char *equals = memchr(s, '=', n);
	const size_t name_n = equals != NULL ? (size_t)(equals - s) : n;
	struct ash_policy p = { .mode = 0 };
	unsigned bad;
	int err;

	while (p.mode < ASH_POLICY_MODES &&
	       (strlen(names[p.mode]) != name_n || memcmp(names[p.mode], s, name_n) != 0))
		p.mode++;
	if (p.mode == ASH_POLICY_MODES || (equals != NULL) == (p.mode <= ASH_POLICY_LOCAL))
		return -EINVAL;
	if (equals != NULL) {
		const uint64_t allowed = ash_numa_allowed();
		const struct ash_nodelist list = { allowed, allowed,
						   p.mode == ASH_POLICY_WEIGHTED_INTERLEAVE ? p.weight : NULL };

		err = ash_nodelist_parse(&list, equals + 1, n - name_n - 1, &p.nodes, &bad);
		if (err < 0)
			return err;
		complete_weights(&p);
	}
	if (!ash_policy_valid(&p))
		return -EINVAL;
	*out = p;
	return 0;
}

void ash_policy_write(const struct ash_policy *p, char comma, char *buf, size_t size)
{
	const char separator[2] = { comma, '\0' };
	struct ash_text t;

	ash_text_init(&t, buf, size);
	ash_text_str(&t, names[p->mode]);
	for (unsigned node = 0; node < ASH_NODES_MAX; node++) {
		unsigned last = node;

		if ((p->nodes >> node & 1) == 0)
			continue;
		while (last + 1 < ASH_NODES_MAX && (p->nodes >> (last + 1) & 1) != 0 &&
		       p->weight[last + 1] == p->weight[node])
			last++;
		ash_text_str(&t, (p->nodes & ((1ull << node) - 1)) == 0 ? "=" : separator);
		ash_text_num(&t, node);
		if (last > node) {
			ash_text_str(&t, "-");
			ash_text_num(&t, last);
		}
		if (p->weight[node] != 0) {
			ash_text_str(&t, "*");
			ash_text_num(&t, p->weight[node]);
		}
		node = last;
	}
}

/* Static: when the cpuset changes and changes back, so do the nodes, instead of being mapped to others by their
 * rank. */
static int mbind(void *addr, size_t bytes, int mode, uint64_t nodes)
{
	unsigned long mask[ASH_NODEMASK_WORDS] = { nodes };
	const bool names_nodes = mode != SYS_DEFAULT && mode != SYS_LOCAL;

	return (int)ash_sys(__NR_mbind, (long)addr, (long)bytes, names_nodes ? mode | SYS_STATIC_NODES : mode,
			    (long)mask, names_nodes ? ASH_NODEMASK_BITS : 0, 0);
}

int ash_policy_apply(void *addr, size_t bytes, const struct ash_policy *p)
{
	static const struct {
		int mode, older;
	} sys[ASH_POLICY_MODES] = {
		[ASH_POLICY_DEFAULT] = { SYS_DEFAULT, -1 },
		[ASH_POLICY_LOCAL] = { SYS_LOCAL, SYS_DEFAULT },
		[ASH_POLICY_BIND] = { SYS_BIND, -1 },
		[ASH_POLICY_PREFERRED] = { SYS_PREFERRED, -1 },
		[ASH_POLICY_PREFERRED_MANY] = { SYS_PREFERRED_MANY, SYS_PREFERRED },
		[ASH_POLICY_INTERLEAVE] = { SYS_INTERLEAVE, -1 },
		[ASH_POLICY_WEIGHTED_INTERLEAVE] = { SYS_WEIGHTED_INTERLEAVE, SYS_INTERLEAVE },
	};
	int err = mbind(addr, bytes, sys[p->mode].mode, p->nodes);

	/* Before it knew PREFERRED_MANY the kernel took the first of the nodes given to PREFERRED. */
	if (err == -EINVAL && sys[p->mode].older >= 0)
		err = mbind(addr, bytes, sys[p->mode].older, p->nodes);
	return err;
}

int ash_policy_of_task(struct ash_policy *out)
{
	static const uint8_t modes[] = {
		[SYS_DEFAULT] = ASH_POLICY_DEFAULT,
		[SYS_PREFERRED] = ASH_POLICY_PREFERRED,
		[SYS_BIND] = ASH_POLICY_BIND,
		[SYS_INTERLEAVE] = ASH_POLICY_INTERLEAVE,
		[SYS_LOCAL] = ASH_POLICY_DEFAULT,
		[SYS_PREFERRED_MANY] = ASH_POLICY_PREFERRED_MANY,
		[SYS_WEIGHTED_INTERLEAVE] = ASH_POLICY_WEIGHTED_INTERLEAVE,
	};
	unsigned long mask[ASH_NODEMASK_WORDS] = { 0 };
	int mode = SYS_DEFAULT;

	*out = (struct ash_policy){ .mode = ASH_POLICY_DEFAULT };
	if (ash_sys(__NR_get_mempolicy, (long)&mode, (long)mask, ASH_NODEMASK_BITS, 0, 0, 0) < 0)
		return 0;
	if ((mode & SYS_RELATIVE_NODES) != 0 || (unsigned)(mode & ~SYS_MODE_FLAGS) >= ASH_ARRAY_LEN(modes))
		return -EINVAL;
	out->mode = modes[mode & ~SYS_MODE_FLAGS];
	if (out->mode == ASH_POLICY_DEFAULT)
		return 0;
	/* To prefer no node is how older kernels say local. */
	if (out->mode == ASH_POLICY_PREFERRED && mask[0] == 0)
		out->mode = ASH_POLICY_DEFAULT;
	out->nodes = mask[0];
	return ash_policy_valid(out) ? 0 : -EINVAL;
}
