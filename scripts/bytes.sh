# Sourced by the scripts that embed files into C sources.

# bytes FILE: its bytes as C numbers, each with a comma.
bytes() {
  od -An -v -td1 "$1" | tr -s ' ' | sed 's/^ //; s/ *$//; s/ /, /g; s/$/,/'
}
