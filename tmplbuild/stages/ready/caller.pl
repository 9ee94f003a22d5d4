#!/usr/bin/perl
# Stands where a program was that is kept ready (Ready.pm): calls it, and ends as it does.
my $ready;
if (socket($ready, 1, 1, 0) && connect($ready, pack('Sa*', 1, '{name}.door'))) {
    send $ready, join('', map { "$_\0" } $0, @ARGV), 0x4000;    # MSG_NOSIGNAL: it may be gone
    shutdown $ready, 1;
    exit(<$ready> // 255) if <$ready>;
}
exec {'{program}'} $0, @ARGV;
exit 127;
