#!/bin/sh
# What the documents name in the source tree is there: files, tests by the names that ctest knows, and studies and recipes by their
# files' names alone, which else can only be files that guise reads or writes.
#   doc_names_test.sh SOURCE
set -eu
cd "$1"
failed=0

# names PATTERN: what stands between back quotes in a document and matches
names() {
  grep -ohE "\`$1\`" README.md docs/*.md | tr -d '`' | sort -u
}

for test in $(names '[a-z0-9_/]+_test'); do
  if ! [ -f "tests/$test.c" ] && ! [ -f "tests/unit/$test.c" ] && ! [ -f "tests/$test.sh" ]; then
    echo "FAILED: a document names the test $test, which there is not"
    failed=1
  fi
done
for file in $(names '(api|cli|core|daemon|examples|packaging|schema|scripts|tests|web)/[A-Za-z0-9_/.-]+\.[a-z]+'); do
  if ! [ -e "$file" ]; then
    echo "FAILED: a document names $file, which there is not"
    failed=1
  fi
done
for file in $(names '[a-z0-9_-]+\.json'); do
  if ! [ -e "tests/bench/studies/$file" ] && ! [ -e "tests/bench/recipes/$file" ] && ! grep -qrF "\"$file\"" core cli daemon; then
    echo "FAILED: a document names $file, which is no study, recipe or file of guise"
    failed=1
  fi
done
# results that are kept; studies and recipes in commands
for file in $(names 'docs/studies/[a-z0-9_/.-]+'; grep -ohE 'tests/bench/(studies|recipes)/[a-z0-9_-]+\.json' README.md docs/*.md | sort -u); do
  if ! [ -e "$file" ]; then
    echo "FAILED: a document names $file, which there is not"
    failed=1
  fi
done
for pattern in '[a-z0-9_/]+_test' '[a-z0-9_-]+\.json'; do
  if [ -z "$(names "$pattern")" ]; then
    echo "FAILED: no document names a file or test like $pattern, which cannot be"
    failed=1
  fi
done
exit "$failed"
