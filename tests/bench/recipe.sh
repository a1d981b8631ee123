#!/bin/sh
# Trains recipes on real faces through the daemon and writes one line an epoch.
#
#   tests/bench/recipe.sh DATA STATE RECIPE...
#
# DATA holds celeb757.tar, lfw112.tar and lfw-protocol/pairs.txt (IDENTITY/IMAGE archives, an LFW view 2 list). STATE keeps the
# daemon's state, so an interrupted call continues its jobs when it is made again. RECIPE is the name of a file in
# tests/bench/recipes. Build first (./quickstart --build-only is enough); BUILD names another build folder than ./build.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
[ $# -ge 3 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
data=$1
state=$2
shift 2
mkdir -p "$state"
env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE "$build/guised" --listen "unix:$state/guised.sock" --state "$state/data" >>"$state/guised.log" 2>&1 &
daemon=$!
trap 'kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null || true' EXIT INT TERM
guise() { "$build/guise" --url "unix:$state/guised.sock" "$@"; }
guise ready --wait 30 >/dev/null
guise dataset show celeb757 >/dev/null 2>&1 || guise dataset add celeb757 "$data/celeb757.tar"
guise dataset show lfw112 >/dev/null 2>&1 || guise dataset add lfw112 "$data/lfw112.tar"
guise dataset pairs lfw112 view2 "$data/lfw-protocol/pairs.txt" >/dev/null
for recipe in "$@"; do
  job_file=$state/$recipe.job
  [ -s "$job_file" ] || guise --json submit "$root/tests/bench/recipes/$recipe.json" | sed -n 's/.*"id": *"\(job_[^"]*\)".*/\1/p' | head -n 1 >"$job_file"
  job=$(cat "$job_file")
  echo "== $recipe: $job"
  guise follow "$job" || echo "== $recipe: did not succeed"
  guise metrics "$job" >"$state/$recipe.metrics"
  guise get "$job" report.json --unsafe -o "$state/$recipe" >/dev/null && guise report "$state/$recipe/report.json"
  cat "$state/$recipe.metrics"
done
