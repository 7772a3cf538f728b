/* SPDX-License-Identifier: MIT */
/* Policies as text. */
#include "arena/policies.h"

static int error_of(const char *text)
{
	struct ash_policy p;

	memset(&p, 0x55, sizeof(p));
	return ash_policy_read(&p, text, strlen(text));
}

CHILD_TEST(text_is_read_and_written)
{
	static const char *const texts[][2] = {
		{ "default", NULL }, { "local", NULL }, { "bind=0", NULL }, { "bind=0,2-3", NULL },
		{ "preferred=5", NULL }, { "preferred-many=0,5", NULL }, { "interleave=all", "interleave=0,2-5" },
		{ "interleave=!3", "interleave=0,2,4-5" }, { "bind=+0", "bind=0" }, { "bind=+1-2", "bind=2-3" },
		{ "bind=!+0", "bind=2-5" }, { "bind=0/3", "bind=0,3" }, { "preferred=2-2", "preferred=2" },
		{ "weighted-interleave=0*3,2", "weighted-interleave=0*3,2*1" },
		{ "weighted-interleave=0,2-3", NULL }, { "weighted-interleave=2-4*7,5*255", NULL },
	};
	char text[ASH_POLICY_TEXT_MAX];

	topology_on(0x3d);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(texts); i++) {
		struct ash_policy p = policy(texts[i][0]);

		EXPECT(ash_policy_valid(&p));
		ash_policy_write(&p, ',', text, sizeof(text));
		EXPECT_STREQ(text, texts[i][1] != NULL ? texts[i][1] : texts[i][0]);
	}
}

CHILD_TEST(text_that_is_none_is_refused)
{
	static const char *const wrong[] = {
		"", "bind", "bind=", "local=0", "default=0", "bond=0", "bind=x", "bind=0,", "bind=0-", "bind=3-2",
		"bind=0 ", "bind=!all", "bind=all,0", "bind=0*2", "preferred=0,2", "preferred=all", "bind==0",
		"bind=-1", "weighted-interleave=0*0", "weighted-interleave=0*256", "weighted-interleave=0*", "bind=++0",
	};
	static const char *const absent[] = { "bind=1",           "bind=0-2", "bind=64",
					      "bind=99999999999", "bind=+5",  "bind=6" };

	topology_on(0x3d);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(wrong); i++)
		EXPECT_EQ(error_of(wrong[i]), -EINVAL);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(absent); i++)
		EXPECT_EQ(error_of(absent[i]), -ERANGE);
}
