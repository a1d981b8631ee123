#!/bin/sh
# From an archive of faces to a model, with curl alone.
#
#   examples/train.sh FACES.tar NAME DIRECTORY [JOB.json]
#
# Uploads the archive as data set NAME, trains on it (JOB.json: a job without its data set), and puts model and report into
# DIRECTORY. The daemon is $GUISE_URL, http://127.0.0.1:8080 by default; a token in $GUISE_TOKEN is sent along.
set -eu

[ $# -ge 3 ] || {
  sed -n '4s/^# *//p' "$0" >&2
  exit 2
}
url=${GUISE_URL:-http://127.0.0.1:8080}
archive=$1 name=$2 out=$3

# The token goes by a file of our own, since arguments can be seen by everybody on the machine.
config=$(mktemp)
trap 'rm -f "$config"' EXIT
[ -z "${GUISE_TOKEN-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$GUISE_TOKEN" >"$config"
call() {
  curl --config "$config" --silent --show-error --fail-with-body "$@"
}
# The first value of a text member of the JSON on standard input; jq does this better.
member() {
  tr ',{' '\n\n' | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# The answer, or, of a request that was refused, the end with what the daemon said.
ask() {
  answer=$(call "$@") || {
    echo "$answer" >&2
    exit 1
  }
}

ask -X PUT -H 'Content-Type: application/x-tar' -T "$archive" "$url/v1/datasets/$name"
state=ingesting
while [ "$state" = ingesting ]; do
  ask "$url/v1/datasets/$name"
  state=$(printf %s "$answer" | member state)
  sleep 0.2
done
[ "$state" = ready ] || {
  echo "the data set is $state: $answer" >&2
  exit 1
}

body=$(sed "s/^ *{/{\"type\": \"train\", \"dataset\": \"$name\",/" "${4:-/dev/stdin}")
ask -H 'Content-Type: application/json' --data-binary "$body" "$url/v1/jobs"
job=$(printf %s "$answer" | member id)
echo "job $job"

# The stream of events ends with the job.
call --no-buffer "$url/v1/jobs/$job/events" | grep --line-buffered '^event: state' -A 2 | sed -n 's/^data: //p'
ask "$url/v1/jobs/$job"
state=$(printf %s "$answer" | member state)
[ "$state" = succeeded ] || {
  echo "the job is $state: $answer" >&2
  exit 1
}

model=$(printf %s "$answer" | tr ',{' '\n\n' | sed -n 's/.*"\(mdl_[^"]*\)".*/\1/p' | head -n 1)
mkdir -p "$out"
for file in model.safetensors model.onnx report.json report.html card.md; do
  call -o "$out/$file" "$url/v1/models/$model/files/$file"
done
echo "model $model in $out"
