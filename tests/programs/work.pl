# SPDX-License-Identifier: MIT
# work.pl N - hashes, strings, regular expressions, sorting, fork in Perl.
use strict;
use warnings;

my $n = shift;
my $seed = 42;

sub random {
    $seed = ($seed * 1103515245 + 12345) & 0x7fffffff;
    return $seed % shift;
}

my %table;
for my $i (1 .. $n) {
    push @{ $table{ random($n) } }, 'v' x random(300);
}
delete $table{$_} for grep { $_ % 3 == 0 } keys %table;
my $sum = 0;
$sum += length $_ for map { @$_ } values %table;
print scalar(keys %table), " keys, $sum bytes\n";

my $text = '';
$text .= chr(97 + random(26)) . (random(6) == 0 ? ' ' : '') for 1 .. $n * 5;
my %words;
$words{$1}++ while $text =~ /(\w+)/g;
my @top = (sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words)[0 .. 9];
print join(',', map { "$_=$words{$_}" } @top), "\n";
(my $other = $text) =~ s/([aeiou])(\w)/$2$1$1/g;
print length($other), ' ', unpack('%32C*', $other), "\n";

my @list = map { join '-', map { random(1000) } 1 .. 10 } 1 .. $n / 5;
my @sorted = sort @list;
print unpack('%32C*', join '', @sorted[0 .. $n / 10]), "\n";

for my $i (1 .. 20) {
    my $pid = open(my $child, '-|') // die "fork: $!";
    if ($pid == 0) {
        my @more = map { $_ x $i } @sorted[0 .. 100];
        print "child $i: ", unpack('%32C*', join '', @more), "\n";
        exit $i;
    }
    print while <$child>;
    close $child;
    print 'ended with ', $? >> 8, "\n";
}
exit 5;
