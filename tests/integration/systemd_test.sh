#!/bin/sh
# What cmake --install installs for systemd: units that are clean for systemd-analyze, hardened to a score of 1.5 or better; sysusers
# and tmpfiles read the rest.
#   systemd_test.sh BUILD
set -eu
build=$1

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
# unit_of PREFIX CONFIGURATION: installed there, the unit names the program and the configuration that were installed
unit_of() {
  DESTDIR=$dir/installed cmake --install "$build" --prefix "$1" --component guised >"$dir/log" 2>&1 || fail "$(cat "$dir/log")"
  unit=$dir/installed$1/lib/systemd/system/guised.service
  grep -q "^ExecStart=$1/bin/guised --config $2\$" "$unit" || fail "$(grep ExecStart= "$unit")"
  [ -x "$dir/installed$1/bin/guised" ] && [ -f "$dir/installed$2" ] || fail "the unit's files are not installed below $1"
  [ -f "$dir/installed$1/share/guise/report.schema.json" ] || fail "the report's schema is not installed below $1"
}
unit_of /opt/guise /opt/guise/etc/guise/guised.conf
unit_of /usr /etc/guise/guised.conf
sed "s,^ExecStart=[^ ]*,ExecStart=$daemon," "$unit" >"$dir/guised.service"
cp "$dir/installed/usr/lib/systemd/system/guised.socket" "$dir/"

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
cp "$dir/installed/usr/lib/sysusers.d/guise.conf" "$dir/root/usr/lib/sysusers.d/"
cp "$dir/installed/usr/lib/tmpfiles.d/guise.conf" "$dir/root/usr/lib/tmpfiles.d/"
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
