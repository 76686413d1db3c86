#!/bin/sh
# lint-box.sh FILE.so... - does a box keep the rules of hakmem/box.h that can
# be read off its file? One line for each breach, with what to do.
set -u
export LC_ALL=C

# Names that a box must not call, by the host function to call instead.
allocators=' malloc calloc realloc reallocarray free cfree aligned_alloc
memalign posix_memalign valloc pvalloc malloc_usable_size malloc_trim strdup
strndup __strdup asprintf vasprintf __asprintf_chk __vasprintf_chk getline
getdelim '
stdio=' printf vprintf fprintf vfprintf dprintf vdprintf __printf_chk
__vprintf_chk __fprintf_chk __vfprintf_chk __dprintf_chk puts putchar putc fputc
fputs fwrite fflush perror fopen fopen64 fdopen fclose fread fgets stdout stderr
stdin '
loader=' dlopen dlmopen dlsym dlvsym dlclose '
mappers=' mmap mmap64 munmap mremap sbrk brk '

[ $# -gt 0 ] || {
    echo 'usage: lint-box.sh FILE.so...' >&2
    exit 2
}

breaches=0
breach() {
    echo "$file: $1"
    breaches=$((breaches + 1))
}

# Is $2 a word of the list $1?
holds() {
    case $(printf %s " $1 " | tr '\n' ' ') in
    *" $2 "*) return 0 ;;
    esac
    return 1
}

check_exports() {
    entry=
    for name in $(nm -D --defined-only "$file" | sed 's/.* //; s/@.*//'); do
        if [ "$name" = hak_box_entry ]; then
            entry=1
        else
            breach "exports $name: only hak_box_entry may be visible; make \
it static or build with -fvisibility=hidden"
        fi
    done
    [ -n "$entry" ] ||
        breach 'does not export hak_box_entry: mark it HAK_BOX_EXPORT'
}

check_needed() {
    for name in $(readelf -dW "$file" |
        sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p'); do
        case $name in
        libc.so.6 | ld-linux-x86-64.so.2) ;;
        *) breach "needs $name: a box may need libc.so.6 alone" ;;
        esac
    done
}

check_tls() {
    if readelf -lW "$file" | grep -q '^  TLS '; then
        breach "has thread-local variables (PT_TLS): keep what belongs to a \
thread in the heap that heap_open makes"
    elif nm -D --undefined-only "$file" | grep -q ' __tls_get_addr'; then
        breach 'uses a thread-local variable of another library'
    fi
}

check_calls() {
    for name in $(nm -D --undefined-only "$file" |
        sed 's/.* //; s/@.*//'); do
        if holds "$allocators" "$name"; then
            breach "calls $name: memory comes from host->map and host->meta"
        elif holds "$stdio" "$name"; then
            breach "uses $name: a box never prints; host->log does"
        elif holds "$loader" "$name"; then
            breach "calls $name: a box opens nothing"
        elif holds "$mappers" "$name"; then
            breach "calls $name: address space comes from host->map"
        fi
    done
}

for file in "$@"; do
    if ! readelf -hW "$file" 2>/dev/null | grep -q 'DYN (Shared object'; then
        breach 'is no shared object: build it with -shared -fPIC'
        continue
    fi
    check_exports
    check_needed
    check_tls
    check_calls
done
[ "$breaches" = 0 ]
