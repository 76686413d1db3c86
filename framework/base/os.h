/* SPDX-License-Identifier: MIT
 * os.h - the core's calls of the kernel: memory, clock, limits.
 *
 * Any thread may call any of these. All of them keep errno but hak_os_fstat,
 * hak_os_real_path, hak_os_ncpus, hak_os_nmappings and hak_os_window_bytes.
 */
#ifndef HAKMEM_BASE_OS_H
#define HAKMEM_BASE_OS_H

#include <kit/base.h>
#include <limits.h>
#include <signal.h>

#pragma GCC visibility push(hidden)

/* Register the process for hak_os_barrier. False: the kernel has no such
 * barrier, or a sandbox refuses it. */
bool hak_os_barrier_start(void);
/* A full memory barrier in every running thread of the process (membarrier).
 * Cost: one system call. */
void hak_os_barrier(void);
bool hak_os_tsan(void);   /* does the program run under ThreadSanitizer? */
bool hak_os_secure(void); /* AT_SECURE: the program runs with raised rights */
uint64_t hak_os_now_ms(void); /* CLOCK_MONOTONIC_COARSE */
uint64_t hak_os_now_us(void); /* CLOCK_MONOTONIC */
uint64_t hak_os_now_ns(void); /* the same */
/* Mappings are private, anonymous and without a commit reservation. */
void *hak_os_map(size_t size_bytes, int prot); /* anywhere; NULL on failure */
/* At p, readable and writable. 0; -EEXIST: something is mapped there; another
 * -errno. Nothing that is mapped is replaced. */
int hak_os_map_at(void *p, size_t size_bytes);
int hak_os_populate_at(void *p, size_t size_bytes); /* with memory at once */
/* At p, readable and writable, in place of what is mapped there. Reads zero. */
bool hak_os_map_over(void *p, size_t size_bytes);
bool hak_os_unmap(void *p, size_t size_bytes);
int hak_os_purge(void *p, size_t size_bytes); /* MADV_DONTNEED; 0 or -errno */
bool hak_os_writable(void *p, size_t size_bytes); /* mprotect */
bool hak_os_is_mapped(void *p);                   /* p is the start of a page */
bool hak_os_read_only(void *p, size_t size_bytes); /* mprotect */
/* Count the pages in memory of [p, p + size_bytes), whole pages, in *npages
 * (mincore). False: not all of it is mapped. */
bool hak_os_resident(void *p, size_t size_bytes, size_t *npages);
/*
 * A write beyond RLIMIT_FSIZE comes with SIGXFSZ, which ends a program by
 * default. Between these two calls the calling thread gets -EFBIG alone; all
 * that this library writes in a program is written so. error: what came of the
 * writes.
 * Cost  two system calls; a third where the thread blocks SIGXFSZ anyway
 */
struct hak_os_limit {
    sigset_t before; /* the thread's signal mask */
    bool was_pending;
};
void hak_os_limit_begin(struct hak_os_limit *l);
void hak_os_limit_end(const struct hak_os_limit *l, int error);
/* Write all bytes to a descriptor. 0 or -errno, after a part perhaps; no
 * SIGXFSZ. Async-signal-safe. */
int hak_os_write(int fd, const void *bytes, size_t n);
/* The same to a file in append mode, all or nothing: after an error the part
 * that was written is cut off again, unless another process has appended behind
 * it meanwhile. */
int hak_os_append(int fd, const void *bytes, size_t n);
void hak_os_huge(void *p, size_t size_bytes); /* MADV_HUGEPAGE */
/* Move a mapping to `to`, in place of what is mapped there, and resize it
 * (mremap). False: nothing was moved. */
bool hak_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes);
/* The address space to plan the window for, a power of two. no_libc: routes
 * end in fallback = none, so libc cannot serve what does not fit. */
size_t hak_os_window_bytes(bool no_libc);
size_t hak_os_page_bytes(void);
uint32_t hak_os_ncpus(void);     /* CPUs the process may run on; at least 1 */
uint32_t hak_os_nmappings(void); /* vm.max_map_count; 0 = unknown */
/* The system call itself. glibc's fstat passes an empty string from libc's
 * constants, and reading it brings 16 pages of libc into memory. */
struct stat;
int hak_os_fstat(int fd, struct stat *out);
/* Like realpath. It reads the name from /proc, and so brings less of libc into
 * memory at start. False: there is no such file. */
bool hak_os_real_path(const char *path, char out[PATH_MAX]);

#pragma GCC visibility pop

#endif
