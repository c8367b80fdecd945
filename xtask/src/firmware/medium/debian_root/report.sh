#!/bin/sh
# Prints the report of guests/init with Debian's programs when the system has started, and ends the machine.

report() {
    echo "userspace reached: $(uname -srm)"
    . /etc/os-release
    echo "os: $PRETTY_NAME"
    echo "init: $(cat /proc/1/comm)"
    echo "system: $state"
    systemctl --failed --plain --no-legend | sed 's/^/failed unit: /'
    findmnt --noheadings --list --output TARGET,SOURCE,FSTYPE --types ext4,vfat | sed 's/^/mount: /'
    if [ -d /sys/firmware/efi ]; then
        echo "efi: $(cat /sys/firmware/efi/fw_platform_size) bits"
        echo "efi variables: $(find /sys/firmware/efi/efivars -type f | wc -l)"
        echo "efi variable: $(variable)"
    else
        echo "efi: none"
    fi
    for clock in /sys/class/rtc/*; do
        if [ -e "$clock/since_epoch" ]; then
            echo "clock: $(cat "$clock/since_epoch") $(cat "$clock/name")"
        fi
    done
}

# Creates a variable, reads it back and deletes it.
variable() {
    file=/sys/firmware/efi/efivars/VmbootInit-8f2a4c52-61f5-4d0e-9b1c-2b7f0a6d3e55
    # NON_VOLATILE, BOOTSERVICE_ACCESS and RUNTIME_ACCESS, and the value.
    printf '\007\000\000\000vmboot' >/run/variable
    cat /run/variable >$file && cmp $file /run/variable && chattr -i $file && rm $file && [ ! -e $file ] &&
        echo "created, read back, deleted"
}

state=$(systemctl is-system-running --wait)
echo 1 >/proc/sys/kernel/printk
# In one piece, so that the prompt of getty splits no line.
text=$(report 2>&1)
printf '\n%s\n' "$text" >/dev/console
case $(cat /proc/cmdline) in
*init.end=reboot*) systemctl reboot ;;
*) systemctl poweroff ;;
esac
