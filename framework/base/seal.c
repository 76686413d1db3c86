/* SPDX-License-Identifier: MIT
 * seal.c - keeps the data that decides where calls go read-only.
 *
 * There are two kinds of sealed memory: the section hak_sealed, which
 * sections.ld aligns to whole pages, and chunks for data whose size depends on
 * the configuration. A change of a route or of a box's state makes all of it
 * writable for a moment. The lock lets one change in at a time.
 *
 * A box that is loaded while the process runs needs sealed memory that it can
 * write for longer, during its init. It gets a chunk of its own, the stage,
 * which is not protected before the init is over.
 */
#include <base/seal.h>

#include <base/os.h>
#include <kit/sync.h>

#include <sys/mman.h>

enum { CHUNK_BYTES = 64 * 1024, CHUNKS_MOST = 512 };

/* The linker defines these two symbols: the section's start and end. */
#define FROM_LINKER(name) __asm__(name) __attribute__((visibility("hidden")))
typedef char section_edge[]; /* cppcheck cannot read an asm name behind [] */
extern section_edge sealed_start FROM_LINKER("__start_hak_sealed");
extern section_edge sealed_stop FROM_LINKER("__stop_hak_sealed");

/* The first chunk is part of the section. It is enough for most
 * configurations, so they need no further mapping. */
static HAK_SEALED _Alignas(64) char first_chunk[8 * 1024];

static struct {
    struct hak_lock lock; /* held from hak_seal_open to hak_seal_close */
    bool sealed;
    struct hak_lock memory_lock; /* guards the members below */
    bool staged;                 /* there is a stage */
    uint32_t stage;              /* the chunks from here on are the stage */
    char *next, *end;            /* the free part of the last chunk */
    uint32_t nchunks;
    struct {
        char *at;
        size_t bytes;
    } chunk[CHUNKS_MOST]; /* mapped ones, without first_chunk */
} seal;

void hak_seal_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&seal.lock, phase);
    hak_lock_fork(&seal.memory_lock, phase);
}

/* memory_lock held */
static bool add_chunk(size_t size_bytes)
{
    size_t bytes =
        hak_round_up(hak_max(size_bytes, CHUNK_BYTES), hak_os_page_bytes());
    if (seal.nchunks == CHUNKS_MOST)
        return false;
    char *at = hak_os_map(bytes, PROT_READ | PROT_WRITE);
    if (at == NULL)
        return false;
    seal.chunk[seal.nchunks].at = seal.next = at;
    seal.chunk[seal.nchunks].bytes = bytes;
    seal.nchunks++;
    seal.end = at + bytes;
    return true;
}

void *hak_sealed_memory(size_t size_bytes)
{
    size_bytes = hak_round_up(size_bytes, 64);
    hak_lock_take(&seal.memory_lock);
    if (seal.next == NULL) {
        seal.next = first_chunk;
        seal.end = first_chunk + sizeof first_chunk;
    }
    char *p = NULL;
    if ((size_t)(seal.end - seal.next) >= size_bytes || add_chunk(size_bytes)) {
        p = seal.next;
        seal.next += size_bytes;
    }
    hak_lock_drop(&seal.memory_lock);
    return p;
}

/* Apply `to` to the section and to all chunks but the stage. False: it failed
 * at one of them, and those behind it are unchanged. */
static bool protect_all(bool (*to)(void *p, size_t size_bytes))
{
    hak_lock_take(&seal.memory_lock);
    uint32_t n = seal.staged ? seal.stage : seal.nchunks;
    hak_lock_drop(&seal.memory_lock);
    bool done =
        to(sealed_start, (uintptr_t)sealed_stop - (uintptr_t)sealed_start);
    for (uint32_t i = 0; done && i < n; i++)
        done = to(seal.chunk[i].at, seal.chunk[i].bytes);
    return done;
}

bool hak_seal_stage(void)
{
    hak_lock_take(&seal.memory_lock);
    uint32_t first = seal.nchunks;
    bool staged = !seal.sealed || add_chunk(CHUNK_BYTES);
    if (staged && seal.sealed) {
        seal.stage = first;
        seal.staged = true;
    }
    hak_lock_drop(&seal.memory_lock);
    return staged;
}

void hak_seal_staged(void)
{
    hak_lock_take(&seal.lock);
    hak_lock_take(&seal.memory_lock);
    seal.staged = false;
    hak_lock_drop(&seal.memory_lock);
    if (seal.sealed)
        protect_all(hak_os_read_only);
    hak_lock_drop(&seal.lock);
}

void hak_seal(void)
{
    seal.sealed = true;
    protect_all(hak_os_read_only);
}

bool hak_seal_open(void)
{
    hak_lock_take(&seal.lock);
    if (!seal.sealed || protect_all(hak_os_writable))
        return true;
    hak_seal_close();
    return false;
}

void hak_seal_close(void)
{
    if (seal.sealed)
        protect_all(hak_os_read_only);
    hak_lock_drop(&seal.lock);
}
