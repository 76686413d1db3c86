#!/bin/sh
# test_hakctl.sh - hakctl itself: help, unknown commands and options.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

version=$(sed -n 's/^#define HAK_VERSION "\(.*\)"/\1/p' framework/include/hakmem/version.h)
try "$ctl" --version
says 'version' 0 out <<EOF
hakctl $version, box ABI 1.8
EOF

cat >"$tmp/usage" <<'EOF'
usage: hakctl COMMAND [ARGS]

  run       run a program on hakmem
  boxes     what box files say of themselves
  lint      find the faults in configurations
  explain   where a request of that size goes, and why
  fuse      a configuration as sources, for make fused
  version   which hakctl, or how libraries were built
  check-box does a box keep the contract, property by property
  call      call functions of a foreign box's library
  check-so  calls of any library as test cases
  ps        processes that can be asked and changed
  stats     the report of a running process, now
  show      each key of a process, and who gave it
  set       change keys of a running process
  route     route sizes elsewhere in a running process
  load      put a new box into a running process
  swap      another box in place of one, while the process runs
  drain     take a box out of all routes of a process
  trim      let a process give free memory back
  learner   the learner of a running process
  save      a process as the INI that would start it so
  top       live figures of running processes
  exporter  serve the figures of all processes to Prometheus
  report    a page of HTML about the memory of a program
  profile   whose memory it is: a heap profile as text
  record    what a program asks of malloc, as a trace
  compare   configurations and allocators side by side
  replay    play a trace on configurations and allocators
  tune      find the best configuration for a program's traces
  trace     what is in a trace, and parts of it
  help      this text, or that of a command

hakctl help COMMAND says more; hakctl --version says which.
EOF
try "$ctl"
says 'no command' 2 err <"$tmp/usage"
try "$ctl" help
says 'help' 0 out <"$tmp/usage"
try "$ctl" --help
says '--help' 0 out <"$tmp/usage"
for command in run boxes lint explain fuse version check-box top compare \
    exporter help; do
    try "$ctl" help $command
    holds "help $command" 0 out "^usage: hakctl $command "
done
try "$ctl" help run
cp "$tmp/out" "$tmp/help"
try "$ctl" run --help
says 'run --help is help run' 0 out <"$tmp/help"
try "$ctl" lnit
says 'unknown command, one is near' 2 err <<'EOF'
hakctl: unknown command "lnit"; did you mean "lint"?
EOF
try "$ctl" frobnicate
says 'unknown command, none is near' 2 err <<'EOF'
hakctl: unknown command "frobnicate"; hakctl help lists them
EOF
try "$ctl" help explian
says 'help of an unknown command' 2 err <<'EOF'
hakctl: unknown command "explian"; did you mean "explain"?
EOF
for command in run boxes lint explain check-box; do
    try "$ctl" $command --frob
    says "$command: unknown option" 2 err <<EOF
hakctl: $command: unknown option "--frob"; see hakctl help $command
EOF
done
try "$ctl" lint -x
says 'unknown letter' 2 err <<'EOF'
hakctl: lint: unknown option "-x"; see hakctl help lint
EOF
try "$ctl" run -c
says 'option without its value' 2 err <<'EOF'
hakctl: run: option -c needs a value; see hakctl help run
EOF
if [ -c /dev/full ]; then
    "$ctl" help 2>"$tmp/err" >/dev/full
    status=$?
    : >"$tmp/out"
    says 'output that cannot be written' 2 err <<'EOF'
hakctl: cannot write the output: No space left on device
EOF
fi

# hakctl run is in front of every program: another library is time at its start.
readelf -d "$ctl" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -v -e '^libc\.so' -e '^ld-linux' >"$tmp/why"
judge 'it needs no library but libc'

finish
