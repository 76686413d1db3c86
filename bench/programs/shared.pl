# SPDX-License-Identifier: MIT
# shared.pl N - threads that hand strings over by a shared queue.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;

my $n     = shift;
my $queue = Thread::Queue->new;
$queue->limit = 200;

sub count {
    my ($kept, $total) = ({}, 0);
    while (defined(my $record = $queue->dequeue)) {
        $total += length $record->{body};
        $kept->{ $record->{id} % 5000 } = $record->{body};
    }
    return $total;
}

my @readers = map { threads->create(\&count) } 1 .. 2;
$queue->enqueue({ id => $_, body => 'x' x (100 + $_ * 31 % 900) }) for 1 .. $n;
$queue->end;
my $sum = 0;
$sum += $_->join for @readers;
print "$sum\n";
