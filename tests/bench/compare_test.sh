#!/bin/sh
# What tests/bench/compare says of a processor without guise's faster paths, of a half that fails, and of threads; the two
# programs that it runs are stood in for by scripts that tell of a machine, and note how they were called.
#   compare_test.sh SOURCE
set -eu
source=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
fail() {
  echo "FAILED: $*"
  failed=1
}

cat >"$dir/guise-bench" <<'END'
#!/bin/sh
echo "guise $*" >>"$(dirname "$0")/calls"
[ "$1" = machine ] && printf 'processor: Some CPU\ncores: 6\nbf16: %s\nwinograd: %s\n' "$HAS" "$HAS" && exit
case " $* " in *" $BREAKS "*) echo "it broke" >&2 && exit 1 ;; esac
echo "$2 112 px, batch 32: 20.0 images/s (min 19.0, max 21.0), peak 100 MiB"
END
cat >"$dir/python" <<'END'
#!/bin/sh
shift
echo "peer $*" >>"$(dirname "$0")/calls"
case $LD_PRELOAD in *slow*) speed=5.0 ;; *) speed=10.0 ;; esac
echo "pytorch $2, batch 32: $speed images/s (min 1.0, max 11.0), peak 200 MiB"
END
chmod +x "$dir/guise-bench" "$dir/python"
# Two allocators that preload nothing that matters: the second is the slower.
cp "$(find /usr/lib /lib -name 'libm.so.6' | head -n 1)" "$dir/fast.so"
cp "$dir/fast.so" "$dir/slow.so"
compare() { ALLOCATORS="$dir/fast.so $dir/slow.so" BUILD=$dir PYTHON=$dir/python "$source/tests/bench/compare" "$@" >"$dir/out" 2>"$dir/errors"; }
stands() { grep -qE -- "$1" "$dir/${2:-out}" || fail "nothing like \"$1\" in $(cat "$dir/${2:-out}")"; }

export HAS=no BREAKS=nothing
compare 1 iresnet18 iresnet18-direct iresnet18-bf16 || fail "rows that are skipped are no failure: $(cat "$dir/errors")"
stands '^Some CPU, 6 cores; 6 threads each'
stands '^iresnet18 .* 20\.0 .* 10\.0 .* 2\.00 \( 2\.00,  2\.00\) +100 +200 +0\.50  fast\.so$'
stands '^iresnet18-direct +skipped: .*Winograd'
stands '^iresnet18-bf16 +skipped: .*AVX512_BF16'
grep -qE 'no-winograd|bf16' "$dir/calls" && fail "a row that is skipped was measured"
[ "$(grep -c -- '--threads 6' "$dir/calls")" = 3 ] || fail "threads: $(cat "$dir/calls")"

HAS=yes THREADS=3 compare 2 iresnet18-direct iresnet18-bf16 || fail "$(cat "$dir/errors")"
stands '6 cores; 3 threads each'
stands '^iresnet18-bf16 +20\.0 '
[ "$(grep -c -- '--threads 3' "$dir/calls")" = 12 ] || fail "threads: $(cat "$dir/calls")"

HAS=yes BREAKS=--bf16 compare 1 iresnet18-bf16 iresnet18 && fail "a half that fails is no success"
stands 'iresnet18-bf16: the half of guise failed: it broke' errors
grep -q '^iresnet18' "$dir/out" && fail "a row without a half: $(cat "$dir/out")"
exit $failed
