/* SPDX-License-Identifier: MIT
 * os.h - every coupling of the core to the kernel: memory, clock, limits.
 */
#ifndef HAKMEM_BASE_OS_H
#define HAKMEM_BASE_OS_H

#include <kit/base.h>
#include <limits.h>

#pragma GCC visibility push(hidden)

/* A full memory barrier in every running thread of the process; the first
 * sets it up. False: the kernel has none. */
bool hak_os_barrier_start(void);
void hak_os_barrier(void);
bool hak_os_tsan(void);   /* ThreadSanitizer is there: it owns most addresses */
bool hak_os_secure(void); /* AT_SECURE: the environment is not trusted */
uint64_t hak_os_now_ms(void);                  /* CLOCK_MONOTONIC_COARSE */
uint64_t hak_os_now_us(void);                  /* CLOCK_MONOTONIC */
void *hak_os_map(size_t size_bytes, int prot); /* anywhere; NULL on failure */
int hak_os_map_at(void *p, size_t size_bytes); /* there or -errno */
int hak_os_populate_at(void *p, size_t size_bytes); /* with its pages */
/* There, in place of what is mapped, and zero. */
bool hak_os_map_over(void *p, size_t size_bytes);
bool hak_os_unmap(void *p, size_t size_bytes);
int hak_os_purge(void *p, size_t size_bytes); /* MADV_DONTNEED; or -errno */
bool hak_os_writable(void *p, size_t size_bytes);
bool hak_os_is_mapped(void *p); /* is there a page? p at its start */
bool hak_os_read_only(void *p, size_t size_bytes);
void hak_os_huge(void *p, size_t size_bytes);
bool hak_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes);
/* How much address space to plan for. no_libc: fallback = none */
size_t hak_os_window_bytes(bool no_libc);
size_t hak_os_page_bytes(void);
uint32_t hak_os_ncpus(void);     /* that may run the process; not 0 */
uint32_t hak_os_nmappings(void); /* vm.max_map_count, or 0 */
/* glibc's hands the kernel an empty name: 16 pages of its constants. */
struct stat;
int hak_os_fstat(int fd, struct stat *out);
/* As realpath, of which it touches less at start. */
bool hak_os_real_path(const char *path, char out[PATH_MAX]);

#pragma GCC visibility pop

#endif
