# SPDX-License-Identifier: MIT
# A Perl load: hashes of arrays, string building, sorting, regular expressions; prints a checksum.
use strict;
use warnings;

my $rounds = shift // 4;
my $sum = 0;
for my $round (1 .. $rounds) {
	my (%by_tail, $text);
	for my $i (1 .. 200000) {
		my $word = "word" . ($i * 7919 % 100003);
		push @{ $by_tail{ substr($word, -3) } }, $word;
		$text .= "$word " if $i % 4 == 0;
	}
	for my $tail (sort keys %by_tail) {
		$sum += length join ",", sort @{ $by_tail{$tail} };
	}
	$sum++ while $text =~ /word(\d*)7 /g;
}
print "$sum\n";
