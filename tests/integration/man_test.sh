#!/bin/bash
# The man pages are clean for mandoc, and name every command and option that the programs themselves tell of.
#   man_test.sh BUILD
set -eu
build=$1
pages=$build/reference

if ! command -v mandoc >/dev/null; then
  echo "SKIPPED: mandoc is missing; scripts/install-deps --tests installs it"
  exit 77
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}

# Wide enough that no tag is broken.
render() {
  mandoc -T ascii -O width=1000 "$pages/$1" | sed 's/.\x08//g' >"$dir/$1"
}
# stands FILE TEXT [WHERE]: at the start of a line, as a tag does
stands() {
  grep -qE -- "^ *(-[a-z], )?$2( |\$)" "$dir/$1" || fail "${3-$1} says nothing of $2"
}

for page in guise.1 guised.8 guised.conf.5; do
  output=$(mandoc -T lint -W style "$pages/$page" 2>&1 | grep -v 'mandoc.db\|referenced manual') || true
  [ -z "$output" ] || fail "mandoc -T lint: $output"
  render $page
done

commands=0 options=0
while read -r command; do
  commands=$((commands + 1))
  stands guise.1 "$command"
  # the part of the page on this command: up to the next tag of the same indent
  awk -v tag="     $command" 'found && /^     [^ ]/ { exit } $0 == tag || index($0, tag " ") == 1 { found = 1 } found' \
    "$dir/guise.1" >"$dir/part"
  while read -r option; do
    options=$((options + 1))
    stands part "$option" "guise.1 on $command"
  done < <("$build/guise" $command --help | sed -nE 's/^  (-[a-z], )?(--[a-z-]+).*/\2/p')
done < <("$build/guise" --help | sed -nE '/^commands:/,/^$/s/^  ([a-z]+( [a-z]+)?)  .*/\1/p')
[ $commands -ge 29 ] || fail "guise --help tells of $commands commands only"
[ $options -ge 35 ] || fail "guise COMMAND --help tells of $options options only"

while read -r option; do
  options=$((options + 1))
  stands guise.1 "$option"
done < <("$build/guise" --help | sed -nE 's/^  (-[a-z], )?(--[a-z-]+).*/\2/p')
while read -r option; do
  options=$((options + 1))
  stands guised.8 "$option"
done < <("$build/guised" --help | sed -nE 's/^  (--[a-z-]+).*/\1/p')
sed -n '/^OPTIONS/,/^FILES/p' "$dir/guised.conf.5" >"$dir/part" # not the examples
while read -r name; do
  options=$((options + 1))
  stands part "$name =" guised.conf.5
done < <("$build/guised" --dump-config | sed -nE 's/^([a-z_]+) = .*/\1/p')

[ $failed -eq 0 ] && echo "$commands commands and $options options stand in the pages"
exit $failed
