#!/bin/sh
# The README's first command, from an archive to the files that it names, with the programs of a build folder.
#   quickstart_test.sh SOURCE BUILD
set -eu
source=$1
build=$2

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
  echo "FAILED: $*; quickstart said:"
  cat "$dir/log"
  exit 1
}

"$build/guise" synth "$dir/faces.tar" --identities 8 --images 6 --size 32
# What is meant for another daemon and its clients does not reach those of quickstart.
TMPDIR=$dir GUISE_URL=http://127.0.0.1:9 GUISE_WORKERS=none GUISE_QUICKSTART_BUILD=$build GUISE_QUICKSTART_EPOCHS=2 \
  GUISE_QUICKSTART_INPUT=32 "$source/quickstart" "$dir/faces.tar" --out "$dir/result" >"$dir/log" 2>&1 || fail "status $?"
for text in '8 people, 48 images, 0 rejected' 'mask ahm, 2 epochs' 'held-out people' 'linear' 'demix' 'The daemon is stopped'; do
  grep -q "$text" "$dir/log" || fail "no \"$text\""
done
for file in $(grep -Eo "$dir/result/[a-z.]*" "$dir/log") "$dir/result/report.json"; do
  [ -s "$file" ] || fail "there is no $file"
  echo "$file" >>"$dir/files"
done
[ "$(wc -l <"$dir/files")" -eq 5 ] || fail "model, ONNX file, report and card are not all named"
