#!/bin/sh
# demo.sh - run a real program on libc and on hakmem, compare what it prints,
# and show what each box did.
set -eu
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/demo.py" <<'PY'
import hashlib, json, random

random.seed(42)
people = [{"name": "%08x" % random.getrandbits(32),
           "notes": "x" * random.randrange(10, 3000)} for _ in range(60000)]
people.sort(key=lambda person: person["name"])
text = json.dumps(people)
back = json.loads(text)
words = {}
for person in back:
    words.setdefault(person["name"][:2], []).append(len(person["notes"]))
print(len(text), len(back), len(words),
      hashlib.sha256(text.encode()).hexdigest()[:16])
PY

echo "A python3 program builds, sorts, writes and parses 60,000 records."
export PYTHONMALLOC=malloc # each object by malloc, not from Python's own pools
echo
echo "\$ python3 demo.py                    (on libc)"
python3 "$dir/demo.py" >"$dir/libc"
cat "$dir/libc"
echo
echo "\$ build/hakctl run -s -- python3 demo.py"
HAKMEM_STATS_AT_EXIT="$dir/report" build/hakctl run -- \
    python3 "$dir/demo.py" >"$dir/hakmem"
cat "$dir/hakmem"
echo
# If python3 is a wrapper script, each of its processes reports too. The last
# report is the program's own.
awk '/^hakmem /{text = ""} {text = text $0 "\n"} END {printf "%s", text}' \
    "$dir/report"
echo
if cmp -s "$dir/libc" "$dir/hakmem"; then
    echo "Same output. Which box serves which size, and why:"
else
    echo "demo.sh: the outputs differ" >&2
    exit 1
fi
build/hakctl explain 100,2000,1M
