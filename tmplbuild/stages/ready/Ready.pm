# A program in Perl kept ready: `perl -MReady=DOOR,TURN PROGRAM` loads what PROGRAM uses and then listens on the
# socket DOOR. Each caller (caller.pl) gets a copy of this process that goes on as if it had just been started:
# with the caller's arguments, environment, directory, umask and open files, it returns from `import` below, and
# perl reads PROGRAM and runs it. With TURN, the name of a file, one copy after the other.
package Ready;

use strict;
use warnings;
use POSIX ();

# unix(7), flock(2), fcntl(2), pidfd_open(2), pidfd_getfd(2); the same on all architectures that Debian has here
my ($AF_UNIX, $SOCK_STREAM, $SOL_SOCKET, $SO_PEERCRED) = (1, 1, 1, 17);
my ($LOCK_EX, $F_DUPFD_CLOEXEC, $O_CLOEXEC) = (2, 1030, 02000000);
my ($SYS_PIDFD_OPEN, $SYS_PIDFD_GETFD) = (434, 438);
my $LOW = 10;    # callers' descriptors are below it, and ours are not: whoever starts us sees to that

sub import {
    my (undef, $place, $turn) = @_;
    @INC = grep { !-e "$_/Ready.pm" } @INC;
    my $program = script();
    load("/proc/self/fd/$program");
    socket(my $door, $AF_UNIX, $SOCK_STREAM, 0) or die "socket: $!";
    bind($door, pack('Sa*', $AF_UNIX, "$place.new")) or die "$place: $!";
    listen($door, 64) or die "$place: $!";
    rename("$place.new", $place) or die "$place: $!";    # who sees it is heard
    local $SIG{CHLD} = 'IGNORE';
    while (1) {
        accept(my $caller, $door) or next;
        next if fork // 1;    # where it cannot fork, the caller is not answered and helps itself
        $SIG{CHLD} = 'DEFAULT';
        close $door;
        serve($caller, $turn) or POSIX::_exit(0);
        # From the beginning, and on a descriptor of its own: a position is shared by all copies.
        open(my $fresh, '<', "/proc/self/fd/$program") or die "$0: $!";
        POSIX::close($program);
        # "+ 0": perls before 5.36 take a number that was once printed for a buffer
        fcntl($fresh, $F_DUPFD_CLOEXEC, $program + 0) == $program or die "$0: $!";
        $^T = time;
        return;
    }
}

# In a copy: becomes what the caller is, and waits for a copy of its own, to tell the caller how that ended.
# True in the latter, which is to go on.
sub serve {
    my ($caller, $turn) = @_;
    my ($pid) = unpack 'i', getsockopt($caller, $SOL_SOCKET, $SO_PEERCRED);
    my ($name, @arguments) = split /\0/, do { local $/; <$caller> // '' }, -1;
    pop @arguments;    # each ends with a NUL
    if ($turn) {
        open(our $lock, '>>', $turn) or return;    # until the end of the process
        flock($lock, $LOCK_EX) or return;
    }
    become($pid) or return;
    ($0, @ARGV) = ($name, @arguments);
    my $child = fork // return;
    return 1 if !$child;
    syswrite $caller, "begun\n";
    waitpid $child, 0;
    syswrite $caller, ($? & 127 ? 128 + ($? & 127) : $? >> 8) . "\n";
    return;
}

# Takes over what a process has from those who started it. False if that cannot be.
sub become {
    my ($pid) = @_;
    my %other = slurp("/proc/$pid/status") =~ /^(\w+):[ \t]*(.*)$/mg;
    my %own = slurp('/proc/self/status') =~ /^(\w+):[ \t]*(.*)$/mg;
    for my $same (qw(Uid Gid Groups CapEff)) {
        return if $other{$same} ne $own{$same};
    }
    ignore(map { hex $_->{SigIgn} } \%own, \%other);
    my $environment = slurp("/proc/$pid/environ");
    chdir "/proc/$pid/cwd" or return;
    take_descriptors($pid) or return;
    umask oct $other{Umask};
    %ENV = map { split /=/, $_, 2 } grep { /=/ } split /\0/, $environment;
    return 1;
}

# From one set of ignored signals to another.
sub ignore {
    my ($now, $then) = @_;
    for my $signal (1 .. 31) {
        my $bit = 1 << $signal - 1;
        next if ($now & $bit) == ($then & $bit);
        POSIX::sigaction($signal, POSIX::SigAction->new($then & $bit ? 'IGNORE' : 'DEFAULT'));
    }
}

# Makes another process's descriptors ours, under the same numbers.
sub take_descriptors {
    my ($pid) = @_;
    my $handle = syscall $SYS_PIDFD_OPEN, $pid + 0, 0;    # "+ 0": as above
    return if $handle < 0;
    my %taken;
    for my $number (numbers("/proc/$pid/fd")) {
        my ($flags) = slurp("/proc/$pid/fdinfo/$number") =~ /^flags:\s*(\d+)/m;
        next if oct($flags) & $O_CLOEXEC;
        return if $number >= $LOW;
        $taken{$number} = syscall $SYS_PIDFD_GETFD, $handle, $number + 0, 0;
        return if $taken{$number} < 0;
    }
    for my $number (0 .. $LOW - 1) {
        POSIX::close($number);
        POSIX::dup2($taken{$number}, $number) if defined $taken{$number};
    }
    POSIX::close($_) for $handle, values %taken;
    return 1;
}

# Loads the modules that a program names; those that are not there, it does without or fails by itself.
sub load {
    my ($path) = @_;
    my $text = slurp($path);
    $text =~ m{\A#!\s*/usr/bin/perl( -w)?\s*\n} or die "$0 is no such program";
    eval "require $_" for $text =~ /^[^#\n]*?\b(?:use|require)\s+([A-Z]\w*(?:::\w+)*)/mg;
}

# The descriptor from which perl reads the program.
sub script {
    my $wanted = join ' ', (stat $0)[0, 1];
    for my $number (numbers('/proc/self/fd')) {
        my @found = stat "/proc/self/fd/$number" or next;
        return $number if $wanted eq "@found[0, 1]";
    }
    die "$0 is not open";
}

sub numbers {
    my ($path) = @_;
    opendir(my $folder, $path) or return;
    return sort { $a <=> $b } map { $_ + 0 } grep { /^\d+$/ } readdir $folder;
}

sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or return '';
    local $/;
    return <$file> // '';
}

1;
