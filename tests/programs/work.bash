#!/bin/bash
# work.bash N - N forks: substitutions, pipes, background jobs, arrays.
n=$1
declare -A table
for ((i = 0; i < n; i++)); do
    word=$(printf '%08x' $((i * 7919)))
    table[$word]=$(echo "$word" | tr 0-9 a-j)
    ((i % 20)) || text+=$(for k in {1..30}; do echo "$k${word:3}"; done)
done
for key in "${!table[@]}"; do
    echo "$key ${table[$key]}"
done | sort | cksum
echo ${#text} | cat | (read -r length && echo "$length")
for ((i = 0; i < 20; i++)); do
    (exit $i) &
    wait $! || echo -n "$? "
done
echo "${text//1/one}" | cksum
echo "$(<"$0")" | wc -l
exit 4
