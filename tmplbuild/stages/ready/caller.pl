#!/usr/bin/perl
# Stands where a program was that is kept ready (Ready.pm): calls it, and ends as it does.
my $ready;
if (socket($ready, 1, 1, 0) && connect($ready, pack('Sa*', 1, '{name}.door')) && <$ready>) {
    exit(<$ready> // 255);
}
exec {'{program}'} $0, @ARGV;
exit 127;
