/* SPDX-License-Identifier: MIT */
/*
 * A heap per request: build a tree from the request's words, answer, and forget it all at once. No object is freed one
 * by one, and the memory of one request serves the next.
 */
#include <ashlar/ashlar.h>
#include <stdio.h>
#include <string.h>

struct node {
	struct node *left, *right;
	const char *word;
	unsigned count;
};

static struct node *insert(struct ash_heap *heap, struct node *root, const char *word, size_t length)
{
	struct node **at = &root;

	while (*at != NULL) {
		const int order = strncmp(word, (*at)->word, length);

		if (order == 0 && (*at)->word[length] == 0) {
			(*at)->count++;
			return root;
		}
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	*at = ash_heap_zalloc(heap, sizeof(**at));
	char *copy = ash_heap_alloc(heap, length + 1);

	if (*at == NULL || copy == NULL)
		return NULL;
	memcpy(copy, word, length);
	copy[length] = 0;
	(*at)->word = copy;
	(*at)->count = 1;
	return root;
}

static void print(const struct node *n)
{
	if (n == NULL)
		return;
	print(n->left);
	printf(" %s:%u", n->word, n->count);
	print(n->right);
}

int main(void)
{
	static const char *const requests[] = { "the slab the run the frame", "order order pageblock", "one" };
	struct ash_heap *heap = ash_heap_create(ASH_NODE_LOCAL);

	if (heap == NULL)
		return 1;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct node *root = NULL;

		for (const char *p = requests[i]; *p != 0; p += strspn(p, " ")) {
			const size_t length = strcspn(p, " ");

			root = insert(heap, root, p, length);
			if (root == NULL)
				return 1;
			p += length;
		}
		printf("request %zu:", i);
		print(root);
		printf("\n");
		ash_heap_reset(heap);
	}
	ash_heap_destroy(heap);
	return 0;
}
