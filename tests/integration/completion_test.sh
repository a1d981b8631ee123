#!/bin/bash
# bash and zsh complete commands, options, their values, and files.
#   completion_test.sh BUILD
set -eu
here=$(cd "$(dirname "$0")" && pwd)
pages=$1/reference

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/faces" "$dir/with blank"
touch "$dir/faces.tar" "$dir/job.json"
cd "$dir"
failed=0

# ---- bash: the function is called as bash itself does ----
compopt() { :; } # works only while bash completes
source "$pages/guise.bash"
source "$pages/guised.bash"

# offers "WORD..." EXPECTED...: the last word is being completed; an empty one is written _
offers() {
  local offered expected
  read -ra COMP_WORDS <<<"$1"
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  [ "${COMP_WORDS[COMP_CWORD]}" != _ ] || COMP_WORDS[COMP_CWORD]=
  COMPREPLY=()
  "_${COMP_WORDS[0]}" || true
  offered=$(printf '<%s>\n' "${COMPREPLY[@]}" | sort) # bash sorts, too
  expected=$(printf '<%s>\n' "${@:2}" | sort)
  if [ "$offered" != "$expected" ]; then
    echo "FAILED: bash offers for $1:" $offered
    failed=1
  fi
}

offers "guise sub" submit
offers "guise st" study
offers "guise study _" report run
offers "guise dataset pa" pairs
offers "guise --json token r" revoke
offers "guise --url http://[::1]:80 token r" revoke
offers "guise --url = unix:/x token r" revoke
offers "guise nothing _"
offers "guise --j" --json
offers "guise dataset add --s" --size
offers "guise get --" --url --ca --json --version --help --output --unsafe --key
offers "guise attack job_1 --effort _" quick standard thorough
offers "guise attack job_1 --effort = s" standard
offers "guise verify m --far 0.0" 0.01 0.001
offers "guise mod" model models
offers "guise model _" show
offers "guise submit --d" --dataset --defence --dry-run
offers "guise ls --l" --label --limit
offers "guise dataset pairs people view2 j" job.json
offers "guise dataset add name fa" faces faces.tar
offers "guise dataset add --size 112 name fa" faces faces.tar
offers "guise dataset add fa"
offers "guise dataset add --no-wait name w" "with blank"
offers "guise dataset add name faces.tar _"
offers "guise study report f" faces
offers "guise get job_1 -o f" faces
offers "guise get job_1 --output = f" faces
offers "guise submit j" job.json
offers "guise --ca f" faces faces.tar
offers "guise verify m j" job.json
offers "guise verify m job.json j" job.json
offers "guised --log-level _" error warning info debug
offers "guised --state fa" faces
offers "guised --config j" job.json
offers "guised --dump" --dump-config
offers "guised --dump-config --check-c" --check-config

# ---- zsh: a shell of its own, with keys pressed ----
if command -v zsh >/dev/null; then
  mkdir functions
  cp "$pages/guise.zsh" functions/_guise
  cp "$pages/guised.zsh" functions/_guised
  zsh -f "$here/completion_test.zsh" "$dir" || failed=1
fi

[ $failed -eq 0 ] || exit 1
if ! command -v zsh >/dev/null; then
  echo "SKIPPED: zsh's part, the rest passed; scripts/install-deps --tests installs zsh"
  exit 77
fi
echo "completion works"
