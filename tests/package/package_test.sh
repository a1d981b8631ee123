#!/bin/sh
# The Debian packages: built, looked at by lintian, installed, upgraded, removed and purged.
#
#   tests/package/package_test.sh BUILD
#
# BUILD is a built tree without sanitizers. Nothing is installed on this machine: dpkg runs in a copy of its file system that is
# kept in memory (an overlay in a mount namespace of its own), without network and without systemd. Needs root.
set -eu

skip() {
  echo "SKIPPED: $*"
  exit 77
}

if [ "${1-}" != --inside ]; then
  build=$(cd "$1" && pwd)
  [ "$(id -u)" -eq 0 ] || skip "the packages' test must be run by root, for a file system of its own"
  for tool in cpack dpkg-shlibdeps file unshare setpriv systemd-sysusers deb-systemd-helper; do
    command -v $tool >/dev/null || skip "$tool is missing; scripts/install-deps --tests installs it"
  done
  unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root &&
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root' 2>/dev/null ||
    skip "this kernel lets no overlay be mounted here"

  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  cpack -G DEB --config "$build/CPackConfig.cmake" -B "$dir" >"$dir/log" 2>&1 || {
    cat "$dir/log"
    echo "FAILED: cpack"
    exit 1
  }
  if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$dir"/*.deb
  fi
  unshare --mount --net --pid --ipc --fork --kill-child "$0" --inside "$dir"
  command -v lintian >/dev/null || skip "lintian's part, the rest passed; scripts/install-deps --tests installs it"
  exit 0
fi

# ---- inside: the root to install into ----
packages=$2
top=$packages/top
root=$top/root
mkdir "$top"
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
rm -f "$root"/etc/dpkg/dpkg.cfg.d/*      # images for containers leave documents out
rm -f "$root/var/lib/man-db/auto-update" # nobody looks for the pages here
cp "$packages"/*.deb "$root/tmp/"

failed=0
fail() {
  echo "FAILED: $*" >&2
  failed=1
}
inside() {
  chroot "$root" "$@"
}
# Output is kept in the file said, for what it must tell.
package() {
  inside dpkg --force-unsafe-io "$@" >"$packages/said" 2>&1 || {
    cat "$packages/said"
    fail "dpkg $*"
  }
}
gone() {
  for path in "$@"; do
    [ ! -e "$root$path" ] && [ ! -L "$root$path" ] || fail "$path is still there"
  done
}
kept() {
  for path in "$@"; do
    [ -e "$root$path" ] || [ -L "$root$path" ] || fail "$path is gone"
  done
}

# The service as its unit starts it, without systemd; ends with the function's command.
with_service() {
  chroot "$root" setpriv --reuid guise --regid guise --clear-groups \
    env GUISE_STATE=/var/lib/guise GUISE_LISTEN=unix:/var/lib/guise/socket OMP_NUM_THREADS=1 \
    guised --config /etc/guise/guised.conf >"$packages/service" 2>&1 &
  service=$!
  inside env GUISE_URL=unix:/var/lib/guise/socket guise ready --wait 30 >/dev/null || cat "$packages/service" >&2
  inside env GUISE_URL=unix:/var/lib/guise/socket "$@" || fail "$*"
  kill -TERM $service 2>/dev/null || true
  wait $service || fail "guised ended with status $?"
}

inside dpkg --purge guised guise >/dev/null 2>&1 || true # in case this machine has them; the copy's are meant
gone /usr/bin/guise /usr/bin/guised /var/lib/guise

# ---- install ----
package -i $(cd "$root" && ls tmp/*.deb)
while read -r mode owner path; do
  now=$(inside stat -c '%a %U:%G' "$path" 2>&1) || true
  [ "$now" = "$mode $owner" ] || fail "$path is $now, not $mode $owner"
done <<LIST
755 root:root /usr/bin/guise
755 root:root /usr/bin/guised
755 root:root /usr/libexec/guise/guise-decode
755 root:root /etc/guise
644 root:root /etc/guise/guised.conf
644 root:root /usr/lib/systemd/system/guised.service
644 root:root /usr/lib/systemd/system/guised.socket
644 root:root /usr/lib/sysusers.d/guise.conf
644 root:root /usr/lib/tmpfiles.d/guise.conf
644 root:root /usr/share/guise/report.schema.json
644 root:root /usr/share/man/man1/guise.1.gz
644 root:root /usr/share/man/man8/guised.8.gz
644 root:root /usr/share/man/man5/guised.conf.5.gz
644 root:root /usr/share/bash-completion/completions/guise
644 root:root /usr/share/bash-completion/completions/guised
644 root:root /usr/share/zsh/vendor-completions/_guise
644 root:root /usr/share/zsh/vendor-completions/_guised
644 root:root /usr/share/doc/guise/copyright
644 root:root /usr/share/doc/guise/changelog.Debian.gz
644 root:root /usr/share/doc/guised/copyright
644 root:root /usr/share/doc/guised/changelog.Debian.gz
750 root:guise /run/guise
LIST
[ -z "$(inside dpkg --verify guise guised)" ] || fail "dpkg --verify: $(inside dpkg --verify guise guised)"
kept /etc/systemd/system/multi-user.target.wants/guised.service /etc/systemd/system/sockets.target.wants/guised.socket
inside getent passwd guise | grep -q ':/var/lib/guise:' || fail "there is no user guise"
grep -q '^ExecStart=/usr/bin/guised --config /etc/guise/guised.conf$' "$root/usr/lib/systemd/system/guised.service" ||
  fail "the unit names another program or configuration"
inside guised --check-config --config /etc/guise/guised.conf | grep -q '^the configuration is valid' || fail "--check-config"
inside dpkg-query -W -f '${Depends}\n' guise | grep -qE 'fftw|dnnl|openblas' && fail "the client needs the service's libraries"
inside dpkg-query -W -f '${Depends}\n' guised | grep -q fftw || fail "dpkg-shlibdeps found no library of guised"
inside dpkg-query -W -f '${Conffiles}\n' guised | grep -q /etc/guise/guised.conf || fail "the configuration is no conffile"

# ---- state, and an upgrade that keeps it, the configuration, and what was disabled ----
install -d -m 700 "$root/var/lib/guise" # systemd's StateDirectory
inside chown guise:guise /var/lib/guise
inside guise synth --identities 2 --images 2 /tmp/faces.tar
with_service guise dataset add drawn /tmp/faces.tar >/dev/null
echo '# the administrator was here' >>"$root/etc/guise/guised.conf"
rm "$root/etc/systemd/system/multi-user.target.wants/guised.service" # as systemctl disable does
dpkg-deb -R "$root"/tmp/guised_*.deb "$root/tmp/next"
sed -i 's/^Version: .*/Version: 99.0-1/' "$root/tmp/next/DEBIAN/control"
echo '# a setting more' >>"$root/tmp/next/etc/guise/guised.conf"
dpkg-deb -b --root-owner-group "$root/tmp/next" "$root/tmp/next.deb" >/dev/null
package --force-confold -i tmp/next.deb
[ "$(inside dpkg-query -W -f '${Version}' guised)" = 99.0-1 ] || fail "the upgrade did not happen"
grep -q administrator "$root/etc/guise/guised.conf" || fail "the upgrade replaced the administrator's configuration"
gone /etc/systemd/system/multi-user.target.wants/guised.service
kept /etc/systemd/system/sockets.target.wants/guised.socket
with_service guise dataset show drawn >"$packages/shown"
grep -q '^drawn' "$packages/shown" || fail "the upgrade lost the data set"

# ---- remove: state and configuration stay ----
package --remove guised
grep -q 'face data in /var/lib/guise are kept' "$packages/said" || fail "removing does not say that the face data stay"
gone /usr/bin/guised /usr/libexec/guise /usr/lib/systemd/system/guised.service
kept /var/lib/guise/guise.db /etc/guise/guised.conf /usr/bin/guise

# ---- purge ----
package --purge guised guise
grep -q 'purging erases the face data' "$packages/said" || fail "purging does not say that it erases face data"
gone /var/lib/guise /etc/guise /run/guise /usr/bin/guise /etc/systemd/system/sockets.target.wants/guised.socket
left=$(find "$root/usr" "$root/etc" "$root/var" "$root/run" -xdev \( -name 'guise*' -o -name '_guise*' \))
[ -z "$left" ] || fail "purging left $left"

# Its script alone, where the administrator put a link or a file system of its own for the state. Behind a link guised's files go,
# what else lies there stays, and where its database is not, all of it.
mkdir -p "$root/srv/faces/blobs/aa" "$root/srv/faces/photographs" "$root/srv/archive/blobs"
echo face | tee "$root/srv/faces/blobs/aa/pack" "$root/srv/faces/photographs/1.jpg" >"$root/srv/archive/blobs/1.jpg"
touch "$root/srv/faces/guise.db" "$root/srv/faces/guise.db-wal" "$root/srv/faces/guise.db.before-2.bak"
ln -s /srv/faces "$root/var/lib/guise"
inside env DPKG_MAINTSCRIPT_PACKAGE=guised /tmp/next/DEBIAN/postrm purge >/dev/null || fail "purging a link"
gone /var/lib/guise /srv/faces/blobs
[ "$(ls "$root/srv/faces")" = photographs ] || fail "purging a link left $(ls "$root/srv/faces")"
kept /srv/faces/photographs/1.jpg
ln -s /srv/archive "$root/var/lib/guise"
inside env DPKG_MAINTSCRIPT_PACKAGE=guised /tmp/next/DEBIAN/postrm purge >/dev/null 2>"$packages/said" || fail "purging a foreign link"
grep -q 'nothing is erased' "$packages/said" || fail "purging a foreign link does not say that it erases nothing"
kept /srv/archive/blobs/1.jpg
rm "$root/var/lib/guise"
mkdir "$root/var/lib/guise"
mount -t tmpfs tmpfs "$root/var/lib/guise"
echo face >"$root/var/lib/guise/pack"
inside env DPKG_MAINTSCRIPT_PACKAGE=guised /tmp/next/DEBIAN/postrm purge >/dev/null || fail "purging a file system"
gone /var/lib/guise/pack

[ $failed -eq 0 ] && echo "the packages install, upgrade, and go"
exit $failed
