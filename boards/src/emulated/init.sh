#!/bin/sh
# The machine's system: mounts, a network, and a shell on the serial line that is spoken to by a program.
export PATH=/bin HOME=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
data=$(findfs LABEL=zlayer-data 2>/dev/null)
if [ -n "$data" ]; then
    mount -t ext4 "$data" /data || echo "=== the data disk cannot be mounted"
else
    # A card has the data beside the system.
    mount -o remount,rw / || echo "=== the root disk cannot be written"
fi
ifconfig lo 127.0.0.1 up

# Gives the network interface that is there the address that the emulator expects: those of USB come late.
network() {
    n=0
    while [ $n -lt 100 ]; do
        for i in /sys/class/net/*; do
            i=${i##*/}
            [ $i = lo ] && continue
            ifconfig $i 10.0.2.15 netmask 255.255.255.0 up && route add default gw 10.0.2.2 && return 0
        done
        usleep 100000
        n=$((n + 1))
    done
    return 1
}

# Asks the program on port 8080 for a path: whether the answer is a 200. Not by wget, which falls over in
# Debian 12's busybox for arm64.
get() {
    case $(printf "GET $1 HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n" |
        nc -w 20 127.0.0.1 8080 2>/dev/null | head -n 1) in
    "HTTP/1."?" 200 "*) return 0 ;;
    esac
    return 1
}

# Starts a program that serves port 8080, with an empty environment, and asks for the path that comes first
# until it answers. P is its process from then on.
first_answer() {
    path=$1
    shift
    read from rest </proc/uptime
    env -i "$@" </dev/null >/data/said 2>&1 &
    P=$!
    until get $path; do
        kill -0 $P || return 1
        usleep 2000
    done
    read to rest </proc/uptime
    echo "answered $from $to $P"
    figures
}

# What the kernel knows of the process P and of the machine's memory. Time first: looking takes some.
figures() {
    for t in /proc/$P/task/*; do
        echo "schedstat $(cat $t/schedstat)"
    done
    cat /proc/$P/status /proc/meminfo
    grep -E "^(Rss|Anonymous):" /proc/$P/smaps
}

# Asks the program to stop and waits until it has.
stop() {
    kill $P
    wait $P
}

stty -echo -onlcr 2>/dev/null
echo "=== 0 ended 0"
while read -r number line; do
    eval "$line"
    echo "=== $number ended $?"
done
