#!/bin/sh
# What the documents name in the source tree is there: files, and tests by the names that ctest knows.
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
if [ -z "$(names '[a-z0-9_/]+_test')" ]; then
  echo "FAILED: no document names a test, which cannot be"
  failed=1
fi
exit "$failed"
