#!/bin/sh
# test_lint_sh.sh - tools/lint.sh: each step that passes and that fails.
set -u
# shellcheck source=tests/hakctl/lib.sh
. tests/hakctl/lib.sh

lint_tools() {
    for tool in git clang-format-14 clang-tidy cppcheck shellcheck; do
        command -v "$tool" >/dev/null || return 1
    done
}

if lint_tools; then
    repo=$tmp/repo
    mkdir -p "$repo/tools" "$repo/framework" "$repo/plugins" \
        "$repo/build/boxes"
    cp tools/lint.sh tools/layers.py "$repo/tools"
    cp build/hakctl build/hakctl-check-box "$repo/build"
    cp .clang-format .clang-tidy "$repo"
    cp "$prefix/lib/hakmem/bare.so" "$repo/build/boxes"
    printf 'int least(int a);\nint least(int a)\n{\n    return a;\n}\n' \
        >"$repo/framework/good.c"
    git -C "$repo" init -q
    git -C "$repo" add framework tools .clang-format .clang-tidy
    try "$repo/tools/lint.sh"
    says 'lint.sh finds nothing' 0 out <<'EOF'
clang-format   ok    1 files
clang-tidy     ok    1 files
cppcheck       ok    1 files
boxes          ok    1 boxes
shellcheck     ok    1 scripts
paths          ok    5 files
layers         ok    13 folders
lint: 7 steps, nothing found
EOF
    cp build/tests/boxes/with_tls.so "$repo/build/boxes"
    cat >"$repo/framework/bad.c" <<'EOF'
int least(int a);
int least(int a) {
    int at[2] = {1, 2};
    if (a);
    return at[2];
}
EOF
    mkdir "$repo/framework/base" "$repo/framework/report"
    : >"$repo/framework/report/report.h"
    echo '#include <report/report.h>' >"$repo/framework/base/up.c"
    # shellcheck disable=SC2016
    echo 'echo $1' >"$repo/tools/bad.sh"
    echo "see $repo/README" >"$repo/notes"
    git -C "$repo" add framework tools notes
    try "$repo/tools/lint.sh"
    cp "$tmp/out" "$tmp/all"
    grep -v '^  ' "$tmp/all" >"$tmp/out"
    says 'lint.sh: every step fails' 1 out <<'EOF'
clang-format   FAIL
clang-tidy     FAIL
cppcheck       FAIL
boxes          FAIL
shellcheck     FAIL
paths          FAIL
layers         FAIL
lint: 7 steps, failed: clang-format clang-tidy cppcheck boxes shellcheck paths layers
EOF
    cp "$tmp/all" "$tmp/out"
    holds 'lint.sh: format' 1 out \
        '^    framework/bad.c: not formatted; make format does it$'
    holds 'lint.sh: clang-tidy' 1 out 'bad.c:4:.*\[bugprone-suspicious-semicolon'
    holds 'lint.sh: cppcheck' 1 out 'bad.c:5.*at\[2\].*out of bounds'
    holds 'lint.sh: boxes' 1 out '^    build/boxes/with_tls.so:$'
    holds 'lint.sh: boxes' 1 out 'not ok . - file_tls: has thread-local variables'
    holds 'lint.sh: shellcheck' 1 out 'tools/bad.sh line 1:'
    holds 'lint.sh: paths' 1 out \
        '^    notes:1:see TMP/repo/README   <- a path of one machine'
    holds 'lint.sh: layers' 1 out '^    base/up.c includes report/report.h'
    rm -rf "$repo/.git"
    try env GIT_CEILING_DIRECTORIES="$tmp" "$repo/tools/lint.sh"
    holds 'lint.sh without git' 2 err '^lint: git tracks no file here'
else
    skip 'lint.sh' 'needs git, clang-format-14, clang-tidy, cppcheck, shellcheck'
fi

finish
