/* SPDX-License-Identifier: MIT
 * swaps.c - boxes are swapped under threads that allocate, free each other's
 * blocks, start, end and fork. Every block is checked (blocks.h). The program
 * asks its own control socket.
 */
#include "blocks.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { THREADS = 4, LOCAL = 200, SWAPS = 51, REPLY_BYTES = 65536 };
enum { GLIBCS_OWN = 40 };
#define JEMALLOC "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"

/* ---- asking -------------------------------------------------------------- */

static int control = -1;
static char reply[REPLY_BYTES];

static void connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    for (int i = 0; i < 1000; i++) { /* its thread may not have started yet */
        free(malloc(100 + (size_t)i * 10));
        control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(control, (struct sockaddr *)&to, sizeof to) == 0)
            return;
        close(control);
        usleep(10000);
    }
    test_fail(__FILE__, __LINE__, "no control socket at %s", path);
}

__attribute__((format(printf, 1, 2))) static bool ask(const char *format, ...)
{
    char line[4096];
    size_t n = 0;
    va_list ap;
    va_start(ap, format);
    int length = vsnprintf(line, sizeof line - 1, format, ap);
    va_end(ap);
    line[length++] = '\n';
    EXPECT_EQ(write(control, line, (size_t)length), length);
    do {
        ssize_t got = read(control, reply + n, sizeof reply - 1 - n);
        EXPECT_GT(got, 0);
        n += (size_t)got;
    } while (reply[n - 1] != '\n');
    reply[n] = 0;
    return strncmp(reply, "{\"ok\":", 6) == 0;
}

static void must(bool ok)
{
    if (!ok)
        test_fail(__FILE__, __LINE__, "%s", reply);
}

/* Run this test again with the control socket on. */
static void need_control(const char *name)
{
    static const char socket_name[] = "/tmp/hak_swaps.%p";
    char path[64];
    const char *given = getenv("HAKMEM_CONTROL_SOCKET");
    if (!under_hakmem() || getenv("HAKMEM_CONF") == NULL)
        SKIP("no boxes that can be loaded");
    if (given == NULL || strcmp(given, socket_name) != 0) {
        setenv("HAKMEM_CONTROL_SOCKET", socket_name, 1);
        /* for libraries that are loaded, as hakctl run --control sets it */
        setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=16384", 1);
        /* jemalloc needs more, as hakctl run knows. */
        setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=16384", 1);
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDOUT_FILENO);
        execl("/proc/self/exe", "swaps", name, (char *)NULL);
        _exit(1);
    }
    snprintf(path, sizeof path, "/tmp/hak_swaps.%d", (int)getpid());
    connect_to(path);
}

/* ---- work ---------------------------------------------------------------- */

static bool stop; /* atomic */
static uint64_t steps;

static void work_for(uint64_t *random, struct block **local, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        take_turn(&local[random_below(random, LOCAL)],
                  random_size(random, 0, 11), random);
    __atomic_add_fetch(&steps, n, __ATOMIC_RELAXED);
}

static void *run(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = random_mix(seed + (uintptr_t)which);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        work_for(&random, local, 256);
    for (int i = 0; i < LOCAL; i++)
        drop(local[i]);
    return NULL;
}

/* Threads that soon end, and leave blocks to others. */
static void *short_life(void *which)
{
    struct block *local[LOCAL] = {NULL};
    uint64_t random = random_mix(seed ^ (uintptr_t)which);
    work_for(&random, local, 300);
    for (int i = 0; i < LOCAL; i++)
        drop(swap_shared(local[i], SHARED, &random));
    return NULL;
}

static void *start_threads(void *unused)
{
    for (uintptr_t i = 1; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, short_life, (void *)i), 0);
        pthread_join(thread, NULL);
        usleep(500);
    }
    return unused;
}

static void *fork_on(void *unused)
{
    for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct block *local[LOCAL] = {NULL};
            uint64_t random = random_mix(i);
            work_for(&random, local, 300);
            _exit(0);
        }
        expect_child_ok(pid, 60);
        usleep(5000);
    }
    return unused;
}

static pthread_t worker[THREADS + 2];

static void start_work(void)
{
    start(0);
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&worker[i], NULL, run, (void *)i), 0);
    EXPECT_EQ(pthread_create(&worker[THREADS], NULL, start_threads, NULL), 0);
    EXPECT_EQ(pthread_create(&worker[THREADS + 1], NULL, fork_on, NULL), 0);
}

static void stop_work(void)
{
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS + 2; i++)
        pthread_join(worker[i], NULL);
    drop_shared();
}

/* Wait until the threads have done some more, so that the swap is felt. */
static void let_work(void)
{
    uint64_t from = __atomic_load_n(&steps, __ATOMIC_RELAXED);
    while (__atomic_load_n(&steps, __ATOMIC_RELAXED) < from + 4 * 256)
        usleep(200);
}

/* Nothing of ours is left in the box, but perhaps what glibc keeps of threads
 * that ended and of files that it loaded. What this thread freed last may still
 * be on its way; it does nothing to send it. */
static void expect_few(const char *box)
{
    unsigned live = 0;
    for (size_t i = 0; i < 500; i++) {
        must(ask("drain %s", box));
        const char *at = strstr(reply, "\"live\":");
        live = at != NULL ? (unsigned)strtoul(at + 7, NULL, 10) : 1000;
        if (live <= GLIBCS_OWN)
            return;
        usleep(10000);
    }
    test_fail(__FILE__, __LINE__, "%u blocks stay in %s: %s", live, box, reply);
}

/* ---- tests --------------------------------------------------------------- */

TEST(swaps_under_threads_that_start_end_fork_and_free)
{
    static const char *const order[] = {"ultra", "copy", "mid"};
    need_control("swaps_under_threads_that_start_end_fork_and_free");
    must(ask("load copy=ultra.so"));
    must(ask("load mid=mid_v35.so"));
    start_work();
    size_t first = 0;
    for (int i = 0; i < SWAPS; i++) {
        must(ask("swap %s %s", order[i % 3], order[(i + 1) % 3]));
        let_work();
        if (i == SWAPS / 3)
            first = rss_bytes();
    }
    size_t last = rss_bytes();
    stop_work();
    expect_few("copy");
    expect_few("mid");
    EXPECT_LT(last, first + first / 2 + 16 * MIB);
}

TEST(swaps_and_their_undoing)
{
    need_control("swaps_and_their_undoing");
    must(ask("load copy=ultra.so"));
    start_work();
    for (int i = 0; i < SWAPS; i++) {
        must(ask("swap ultra copy"));
        let_work();
        must(ask("back ultra"));
        let_work();
        must(ask("drain copy"));
        must(ask("back copy"));
    }
    must(ask("drain copy"));
    stop_work();
    expect_few("copy");
}

TEST(boxes_that_are_loaded_anew_each_time)
{
    char box[32], before[32] = "ultra";
    need_control("boxes_that_are_loaded_anew_each_time");
    start_work();
    for (int i = 0; i < 12; i++) {
        snprintf(box, sizeof box, "box%d", i);
        must(ask("load %s=%s", box, i % 2 == 0 ? "tiny.so" : "ultra.so"));
        must(ask("swap %s %s", before, box));
        let_work();
        strcpy(before, box);
    }
    stop_work();
    for (int i = 0; i < 11; i++) {
        snprintf(box, sizeof box, "box%d", i);
        expect_few(box);
    }
    must(ask("trim"));
    for (int i = 0; i < 30; i++) { /* closed ones leave their places */
        snprintf(box, sizeof box, "more%d", i);
        must(ask("load %s=ultra.so", box));
        must(ask("drain %s", box));
    }
}

/* A load and a report call the library, whose locks a fork takes too. 0x100 is
 * MALLOCX_TCACHE_NONE: a cache would mix the blocks of the boxes. */
TEST(a_foreign_box_is_loaded_under_forks)
{
    need_control("a_foreign_box_is_loaded_under_forks");
    if (access(JEMALLOC, R_OK) != 0)
        SKIP("no libjemalloc2");
    start_work();
    for (int i = 0; i < 10; i++) { /* none of them leaves: it keeps memory */
        must(ask("load je%d=foreign path=%s region=64MiB owns=region "
                 "\"hooks=take none none none none purge none zero zero\" "
                 "\"take=alloc(u64, ptr:0, size, align, out bool:1, out bool:1,"
                 " u32) -> ptr\" "
                 "\"purge=purge_lazy(u64, ptr, u64, u64:0, size, u32) -> bool"
                 " == 0\" "
                 "\"init=mallctl(cstr:\\\"arenas.create\\\", out u32=arena, "
                 "out size:4, out hooks, size:8) -> i32 == 0\" "
                 "\"alloc=mallocx(size, i32:$arena*0x100000+0x100100) -> ptr\" "
                 "\"free=dallocx(ptr, i32:0x100)\" "
                 "\"usable=sallocx(ptr, i32:0) -> size\"",
                 i, JEMALLOC));
        for (int k = 0; k < 20; k++)
            must(ask("stats"));
        must(ask("drain je%d", i));
    }
    stop_work();
}

TEST(changes_of_keys_under_threads)
{
    need_control("changes_of_keys_under_threads");
    start_work();
    for (int i = 0; i < 200; i++) {
        must(ask("set purge_delay_ms=%d", i % 3 == 0 ? 0 : 50));
        must(ask("set \"box large.cache_bytes=%dM\"", i % 64));
        must(ask("show"));
        let_work();
    }
    stop_work();
}

/* The thread that loads a box has a table of descriptors of its own. */
TEST(a_box_that_keeps_a_descriptor_is_refused)
{
    char cwd[2000];
    need_control("a_box_that_keeps_a_descriptor_is_refused");
    EXPECT(getcwd(cwd, sizeof cwd) != NULL);
    EXPECT(!ask("load x=%s/build/tests/boxes/keeps_descriptor.so", cwd));
    EXPECT(strstr(reply, "keeps a descriptor open") != NULL);
    EXPECT(!ask("swap ultra no-such-box"));
    must(ask("load y=%s/build/tests/boxes/three.so", cwd));
}

TEST_MAIN()
