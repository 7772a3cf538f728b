/* SPDX-License-Identifier: MIT */
/* What a program without a libc does with the model: a number of random steps, with or without a planted lie. */
#include "model/model.h"

bool model_run(struct model *m, unsigned nr, uint64_t seed)
{
	for (unsigned i = 0; i < nr; i++) {
		const struct model_op op = model_random_op(m, &seed);

		if (!model_step(m, &op))
			return false;
	}
	return model_finish(m);
}

int model_alloc_twice(struct ash_zone *z, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu,
		      struct ash_page_grant *grant)
{
	static struct ash_page_grant last;
	static unsigned calls;
	const int result = ash_zone_alloc(z, order, mt, flags, cpu, grant);

	if (result == 0 && ++calls % 3 == 0)
		*grant = last;
	else if (result == 0)
		last = *grant;
	return result;
}
