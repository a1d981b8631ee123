#!/bin/sh
# The installed units are clean for systemd-analyze, hardened to a score of 1.5 or better, and sysusers and tmpfiles read.
#   systemd_test.sh SOURCE BUILD
set -eu
source=$1
build=$2

if ! command -v systemd-analyze >/dev/null; then
  echo "SKIPPED: systemd-analyze is missing; scripts/install-deps --tests installs it"
  exit 77
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}

# systemd-analyze wants to see the program: the built daemon stands for the installed one.
daemon=$build/guised
[ -x "$daemon" ] || daemon=/bin/true
grep -q '^ExecStart=/.*/guised --config /.*/guise/guised.conf$' "$build/systemd/guised.service" ||
  fail "ExecStart does not name the installed program and configuration"
sed "s,^ExecStart=[^ ]*,ExecStart=$daemon," "$build/systemd/guised.service" >"$dir/guised.service"
cp "$source/systemd/guised.socket" "$dir/"

output=$(systemd-analyze verify --man=no "$dir/guised.service" "$dir/guised.socket" 2>&1) || fail "systemd-analyze verify"
[ -z "$output" ] || fail "systemd-analyze verify says: $output"

# --threshold counts in tenths and fails above it; older versions of systemd-analyze have no --offline.
if systemd-analyze security --help | grep -q -- --offline; then
  systemd-analyze security --offline=yes --threshold=15 --no-pager "$dir/guised.service" >"$dir/security" 2>&1 ||
    fail "systemd-analyze security: $(tail -n 1 "$dir/security")"
  tail -n 1 "$dir/security"
fi

# These write below an empty root of their own.
mkdir -p "$dir/root/etc" "$dir/root/usr/lib/sysusers.d" "$dir/root/usr/lib/tmpfiles.d"
cp "$source/systemd/guise.sysusers.conf" "$dir/root/usr/lib/sysusers.d/guise.conf"
cp "$source/systemd/guise.tmpfiles.conf" "$dir/root/usr/lib/tmpfiles.d/guise.conf"
if command -v systemd-sysusers >/dev/null; then
  if [ "$(id -u)" -eq 0 ]; then
    output=$(systemd-sysusers --root="$dir/root" guise.conf 2>&1) || fail "systemd-sysusers: $output"
    grep -q '^guise:' "$dir/root/etc/passwd" || fail "systemd-sysusers made no user guise"
    grep -q '^guise:' "$dir/root/etc/group" || fail "systemd-sysusers made no group guise"
    if command -v systemd-tmpfiles >/dev/null; then
      output=$(systemd-tmpfiles --root="$dir/root" --create guise.conf 2>&1) || fail "systemd-tmpfiles: $output"
      [ "$(stat -c %a "$dir/root/run/guise" 2>/dev/null)" = 750 ] || fail "systemd-tmpfiles made no /run/guise of mode 750"
    fi
  else
    systemd-sysusers --root="$dir/root" --dry-run guise.conf >/dev/null 2>&1 || fail "systemd-sysusers"
  fi
fi

[ $failed -eq 0 ] && echo "units are clean"
exit $failed
