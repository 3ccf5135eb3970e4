#!/bin/sh
# Put the RabbitMQ of another Debian release into a folder of its own, to test with that version; nothing of this machine is changed.
#
#   scripts/rabbitmq_of_debian.sh trixie /srv/rabbitmq-4.0
#   TEST_RABBITMQ_SERVER=/srv/rabbitmq-4.0/rabbitmq-server make test ARGS="-k rabbitmq"
#
# The packages are those of the release, its C library among them, unpacked and not installed: none of their scripts is run. The program
# that is made starts the server in them (chroot) in a mount namespace of its own, where /tmp, /proc and /dev are those of this machine;
# tests start this machine's epmd beside it (Debian: erlang-base), which serves nodes of any version.
# Both need root, on Debian or Ubuntu with the package debian-archive-keyring. APT_OPTIONS="…" goes to apt-get.
set -eu

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

[ $# = 2 ] || fail "say which Debian release and which folder: $0 trixie /srv/rabbitmq-4.0"
release=$1
[ ! -e "$2" ] || fail "$2 exists already"
mkdir -p "$2"
folder=$(cd "$2" && pwd)
root=$folder/root
apt=$folder/apt

mkdir -p "$apt/etc/apt/apt.conf.d" "$apt/etc/apt/preferences.d" "$apt/var/lib/apt/lists/partial" "$apt/var/cache/apt/archives/partial"
mkdir -p "$apt/var/lib/dpkg" "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/proc" "$root/dev" "$root/tmp"
: >"$apt/var/lib/dpkg/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >"$apt/etc/apt/sources.list"
cat >"$apt/apt.conf" <<END
Dir "$apt";
Dir::State::status "$apt/var/lib/dpkg/status";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
END

export APT_CONFIG="$apt/apt.conf"
# shellcheck disable=SC2086 # several options
apt-get ${APT_OPTIONS:-} update -qq
# Essential packages, which nothing depends on, are named: dash and coreutils are what the server's scripts run in.
# shellcheck disable=SC2086
apt-get ${APT_OPTIONS:-} install -qq -y --download-only rabbitmq-server dash coreutils sed grep libc-bin >/dev/null

for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
for package in "$apt"/var/cache/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root" -f -
done
cp /etc/hosts "$root/etc/hosts"
cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
rm -rf "$apt"

cat >"$folder/rabbitmq-server" <<END
#!/bin/sh
exec unshare --mount sh -ec '
for place in proc dev tmp; do mount --rbind /\$place $root/\$place; done
exec chroot $root /usr/lib/rabbitmq/bin/rabbitmq-server "\$@"' sh "\$@"
END
chmod +x "$folder/rabbitmq-server"
ls -d "$root"/usr/lib/rabbitmq/lib/rabbitmq_server-* | sed 's/.*rabbitmq_server-/RabbitMQ /'
echo "export TEST_RABBITMQ_SERVER=$folder/rabbitmq-server"
