/* allocator.c - an allocator for the tests of hakctl replay: it does what it
 * should, or has the fault that HAK_TEST_FAULT names.
 *
 * In the file of HAK_TEST_CALLS, which has to be there with CALLS_BYTES, it
 * leaves a number for each thread that depends on all calls of this thread and
 * their order. A block has a number among those that its thread has made, so
 * that the calls of free count with the block that they free.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { HEAD = 32, CLASSES = 48, CALLS_BYTES = 1 << 16, AFTER = 40 };

struct head {
    struct head *next; /* while it is free */
    uint64_t size, number;
    uint32_t class, offset; /* of the block, from the start of its memory */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct head *free_heads[CLASSES];
static char *chunk;
static size_t chunk_left;

static const char *fault = "";
static _Atomic uint64_t *calls; /* [0]: threads; [1 + thread] */
static _Atomic uint64_t ncalls, last_clock_ns;
static __thread uint64_t own_calls, own_blocks;

__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("HAK_TEST_CALLS"),
               *name = getenv("HAK_TEST_FAULT");
    int fd = file != NULL ? open(file, O_RDWR) : -1;
    /* Not in env, by which hakctl looks whether it can be preloaded. */
    if (name != NULL &&
        strcmp(program_invocation_short_name, "hakctl-player") == 0)
        fault = name;
    if (fd >= 0) {
        void *p =
            mmap(NULL, CALLS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED)
            calls = p;
        close(fd);
    }
}

/* Does this call have the fault? It begins after some calls. */
static int is_faulty(const char *name)
{
    return strcmp(fault, name) == 0 &&
           atomic_load_explicit(&ncalls, memory_order_relaxed) > AFTER;
}

/* Count a call of this thread, with what there is to know of it. */
static void count(uint64_t kind, uint64_t what)
{
    struct timespec t;
    atomic_fetch_add_explicit(&ncalls, 1, memory_order_relaxed);
    if (calls == NULL)
        return;
    if (own_calls == 0)
        own_calls = 1 + atomic_fetch_add(&calls[0], 1);
    _Atomic uint64_t *own = &calls[2 + own_calls % (CALLS_BYTES / 8 - 2)];
    *own = (*own ^ (kind << 56) ^ what) * 0x9e3779b97f4a7c15u + 1;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (last_clock_ns == 0)
        last_clock_ns = ns;
    calls[1] = ns - last_clock_ns; /* since the first call */
}

/* ---- memory -------------------------------------------------------------- */

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static char *take(size_t bytes)
{
    enum { CHUNK = 1 << 20 };
    if (bytes > CHUNK / 4)
        return map(bytes);
    if (bytes > chunk_left) {
        chunk = map(CHUNK);
        chunk_left = chunk != NULL ? CHUNK : 0;
    }
    if (bytes > chunk_left)
        return NULL;
    chunk_left -= bytes;
    return chunk + chunk_left;
}

static void *get(size_t size, size_t align)
{
    uint32_t class = 4;
    while (((size_t)1 << class) < size + align)
        class ++;
    pthread_mutex_lock(&lock);
    struct head *h = free_heads[class];
    char *start = NULL;
    if (h != NULL && align <= 16) {
        free_heads[class] = h->next;
        start = (char *)h - h->offset;
    } else
        start = take(((size_t)1 << class) + HEAD);
    pthread_mutex_unlock(&lock);
    if (start == NULL)
        return NULL;
    uintptr_t p = ((uintptr_t)start + HEAD + align - 1) / align * align;
    h = (struct head *)(p - HEAD);
    *h = (struct head){.size = size,
                       .number = ++own_blocks,
                       .class = class,
                       .offset = (uint32_t)((char *)h - start)};
    return (void *)p;
}

static struct head *head_of(void *p)
{
    return (struct head *)((char *)p - HEAD);
}

static void put(void *p)
{
    struct head *h = head_of(p);
    pthread_mutex_lock(&lock);
    h->next = free_heads[h->class];
    free_heads[h->class] = h;
    pthread_mutex_unlock(&lock);
}

/* ---- the family ---------------------------------------------------------- */

static char *last; /* the block before, for "overlap" */

PUBLIC void *malloc(size_t size)
{
    count(1, size);
    if (is_faulty("null"))
        return NULL;
    if (is_faulty("crash"))
        raise(SIGSEGV);
    if (is_faulty("kill"))
        raise(SIGKILL);
    if (is_faulty("exit"))
        _exit(7);
    char *p = get(size, 16);
    if (is_faulty("align"))
        return p + 8;
    if (is_faulty("overlap") && last != NULL && head_of(last)->size > 64)
        return last + 32;
    last = p;
    return p;
}

PUBLIC void free(void *p)
{
    count(2, p != NULL ? head_of(p)->number : 0);
    if (p != NULL && fault[0] == 0)
        put(p);
}

PUBLIC void *calloc(size_t n, size_t each)
{
    count(3, n * each);
    char *p = get(n * each, 16);
    if (p != NULL)
        memset(p, 0, n * each);
    if (p != NULL && n * each > 100 && is_faulty("zero"))
        p[100] = 7;
    return p;
}

PUBLIC void *realloc(void *old, size_t size)
{
    count(4, size);
    void *p = get(size, 16);
    if (p == NULL || old == NULL)
        return p;
    size_t kept = head_of(old)->size < size ? head_of(old)->size : size;
    if (is_faulty("lost") && kept > 16)
        kept -= 16;
    memcpy(p, old, kept);
    put(old);
    return p;
}

PUBLIC int posix_memalign(void **out, size_t align, size_t size)
{
    count(5, size);
    *out = get(size, align < 16 ? 16 : align);
    return *out != NULL ? 0 : ENOMEM;
}

PUBLIC size_t malloc_usable_size(void *p)
{
    if (is_faulty("usable"))
        return 0;
    return p != NULL ? head_of(p)->size : 0;
}
