/* SPDX-License-Identifier: MIT */
/* Prints the table of options as the list of ashlar(7), in mdoc(7), for tests/ctl/man_options.py. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "ctl/options.h"

#define LINE_MAX 76

/* A sentence of the table in lines of its own: a capital to begin with, a full stop to end. */
static void print_sentence(const char *text)
{
	size_t column = 0;

	for (const char *word = text; *word != '\0';) {
		const size_t n = strcspn(word, " ");

		if (column > 0 && column + 1 + n > LINE_MAX) {
			putchar('\n');
			column = 0;
		}
		if (column > 0)
			putchar(' ');
		column += n + (column > 0);
		putchar(word == text ? toupper((unsigned char)*word) : *word);
		fwrite(word + 1, 1, n - 1, stdout);
		word += n;
		word += *word == ' ';
	}
	puts(".");
}

int main(void)
{
	puts(".Bl -tag -width Ds");
	for (unsigned i = 0; i < ASH_OPTION_NR; i++) {
		const struct ash_option *row = &ash_options_table[i];

		printf(".It Cm %s : Ns Ar %s\n", row->key, row->accepts);
		print_sentence(row->help);
		if (row->def[0] != '\0')
			printf("The default is\n.Cm %s .\n", row->def);
		else
			printf("Empty by default.\n");
		printf("Since %s.\n", row->since);
	}
	puts(".El");
	return 0;
}
