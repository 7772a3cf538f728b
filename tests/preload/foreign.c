/* SPDX-License-Identifier: MIT */
/*
 * Two mallocs in one process: plugins opened in every way, and pointers that cross. Under the preload a plugin opened
 * with RTLD_DEEPBIND has the C library's malloc; its pointers end in our free, realloc and malloc_usable_size.
 */
#include "harness/test.h"

#include <dlfcn.h>
#include <stdint.h>
#include <malloc.h>
#include <pthread.h>

#include "common.h"
#include "plugin.h"

static const char *plugin_path(void)
{
	const char *path = getenv("ASH_TEST_PLUGIN");

	if (path == NULL)
		SKIP("ASH_TEST_PLUGIN names no plugin");
	return path;
}

static const struct plugin *open_plugin(int flags, void **handle)
{
	const struct plugin *plugin;

	*handle = dlopen(plugin_path(), flags);
	if (*handle == NULL)
		TEST_FAIL("dlopen: %s", dlerror());
	plugin = dlsym(*handle, "plugin");
	EXPECT(plugin != NULL);
	return plugin;
}

static const size_t sizes[] = { 1, 24, 500, 4000, 30000, 200000, 3000000 };
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

TEST(deepbind_plugins_have_the_other_malloc)
{
	void *handle;
	const struct plugin *plugin;

	if (!under_ashlar())
		SKIP("there is one malloc without the preload");
	plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);
	EXPECT(plugin->malloc != (void *(*)(size_t))malloc);
	EXPECT(plugin->free != (void (*)(void *))free);
	dlclose(handle);
}

TEST(foreign_pointers_are_freed)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);

	for (size_t i = 0; i < NR_SIZES; i++) {
		void *p = plugin->malloc(sizes[i]), *q = plugin->calloc(1, sizes[i]);
		char *lines = NULL;

		errno = 4711;
		fill(p, sizes[i], 1);
		free(p);
		EXPECT_EQ(nonzero(q, sizes[i]), sizes[i]);
		free(q);
		EXPECT_EQ(plugin->lines(&lines), 0);
		free(lines);
		free(plugin->duplicate("a string that the plugin made"));
		EXPECT_EQ(errno, 4711);
	}
	dlclose(handle);
}

/* Freed to where it came from, and not merely forgotten: the C library hands the same memory out again. */
TEST(foreign_frees_give_the_memory_back)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);
	bool again = false;

	for (int i = 0; i < 100 && !again; i++) {
		void *p = plugin->malloc(1200);

		free(p);
		again = plugin->malloc(1200) == OPAQUE(p);
	}
	EXPECT(again);
	dlclose(handle);
}

TEST(foreign_pointers_are_reallocated)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);

	for (size_t i = 0; i < NR_SIZES; i++) {
		char *p = plugin->malloc(sizes[i]);

		fill(p, sizes[i], 4);
		p = realloc(p, sizes[i] * 3 + 10);
		EXPECT(p != NULL);
		EXPECT_EQ(differs(p, sizes[i], 4), sizes[i]);
		EXPECT_GE(malloc_usable_size(p), sizes[i] * 3 + 10);
		fill(p, sizes[i] * 3 + 10, 5);
		free(p);
		p = reallocarray(plugin->malloc(sizes[i]), 2, sizes[i]);
		EXPECT(p != NULL);
		free(p);
		EXPECT_EQ((intptr_t)realloc(plugin->malloc(sizes[i]), OPAQUE(0)), 0);
	}
	dlclose(handle);
}

TEST(foreign_pointers_have_their_usable_size)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);

	for (size_t i = 0; i < NR_SIZES; i++) {
		void *p = plugin->malloc(sizes[i]);

		EXPECT_EQ(malloc_usable_size(p), plugin->usable(p));
		EXPECT_GE(malloc_usable_size(p), sizes[i]);
		plugin->free(p);
	}
	dlclose(handle);
}

static void *free_foreign(void *p)
{
	free(p);
	return NULL;
}

TEST(foreign_pointers_may_come_first_in_a_thread)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, &handle);

	for (int i = 0; i < 50; i++) {
		pthread_t thread;

		EXPECT_EQ(pthread_create(&thread, NULL, free_foreign, plugin->malloc(100)), 0);
		pthread_join(thread, NULL);
	}
	dlclose(handle);
}

TEST(ordinary_plugins_share_the_malloc)
{
	void *handle;
	const struct plugin *plugin = open_plugin(RTLD_NOW | RTLD_LOCAL, &handle);

	for (size_t i = 0; i < NR_SIZES; i++) {
		void *p = plugin->malloc(sizes[i]), *q = malloc(sizes[i]);

		EXPECT_GE(plugin->usable(q), sizes[i]);
		free(p);
		plugin->free(q);
	}
	EXPECT(plugin->malloc == (void *(*)(size_t))malloc);
	dlclose(handle);
}

/* dlclose runs the plugin's destructor, which allocates; its memory outlives its code. */
TEST(plugins_come_and_go)
{
	unsigned unloaded = 0;

	for (int i = 0; i < 200; i++) {
		const int flags = RTLD_NOW | RTLD_LOCAL | (i % 2 == 0 ? 0 : RTLD_DEEPBIND);
		void *handle, *kept;
		const struct plugin *plugin = open_plugin(flags, &handle);

		*plugin->unloaded = &unloaded;
		kept = plugin->malloc(3000);
		fill(kept, 3000, 6);
		EXPECT_EQ(dlclose(handle), 0);
		EXPECT_EQ(differs(kept, 3000, 6), 3000);
		free(kept);
	}
	EXPECT_EQ(unloaded, 200);
}
