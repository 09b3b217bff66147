#!/bin/sh
# Runs "make check" on each release that culvert supports, in a chroot made by
# debootstrap, and prints a line for each. Arguments choose some releases by
# their version: tests/releases.sh 12 sid. It takes root.
#
# Packages come from the mirror in the machine's own apt sources. MIRROR names
# another one of Debian, UBUNTU_MIRROR one of Ubuntu.
#
# The chroots stay in build/releases/ until "make clean". All is mounted in a
# mount namespace that ends with the run: nothing stays mounted on this machine,
# and nothing can be deleted through a mount.
set -eu

cd "$(dirname "$0")/.."
OS_RELEASE=${OS_RELEASE:-/etc/os-release}
RELEASES='debian 12 bookworm
debian 13 trixie
debian sid sid
ubuntu 25.10 questing'
VERSIONS=$(echo "$RELEASES" | cut -d ' ' -f 2)

die()
{
	echo "releases.sh: $*" >&2
	exit 1
}

# Prints the mirror of the distribution, or nothing.
find_mirror()
{
	case $distribution in
	debian) named=${MIRROR-} ;;
	ubuntu) named=${UBUNTU_MIRROR-} ;;
	esac
	if [ -n "$named" ]; then
		echo "$named"
	elif [ "$distribution" = "$(. "$OS_RELEASE" && echo "$ID")" ]; then
		./deps.sh mirror
	fi
}

# Prints the apt sources that users of the release have.
apt_sources()
{
	components=main
	[ "$distribution" = debian ] || components='main universe'
	echo "deb $mirror $suite $components"
	[ "$suite" != sid ] || return 0
	echo "deb $mirror $suite-updates $components"
	[ "$mirror" = "$(./deps.sh mirror)" ] || return 0
	security=$(./deps.sh mirror -security)
	[ -z "$security" ] || echo "deb $security $suite-security $components"
}

bootstrap()
{
	script= # the suite's own; Debian's debootstrap has none for Ubuntu's
	[ "$distribution" = debian ] ||
	    script=/usr/share/debootstrap/scripts/gutsy
	rm -rf "$root.new"
	debootstrap --variant=minbase --include=ca-certificates \
	    "$suite" "$root.new" "$mirror" $script
	echo force-unsafe-io >"$root.new/etc/dpkg/dpkg.cfg.d/fast"
	mv "$root.new" "$root"
}

# Copies into the chroot what it needs of this machine.
fill()
{
	rm -rf "$root/culvert"
	mkdir "$root/culvert"
	tar -c --exclude=./build --exclude=./.git . | tar -x -C "$root/culvert"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc"
	apt_sources >"$root/etc/apt/sources.list"
	apt-config dump |
	    grep -i '^acquire::\(.*::proxy\|check-valid-until\)' \
	    >"$root/etc/apt/apt.conf.d/99machine" || true
}

# Makes the chroot the root of this mount namespace, by pivot_root: below
# chroot(2) the kernel refuses the user namespaces that some tests make.
enter()
{
	mount --bind "$root" "$root"
	cd "$root"
	mount -t proc proc proc
	mount -t sysfs sysfs sys
	mount --rbind /dev dev
	mount -t tmpfs tmpfs run
	mount -t tmpfs tmpfs tmp
	pivot_root . mnt
	exec chroot . /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
	    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	    ${http_proxy:+http_proxy="$http_proxy"} sh -euc '
		umount -l /mnt
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q update
		apt-get -qy dist-upgrade
		cd /culvert
		./deps.sh
		dpkg-query -W gcc "libngtcp2*-dev" libnghttp3-dev \
		    libgnutls28-dev libc6-dev
		make CI=1 check'
}

# Runs one release and prints its line.
release()
{
	distribution=$1 version=$2 suite=$3
	dir=build/releases/$version
	root=$PWD/$dir/root
	mirror=$(find_mirror)
	if [ -z "$mirror" ]; then
		[ "$1" = ubuntu ] && name=UBUNTU_MIRROR || name=MIRROR
		echo "$1 $2: not run, $name names no mirror"
		return
	fi
	mkdir -p "$dir"
	export distribution version suite root mirror
	unshare --mount --pid --fork --kill-child "$0" inside \
	    >"$dir/log" 2>&1 </dev/null &
	running=$!
	if wait "$running"; then
		echo "$1 $2:" "$(sed -n \
		    's/^\([0-9]* passed.*\) in [0-9.]*s.*/\1/p' "$dir/log")"
	else
		echo "$1 $2: FAILED, see $dir/log"
		failed=1
	fi
}

[ "$(id -u)" = 0 ] ||
    die 'to be run as root: it makes chroots, and mounts in them'
if [ "${1-}" = inside ]; then
	[ -d "$root" ] || bootstrap
	fill
	enter
fi
for version; do
	echo "$VERSIONS" | grep -qFx "$version" ||
	    die "there is no release $version; there are" $VERSIONS
done

./deps.sh releases
running= failed=0
# unshare ignores lesser signals; all that it has started goes with it.
trap '[ -z "$running" ] || kill -KILL "$running"; exit 1' HUP INT TERM
while read -r distribution version suite; do
	case " ${*:-$version} " in
	*" $version "*) release "$distribution" "$version" "$suite" ;;
	esac
done <<END
$RELEASES
END
exit $failed
