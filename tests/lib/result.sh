# shellcheck shell=sh
# result.sh - a line of TAP for each check of a script. To be sourced, from the
# root of the repository. `said` names the file with what the last check said,
# which is shown when it failed. A script ends with finish.
n=0

result() { # STATUS NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        sed 's/^/# /' "${said:?}"
    fi
}

skip() { # NAME WHY
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

finish()
{
    echo "1..$n"
}
