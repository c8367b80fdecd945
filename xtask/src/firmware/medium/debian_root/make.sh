#!/bin/sh
# Makes an ext4 image with Debian from packages, as root or below fakeroot. The maintainer scripts of the packages do not run: they are
# programs of another architecture. What they would write is written here.
#
# Variables: DEBS (directory with the packages), KERNEL (unpacked package of the kernel), INITRD, CONFIG (directory with the files that
# are not Debian's), DEPMOD, MKE2FS, FS_UUID, WORK (an empty directory), IMAGE (the result), CONSOLE (arguments of the kernel).
set -eu
umask 022
root=$WORK/root
mkdir "$root"

# The links /bin, /lib and so on come first.
for deb in "$DEBS"/base-files_*.deb "$DEBS"/*.deb; do
    dpkg-deb -x "$deb" "$root"
done
cp -a "$KERNEL/." "$root/"
chown -hR 0:0 "$root/boot" "$root/usr/lib/modules"

# dpkg: the list of installed packages.
mkdir -p "$root/var/lib/dpkg/info"
for deb in "$DEBS"/*.deb; do
    dpkg-deb -f "$deb" | sed '/^Package:/a Status: install ok unpacked'
    echo
done >"$root/var/lib/dpkg/status"
: >"$root/var/lib/dpkg/available"

# base-passwd, and sysusers.d(5) for the users of other packages.
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
next=999
for file in "$root"/usr/lib/sysusers.d/*.conf; do
    while read -r kind name id rest; do
        case $kind in
        u | u! | g) ;;
        *) continue ;;
        esac
        # Those of base-passwd have their numbers; the others have none here.
        if [ "$id" != - ] || grep -q "^$name:" "$root/etc/group"; then
            continue
        fi
        echo "$name:x:$next:" >>"$root/etc/group"
        if [ "$kind" != g ]; then
            echo "$name:x:$next:$next:$name:/nonexistent:/usr/sbin/nologin" >>"$root/etc/passwd"
        fi
        next=$((next - 1))
    done <"$file"
done
sed -i 's/^root:[^:]*:/root:x:/; s/:\*:/:x:/' "$root/etc/passwd"
# No password is valid.
sed 's/^\([^:]*\):.*/\1:*:20000:0:99999:7:::/' "$root/etc/passwd" >"$root/etc/shadow"
sed 's/^\([^:]*\):.*/\1:*::/' "$root/etc/group" >"$root/etc/gshadow"
chown 0:42 "$root/etc/shadow" "$root/etc/gshadow"
chmod 640 "$root/etc/shadow" "$root/etc/gshadow"
cp "$root/usr/share/libc-bin/nsswitch.conf" "$root/etc/nsswitch.conf"
cp "$root/usr/share/base-files/profile" "$root/etc/profile"
cp "$root/usr/share/base-files/motd" "$root/etc/motd"

# update-alternatives.
ln -sf mawk "$root/usr/bin/awk"

# pam-auth-update, with the modules unix and systemd.
pam() {
    sed -e "s/^\$${2}_primary.*/$3/" -e "s/^\$${2}_additional.*/$4/" "$root/usr/share/pam/common-$1" >"$root/etc/pam.d/common-$1"
}
pam auth auth 'auth [success=1 default=ignore] pam_unix.so nullok' ''
pam account account 'account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so' ''
pam password password 'password [success=1 default=ignore] pam_unix.so obscure yescrypt' ''
pam session session 'session [default=1] pam_permit.so' 'session required pam_unix.so\nsession optional pam_systemd.so'
pam session-noninteractive session_nonint 'session [default=1] pam_permit.so' 'session required pam_unix.so'

# systemd: units that are enabled after an installation, by the section [Install] of each.
enable() {
    unit=$1
    file=$root/usr/lib/systemd/system/$unit
    if [ ! -e "$file" ]; then
        file=$root/usr/lib/systemd/system/${unit%@*}@.${unit##*.}
    fi
    if [ ! -e "$file" ]; then
        file=$root/etc/systemd/system/$unit
    fi
    for target in $(sed -n '/^\[Install\]/,$s/^WantedBy=//p' "$file"); do
        mkdir -p "$root/etc/systemd/system/$target.wants"
        ln -sf "${file#"$root"}" "$root/etc/systemd/system/$target.wants/$unit"
    done
}
cp -R "$CONFIG/." "$root/"
for unit in apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty@tty1.service remote-fs.target systemd-pstore.service vmboot-report.service; do
    enable "$unit"
done
mkdir -p "$root/var/log/journal" "$root/var/lib/dbus" "$root/boot/efi"
ln -sf /etc/machine-id "$root/var/lib/dbus/machine-id"

# The kernel, as linux-base and initramfs-tools install it.
version=$(basename "$root"/usr/lib/modules/*)
"$DEPMOD" -b "$root" "$version"
kernel=$(basename "$root"/boot/vmlinu?-"$version")
cp "$INITRD" "$root/boot/initrd.img-$version"
ln -s "boot/$kernel" "$root/vmlinuz"
ln -s "boot/initrd.img-$version" "$root/initrd.img"

# update-grub.
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<EOF
terminal_input console
terminal_output console
set timeout=0
menuentry 'Debian GNU/Linux' {
	insmod part_gpt
	insmod ext2
	search --no-floppy --fs-uuid --set=root $FS_UUID
	echo 'Loading Linux $version ...'
	linux /boot/$kernel root=UUID=$FS_UUID ro $CONSOLE
	echo 'Loading initial ramdisk ...'
	initrd /boot/initrd.img-$version
}
EOF

# ConditionNeedsUpdate= of systemd.unit(5): nothing is older than /usr.
touch "$root/etc/.updated" "$root/var/.updated"

size=$(du -sk "$root" | cut -f1)
rm -f "$IMAGE"
"$MKE2FS" -q -F -t ext4 -L root -U "$FS_UUID" -E root_owner=0:0 -d "$root" "$IMAGE" "$((size + size / 8 + 65536))k"
