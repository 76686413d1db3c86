#!/bin/sh
# work-git.sh N - N commits in a new repository, clones, branches, gc.
# Prints ids and contents, which must not depend on the allocator.
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=c \
    GIT_COMMITTER_EMAIL=c@d GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat

date_of() { echo "$((1500000000 + $1 * 60)) +0000"; }

git init -q -b main one
cd one
i=0
while [ $i -lt "$1" ]; do
    mkdir -p "dir$((i % 7))"
    seq $i $((i + 500)) >"dir$((i % 7))/file$((i % 13))"
    seq $((i * 3)) 7 $((i * 3 + 90000)) >big
    git add -A
    GIT_AUTHOR_DATE=$(date_of $i) GIT_COMMITTER_DATE=$(date_of $i) \
        git commit -q -m "commit $i"
    i=$((i + 1))
done
git checkout -q -b side HEAD~3
seq 1 40 >new
git add new
GIT_AUTHOR_DATE=$(date_of 900) GIT_COMMITTER_DATE=$(date_of 900) \
    git commit -q -m side
git checkout -q main
GIT_AUTHOR_DATE=$(date_of 901) GIT_COMMITTER_DATE=$(date_of 901) \
    git merge -q --no-ff -m merge side
git log --stat --format='%H %an %s' | tail -400
git log -p --format=%H -- big | git hash-object --stdin
git blame -s dir1/file1 | git hash-object --stdin
git gc -q --aggressive --prune=now
git fsck --full --strict 2>/dev/null
cd ..
git clone -q one two
git -C two diff --stat HEAD~2
git -C two grep -c 49 main -- dir2
git -C two archive --format=tar HEAD | git hash-object --stdin
git -C two rev-parse HEAD
rm -rf one two
