#!/bin/busybox sh
# The first and only program of a machine that 'cargo xtask vm' boots: it runs what is in /tests
# and powers off. Its lines go to the second serial port; the kernel's own go to the first.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp RUST_BACKTRACE=0
export NETTOLL_BIN_DIR=/nettoll
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/ttyS1 2>&1

part() {
    name=$1
    shift
    printf '\n@nettoll begin %s\n' "$name"
    "$@"
    printf '\n@nettoll end %s %s\n' "$name" "$?"
}

load() {
    for module in /modules/*; do
        insmod "$module" || return
    done
}

# Through a file: the serial port is a terminal, on which it would speak in colours.
doctor() {
    /nettoll/nettoll-agent doctor >/tmp/doctor
    code=$?
    cat /tmp/doctor
    return $code
}

part release uname -r
part modules load
ip link set lo up
part doctor doctor
part doctor.json /nettoll/nettoll-agent doctor -o json
for test in /tests/*; do
    part "${test##*/}" "$test" --test-threads=1 --show-output
done
printf '\n@nettoll done\n'
poweroff -f
