#!/bin/sh
# Installs what culvert is built, tested and fuzzed with on Debian and Ubuntu;
# "deps.sh build" only what it is built with; "deps.sh test" that, and what most
# tests need; "deps.sh bench" what it is measured beside; "deps.sh releases" what
# makes chroots of other releases.
# Does nothing, quickly and without a word, when nothing is missing.
# "deps.sh mirror" prints where this release comes from, "deps.sh mirror
# -security" where its suite with that ending does.
#
# Debian 12 has ngtcp2 and nghttp3 of the needed age in its backports, which
# come from the mirror that the machine already uses.
set -eu

APT_DIR=${APT_DIR:-/etc/apt}
OS_RELEASE=${OS_RELEASE:-/etc/os-release}

# a|b is whichever of the two names this release has; p>=v is at least v.
QUIC='libngtcp2-dev>=1.11 libngtcp2-crypto-gnutls-dev>=1.11
	libnghttp3-dev>=1.8'
BUILD="gcc make pkgconf libc6-dev libgnutls28-dev libidn2-dev libuv1-dev libc-ares-dev
	libinih-dev libjansson-dev libseccomp-dev libcrypt-dev
	ca-certificates $QUIC"
# Faster AES-GCM; it is for one architecture, and a build without it works.
[ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ] ||
	BUILD="$BUILD libipsec-mb-dev"
TEST='libcmocka-dev python3-pytest openssl'
CHECK='curl mandoc iproute2 openvpn git netcat-openbsd openssh-client
	openssh-server
	chromium|chromium-browser chromium-sandbox|chromium-browser golang-go
	golang-github-lucas-clemente-quic-go-dev|golang-github-quic-go-quic-go-dev
	golang-github-marten-seemann-qpack-dev|golang-github-quic-go-qpack-dev'
FUZZ='clang llvm libclang-rt-dev|libclang-rt-14-dev'
BENCH='microsocks openssh-client openssh-server shadowsocks-libev openssl
	iproute2 python3 golang-go
	golang-github-lucas-clemente-quic-go-dev|golang-github-quic-go-quic-go-dev
	golang-github-marten-seemann-qpack-dev|golang-github-quic-go-qpack-dev'
# Older ones send each packet by a call of its own. On Debian 12 they and their
# compiler come from backports, after all else: quic-go there needs the compiler
# and the libraries of the release itself.
WIREGUARD='golang-golang.zx2c4-wireguard-dev>=0.0.20230101
	golang-gvisor-gvisor-dev>=0.0~20230927'
RELEASES='debootstrap debian-archive-keyring ubuntu-keyring'

# What CHECK and BENCH bring that would start now, and with the machine.
SERVICES='ssh.service ssh.socket shadowsocks-libev.service'
POLICY=${POLICY:-/usr/sbin/policy-rc.d}

die()
{
	echo "deps.sh: $*" >&2
	exit 1
}

nl='
'

# Reads "name version" lines of what is installed into $installed.
look()
{
	installed=$nl$(dpkg-query -W \
	    -f '${db:Status-Abbrev} ${Package} ${Version}\n' \
	    $(echo "$want" | sed 's/>=[^ 	]*//g; s/|/ /g') 2>/dev/null |
	    sed -n 's/^.i  *//p') || true
}

# Is one of a|b, or p>=v, installed?
have()
{
	least=${1#*>=}
	[ "$least" != "$1" ] || least=0
	IFS='|'
	set -- ${1%>=*}
	unset IFS
	for name; do
		version=${installed#*"$nl$name "}
		[ "$version" != "$installed" ] || continue
		version=${version%%"$nl"*}
		[ "$least" != 0 ] || return 0
		dpkg --compare-versions "$version" ge "$least" && return 0
	done
	return 1
}

# Prints those of the arguments that are not installed, or too old.
missing()
{
	for package; do
		have "$package" || echo "$package"
	done
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Runs apt-get, which is heard only when it fails.
apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get \
	    -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null || {
		cat "$log" >&2
		die "apt-get $1 failed"
	}
}

# Picks the name of a|b that apt knows.
resolve()
{
	for name in $(echo "${1%>=*}" | tr '|' ' '); do
		if apt-cache show "$name" >/dev/null 2>&1; then
			echo "$name"
			return
		fi
	done
	die "this release has no package ${1%>=*}"
}

# Installs what the arguments name, of this $release when that is set.
install()
{
	packages=$(for package; do resolve "$package"; done)
	[ -z "$packages" ] ||
	    apt install -y --no-install-recommends $release $packages
}

# Prints a line "suite TAB uri TAB more" for each suite with the component main
# in one-line sources; more is what a stanza needs besides, ^A for newlines.
one_line_sources()
{
	awk '$1 == "deb" {
		more = ""
		if (match($0, /\[[^]]*\]/)) {
			n = split(substr($0, RSTART + 1, RLENGTH - 2), option)
			$0 = substr($0, 1, RSTART - 1) \
			    substr($0, RSTART + RLENGTH)
			for (i = 1; i <= n; i++) {
				if (sub(/^signed-by=/, "", option[i]))
					more = more "\001Signed-By: " option[i]
				if (sub(/^trusted=/, "", option[i]))
					more = more "\001Trusted: " option[i]
			}
		}
		for (i = 4; i <= NF && $i !~ /^#/; i++)
			if ($i == "main")
				print $3 "\t" $2 "\t" more
	}' "$@"
}

# The same for stanzas, whose fields may go on in indented lines (deb822).
stanza_sources()
{
	awk '
	function flush(  s, u, i, j, ns, nu, more) {
		more = ""
		if ("signed-by" in field)
			more = more "\001Signed-By:" field["signed-by"]
		if ("trusted" in field)
			more = more "\001Trusted:" field["trusted"]
		ns = split(field["suites"], s, /[ \t\001]+/)
		nu = split(field["uris"], u, /[ \t\001]+/)
		if (tolower(field["enabled"]) !~ /no|false|off|0/ &&
		    field["types"] ~ /(^|[ \t])deb([ \t]|$)/ &&
		    field["components"] ~ /(^|[ \t\001])main([ \t\001]|$)/)
			for (i = 1; i <= ns; i++)
				for (j = 1; j <= nu; j++)
					if (s[i] != "" && u[j] != "")
						print s[i] "\t" u[j] "\t" more
		split("", field)
	}
	FNR == 1 { flush() }
	/^#/ { next }
	/^[ \t]*$/ { flush(); next }
	/^[ \t]/ { field[name] = field[name] "\001" $0; next }
	{
		name = tolower(substr($0, 1, index($0, ":") - 1))
		field[name] = substr($0, index($0, ":") + 1)
	}
	END { flush() }' "$@"
}

sources()
{
	set -- "$APT_DIR"/sources.list "$APT_DIR"/sources.list.d/*.list
	for file; do
		[ ! -f "$file" ] || one_line_sources "$file"
	done
	for file in "$APT_DIR"/sources.list.d/*.sources; do
		[ ! -f "$file" ] || stanza_sources "$file"
	done
}

# Prints the machine's own source of a suite. Others than Debian may name their
# suites alike, but only Debian's mirrors have its updates beside it.
main_source()
{
	sources | awk -F '\t' -v suite="$1" '
	$1 == suite { line[++n] = $0; uri[n] = $2 }
	$1 == suite "-updates" { updates[$2] = 1 }
	END {
		for (i = n; i > 0; i--)
			if (best == 0 || uri[i] in updates ||
			    !(uri[best] in updates))
				best = i
		if (best)
			print line[best]
	}'
}

add_backports()
{
	tab=$(printf '\t')
	suite=$1-backports
	if sources | grep -q "^$suite$tab"; then
		return
	fi
	source=$(main_source "$1")
	[ -n "$source" ] || die "no apt source has $1; add $suite yourself"
	source=${source#*"$tab"}
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main%s\n' \
	    "${source%%"$tab"*}" "$suite" "${source#*"$tab"}" |
	    tr '\001' '\n' |
	    as_root tee "$APT_DIR"/sources.list.d/culvert-backports.sources \
	    >/dev/null
}

# Installs what the arguments name without starting a server on this machine:
# tests and benchmark run their own. One that was there before is left alone.
install_quietly()
{
	idle=
	for service in $SERVICES; do
		[ -e "/lib/systemd/system/$service" ] ||
		    idle="$idle $service"
	done
	if [ ! -e "$POLICY" ]; then
		trap 'as_root rm -f "$POLICY"; rm -f "$log"' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
		as_root chmod 755 "$POLICY"
	fi
	install "$@"
	[ -z "$idle" ] || ! command -v systemctl >/dev/null ||
	    as_root systemctl -q disable $idle 2>/dev/null || true
}

codename=$(. "$OS_RELEASE" 2>/dev/null && echo "${VERSION_CODENAME-}") || true
[ "$codename" != bookworm ] || WIREGUARD="$WIREGUARD golang-1.23-go"
put=install
last=
case ${1-} in
build) want=$BUILD ;;
test) want="$BUILD $TEST" ;;
bench) want=$BENCH last=$WIREGUARD put=install_quietly ;;
releases) want=$RELEASES ;;
mirror) main_source "$codename${2-}" | cut -f 2; exit ;;
'') want="$BUILD $TEST $CHECK $FUZZ" put=install_quietly ;;
*) die 'usage: deps.sh [build|test|bench|releases|mirror [ENDING]]' ;;
esac

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die 'this is neither Debian nor Ubuntu; culvert needs a C11 compiler,
make, pkg-config, ngtcp2 >= 1.11 with its GnuTLS crypto library, nghttp3 >= 1.8,
GnuTLS >= 3.7.9, libuv >= 1.44, c-ares, inih, jansson, libseccomp and libcrypt'

first=$want
want="$want $last"
look
needed=$(missing $want)
[ -n "$needed" ] || exit 0
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    die "to be run as root, or with sudo, to install:" $needed

echo "deps.sh: installing" $needed
log=$(mktemp)
trap 'rm -f "$log"' EXIT
old=
case $want in *libngtcp2*) old=$(missing $QUIC) ;; esac
last=$(missing $last)
backports=
if [ -n "$old$last" ] && [ "$codename" = bookworm ]; then
	add_backports bookworm
	backports='-t bookworm-backports'
fi
apt update
release=$backports
install $old
release=
look
$put $(missing $first)
release=$backports
install $last

look
needed=$(missing $want)
[ -z "$needed" ] || die 'this release is too old for culvert; it lacks' $needed
