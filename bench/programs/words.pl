# SPDX-License-Identifier: MIT
# words.pl N - hashes of arrays, regular expressions, sorting.
use strict;
use warnings;

my $n = shift;
my $seed = 42;

sub random {
    $seed = ($seed * 1103515245 + 12345) & 0x7fffffff;
    return ($seed >> 8) % shift;
}

my (%table, %words);
push @{ $table{ random($n) } }, 'v' x random(200) for 1 .. $n;
delete $table{$_} for grep { $_ % 3 == 0 } keys %table;
my $sum = 0;
$sum += length $_ for map { @$_ } values %table;
print scalar(keys %table), " keys, $sum bytes\n";

my $text = '';
$text .= chr(97 + random(26)) . (random(6) == 0 ? ' ' : '') for 1 .. $n * 5;
$words{$1}++ while $text =~ /(\w+)/g;
my @top = (sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words)[0 .. 9];
print join(',', map { "$_=$words{$_}" } @top), "\n";
(my $other = $text) =~ s/([aeiou])(\w)/$2$1$1/g;
print length($other), ' ', unpack('%32C*', $other), "\n";
