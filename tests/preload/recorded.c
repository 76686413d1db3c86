/* SPDX-License-Identifier: MIT
 * recorded.c - module record: what is in its rings is what the program did.
 *
 * A test starts this program anew, with the name of a scenario in its
 * environment. The scenario notes each call that it makes in a file, between
 * two blocks of MARK bytes. The test reads the rings, and compares.
 */
#include "ring_reader.h"

#include <pthread.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MARK = 77777, BLOCKS = 300, TURNS = 5000, NTHREADS = 4 };
#define HUGE_BYTES ((size_t)1 << 58)

/* ---- the scenarios ------------------------------------------------------- */

/* Shared by the test and the scenario; behind it are the calls. */
struct shared {
    uint32_t phase, ncalls;
    struct call call[400000];
};
static struct shared *shared;
static __thread uint32_t tid_of_log;

static void note(uint32_t kind, const void *p, size_t size, size_t align)
{
    uint32_t i = __atomic_fetch_add(&shared->ncalls, 1, __ATOMIC_RELAXED);
    EXPECT_LT(i, sizeof shared->call / sizeof *shared->call);
    if (tid_of_log == 0)
        tid_of_log = (uint32_t)gettid();
    shared->call[i] =
        (struct call){kind, tid_of_log, (uintptr_t)p, size, align};
}

static void *noted_malloc(size_t size)
{
    void *p = malloc(size);
    EXPECT(p != NULL);
    note(RECORD_MALLOC, p, size, 0);
    return p;
}

static void noted_free(void *p)
{
    note(RECORD_FREE, p, 0, 0);
    free(p);
}

static void *noted_calloc(size_t size)
{
    char *p = calloc(1, size);
    EXPECT(p != NULL);
    for (size_t i = 0; i < size; i += 100)
        EXPECT_EQ(p[i], 0);
    note(RECORD_CALLOC, p, size, 0);
    return p;
}

static void *noted_aligned(size_t align, size_t size)
{
    void *p;
    EXPECT_EQ(posix_memalign(&p, align, size), 0);
    note(align > 16 ? RECORD_ALIGNED : RECORD_MALLOC, p, size,
         align > 16 ? align : 0);
    return p;
}

static void *noted_realloc(void *p, size_t size)
{
    if (p != NULL && size == 0) {
        note(RECORD_FREE, p, 0, 0);
        EXPECT(realloc(p, opaque(0)) == NULL);
        return NULL;
    }
    if (p != NULL)
        note(RECORD_REALLOC_FROM, p, 0, 0);
    void *q = realloc(p, size);
    note(p != NULL ? RECORD_REALLOC_TO : RECORD_MALLOC, q, size, 0);
    return q;
}

static void mark(void)
{
    noted_free(noted_malloc(MARK));
}

/* A call at random for one of the blocks. */
static void turn(void **block, uint64_t *random)
{
    void **p = &block[random_below(random, BLOCKS)];
    size_t size = random_size(random, 3, random_below(random, 50) ? 11 : 19);
    switch (*p == NULL ? random_below(random, 4)
                       : 4 + random_below(random, 4)) {
    case 0:
        *p = noted_calloc(size);
        break;
    case 1:
        *p = noted_aligned((size_t)8 << random_below(random, 11), size);
        break;
    case 2:
        *p = noted_realloc(NULL, size);
        break;
    case 3:
        *p = noted_malloc(size);
        break;
    case 4:
        *p = noted_realloc(*p, size);
        break;
    case 5:
        *p = noted_realloc(*p, malloc_usable_size(*p));
        break;
    default:
        noted_free(*p);
        *p = NULL;
    }
}

static void turns(uint64_t random, int n)
{
    static __thread void *block[BLOCKS];
    mark();
    noted_free(NULL);
    for (int i = 0; i < n; i++)
        turn(block, &random);
    for (int i = 0; i < BLOCKS; i++)
        if (block[i] != NULL)
            noted_free(block[i]);
    memset(block, 0, sizeof block);
    void *p = noted_realloc(noted_malloc(100), 0);
    EXPECT(p == NULL);
    p = noted_malloc(10);
    note(RECORD_REALLOC_FROM, p, 0, 0);
    EXPECT(realloc(p, opaque(HUGE_BYTES)) == NULL);
    note(RECORD_REALLOC_TO, NULL, HUGE_BYTES, 0);
    noted_free(p);
    EXPECT(malloc(opaque(SIZE_MAX / 2)) == NULL); /* is not told */
    EXPECT(calloc(opaque(SIZE_MAX / 2), 3) == NULL);
    mark();
}

static void scene_alone(void)
{
    turns(1, TURNS);
}

static pthread_barrier_t barrier;
static void *passed[NTHREADS][BLOCKS];

/* Each thread makes blocks, and frees those of the next one. */
static void *passing(void *arg)
{
    size_t me = (size_t)arg;
    turns(me, TURNS / NTHREADS);
    mark();
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            passed[me][i] = noted_malloc(16 + i * 7);
        pthread_barrier_wait(&barrier);
        for (size_t i = 0; i < BLOCKS; i++)
            noted_free(passed[(me + 1) % NTHREADS][i]);
        pthread_barrier_wait(&barrier);
    }
    mark();
    return NULL;
}

static void scene_threads(void)
{
    pthread_t thread[NTHREADS];
    pthread_barrier_init(&barrier, NULL, NTHREADS);
    for (size_t i = 0; i < NTHREADS; i++)
        pthread_create(&thread[i], NULL, passing, (void *)i);
    for (size_t i = 0; i < NTHREADS; i++)
        pthread_join(thread[i], NULL);
}

/* A thread that only frees. */
static void *freeing(void *block)
{
    for (void **p = block; *p != NULL; p++)
        noted_free(*p);
    return NULL;
}

static void scene_frees_only(void)
{
    void *block[BLOCKS + 1] = {NULL};
    pthread_t thread;
    mark();
    for (size_t i = 0; i < BLOCKS; i++)
        block[i] = noted_malloc(i);
    mark();
    pthread_create(&thread, NULL, freeing, block);
    pthread_join(thread, NULL);
}

static void *short_life(void *arg)
{
    turns((uintptr_t)arg, 5);
    return NULL;
}

static void scene_many_threads(void)
{
    for (size_t i = 0; i < 200; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, short_life, (void *)i);
        pthread_join(thread, NULL);
        if (i % 20 == 0)
            usleep(20000); /* for the reader */
    }
}

static void expect_child(pid_t child)
{
    int status;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

static void in_child(uint64_t random)
{
    tid_of_log = 0;
    turns(random, 500);
    _exit(0);
}

static void scene_forks(void)
{
    turns(2, 500);
    for (uint64_t i = 0; i < 8; i++) {
        pid_t child = i < 5 ? fork() : _Fork();
        if (child == 0)
            in_child(i);
        turns(i + 10, 500);
        expect_child(child);
    }
}

/* The child has the parent's memory; the parent's thread waits. */
static void scene_vfork(void)
{
    mark();
    void *volatile p = noted_malloc(30);
    pid_t child = vfork();
    if (child == 0) {
        noted_free(p);
        noted_free(noted_malloc(500));
        _exit(0);
    }
    for (int i = 0; i < 100; i++)
        noted_free(noted_malloc(60));
    mark();
    expect_child(child);
}

static void scene_exec(void)
{
    turns(5, 500);
    setenv("HAK_SCENE", "alone", 1);
    execl("/proc/self/exe", "recorded", NULL);
    EXPECT(false);
}

/* More than a ring has entries, faster than the test reads them. */
static void scene_full(void)
{
    mark();
    for (int i = 0; i < 2 * RECORD_RING_ENTRIES; i++)
        noted_free(noted_malloc(50));
    mark();
}

/* Not noted: the recording ends somewhere. */
static void scene_busy(void)
{
    for (int i = 0; i < 20 * RECORD_RING_ENTRIES; i++)
        free(malloc(50));
}

static void scene_touched(void)
{
    for (size_t percent = 0; percent <= 100; percent += 25) {
        size_t size = (40 + percent) * MIB / 10; /* each is mapped anew */
        char *p = noted_malloc(size);
        memset(p, 1, size / 100 * percent);
        noted_free(p);
        note(RECORD_TOUCHED, p, size / 100 * percent, 0);
    }
}

static void scene_touched_quarter(void)
{
    char *p = calloc(1, 64 * MIB);
    EXPECT(p != NULL);
    memset(p, 1, 16 * MIB);
    free(p);
    note(RECORD_TOUCHED, p, 16 * MIB, 0);
}

static struct record_entry *ring_0;
static volatile unsigned nhandled;

/* Look for the entries of the first thread's ring. */
static void find_ring_0(void)
{
    char line[512];
    uintptr_t area = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    EXPECT(maps != NULL);
    while (area == 0 && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "memfd:ring") != NULL)
            area = strtoul(line, NULL, 16);
    fclose(maps);
    EXPECT_NE(area, 0);
    ring_0 = record_entries((struct record_area *)area, 0); /* NOLINT */
}

static void protect_ring_0(int access)
{
    EXPECT_EQ(mprotect(ring_0, RECORD_RING_ENTRIES * sizeof *ring_0, access),
              0);
}

static void handle_fault(int number)
{
    (void)number;
    nhandled++;
    protect_ring_0(PROT_READ | PROT_WRITE);
    free(malloc(333));
}

/* The handler of a fault interrupts the module where it writes an entry. */
static void scene_interrupted(void)
{
    free(malloc(1));
    find_ring_0();
    EXPECT(signal(SIGSEGV, handle_fault) != SIG_ERR);
    mark();
    for (unsigned i = 0; i < 10; i++) {
        protect_ring_0(PROT_READ);
        void *p = noted_malloc(50);
        protect_ring_0(PROT_READ);
        noted_free(p);
    }
    EXPECT_EQ(nhandled, 20);
    mark();
}

static void wait_phase(uint32_t phase)
{
    while (__atomic_load_n(&shared->phase, __ATOMIC_ACQUIRE) < phase) {
        free(malloc(100)); /* lanes are in use all the time */
        usleep(100);
    }
}

static void scene_live(void)
{
    wait_phase(1);
    turns(7, TURNS);
    wait_phase(2);
    for (int i = 0; i < 1000; i++)
        free(malloc(MARK + 1));
    wait_phase(3);
    turns(8, TURNS);
    wait_phase(4);
}

static const struct scene {
    const char *name;
    void (*run)(void);
} scenes[] = {
    {"alone", scene_alone},
    {"threads", scene_threads},
    {"frees_only", scene_frees_only},
    {"many_threads", scene_many_threads},
    {"forks", scene_forks},
    {"vfork", scene_vfork},
    {"exec", scene_exec},
    {"full", scene_full},
    {"busy", scene_busy},
    {"touched", scene_touched},
    {"touched_quarter", scene_touched_quarter},
    {"interrupted", scene_interrupted},
    {"live", scene_live},
};

static void map_shared(int fd)
{
    shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(shared != MAP_FAILED);
}

/* Does this process play a scene? */
__attribute__((constructor)) static void play(void)
{
    const char *name = getenv("HAK_SCENE"), *fd = getenv("HAK_SHARED");
    if (name == NULL || fd == NULL)
        return;
    map_shared(atoi(fd));
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (strcmp(scenes[i].name, name) == 0)
            scenes[i].run();
    exit(0);
}

/* ---- the test's side ----------------------------------------------------- */

static struct reader reader;
static int shared_fd;

/* Start this program with a scene. path: of the memory, or NULL. */
static pid_t start(const char *scene, const char *path)
{
    char fd[16];
    if (shared == NULL) {
        shared_fd = memfd_create("shared", 0);
        EXPECT(shared_fd >= 0 &&
               ftruncate(shared_fd, (off_t)sizeof *shared) == 0);
        map_shared(shared_fd);
    }
    snprintf(fd, sizeof fd, "%d", shared_fd);
    pid_t child = fork();
    if (child != 0)
        return child;
    setenv("HAK_SCENE", scene, 1);
    setenv("HAK_SHARED", fd, 1);
    if (path != NULL)
        setenv("HAKMEM_RECORD_RING", path, 1);
    execl("/proc/self/exe", "recorded", NULL);
    _exit(127);
}

static void expect_end(pid_t child, bool drains)
{
    int status;
    while (waitpid(child, &status, drains ? WNOHANG : 0) == 0) {
        reader_drain(&reader);
        usleep(200);
    }
    if (reader.area != NULL)
        reader_drain(&reader);
    EXPECT_EQ(status, 0);
}

static bool is_same(const struct call *a, const struct call *b)
{
    return a->kind == b->kind && a->address == b->address &&
           a->size == b->size && a->align == b->align;
}

static bool is_mark(const struct call *c)
{
    return c->kind == RECORD_MALLOC && c->size == MARK;
}

/* Compare what was read of a thread with what it noted. Between marks all of it
 * is noted; what is read outside of them is libc's. */
static void expect_thread(const struct stream *s, const struct call *noted,
                          size_t n)
{
    size_t at = 0, nmarks = 0;
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        while (!inside && at < s->n && !is_mark(&s->call[at]))
            at++;
        if (at == s->n || !is_same(&s->call[at], &noted[i]))
            test_fail(__FILE__, __LINE__,
                      "call %zu of %zu: %u %#lx %lu %lu, read %zu of %zu: %u "
                      "%#lx %lu %lu",
                      i, n, noted[i].kind, noted[i].address, noted[i].size,
                      noted[i].align, at, s->n, s->call[at % s->n].kind,
                      s->call[at % s->n].address, s->call[at % s->n].size,
                      s->call[at % s->n].align);
        at++;
        nmarks += is_mark(&noted[i]);
        /* The free of every second mark ends what is noted. */
        inside = nmarks % 2 != 0 || is_mark(&noted[i]);
    }
}

static size_t calls_of(uint32_t tid, struct call *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < shared->ncalls; i++)
        if (shared->call[i].tid == tid)
            out[n++] = shared->call[i];
    return n;
}

/* Is the stream of a thread that noted calls? Compare them then. */
static size_t expect_stream(const struct stream *s)
{
    static struct call noted[400000];
    size_t n = calls_of(s->tid, noted);
    if (n != 0 && is_mark(&noted[0]))
        expect_thread(s, noted, n);
    return n;
}

static void expect_streams(void)
{
    size_t n = 0;
    for (size_t i = 0; i < reader.nstreams; i++)
        n += expect_stream(&reader.stream[i]);
    EXPECT_EQ(n, shared->ncalls);
}

static void run(const char *scene)
{
    if (!under_hakmem())
        SKIP("only hakmem records");
    reader_open(&reader);
    expect_end(start(scene, reader.path), true);
}

TEST(calls_of_one_thread)
{
    run("alone");
    expect_streams();
    EXPECT_EQ(reader.nstreams, 1);
    EXPECT_EQ(reader.area->lost, 0);
}

TEST(calls_of_threads_that_hand_blocks_over)
{
    run("threads");
    expect_streams();
    EXPECT_GE(reader.nstreams, NTHREADS);
}

TEST(a_thread_that_only_frees)
{
    run("frees_only");
    EXPECT_EQ(reader.nstreams, 2);
    const struct stream *s = &reader.stream[1];
    size_t nfrees = 0;
    for (size_t i = 0; i < s->n; i++)
        nfrees += s->call[i].kind == RECORD_FREE;
    EXPECT_GE(nfrees, BLOCKS);
}

TEST(rings_of_ended_threads_are_given_back)
{
    run("many_threads");
    expect_streams();
    EXPECT_LE(reader.area->nused, 50);
}

TEST(children_of_fork_have_rings_of_their_own)
{
    run("forks");
    expect_streams();
    EXPECT_EQ(reader.nstreams, 9);
    for (size_t i = 1; i < reader.nstreams; i++)
        EXPECT_NE(reader.stream[i].process, reader.stream[i - 1].process);
}

TEST(a_child_of_vfork_is_its_parent)
{
    run("vfork");
    expect_streams();
    EXPECT_EQ(reader.nstreams, 1);
}

TEST(a_program_called_by_exec)
{
    run("exec");
    EXPECT_EQ(reader.nstreams, 2);
    EXPECT_EQ(reader.stream[0].tid, reader.stream[1].tid);
    EXPECT_NE(reader.stream[0].process, reader.stream[1].process);
}

TEST(a_full_ring_loses_nothing)
{
    if (!under_hakmem())
        SKIP("only hakmem records");
    reader_open(&reader);
    pid_t child = start("full", reader.path);
    const struct record_ring *ring = &reader.area->ring[0];
    while (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) <
           RECORD_RING_ENTRIES - 8)
        usleep(100);
    usleep(20000);
    EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0); /* it waits */
    expect_end(child, true);
    expect_streams();
    EXPECT_NE(reader.area->wake, 0);
}

static pid_t start_writer(int *out)
{
    EXPECT_EQ(pipe(out), 0);
    pid_t writer = fork();
    if (writer == 0) {
        reader_open(&reader);
        (void)!write(out[1], reader.path, sizeof reader.path);
        for (;;)
            pause();
    }
    EXPECT_EQ(read(out[0], reader.path, sizeof reader.path),
              (ssize_t)sizeof reader.path);
    return writer;
}

/* Nobody waits for the writer, so that it is a zombie. */
TEST(a_killed_writer_ends_the_recording)
{
    int out[2];
    if (!under_hakmem())
        SKIP("only hakmem records");
    pid_t writer = start_writer(out);
    pid_t child = start("busy", reader.path);
    usleep(100000);
    EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
    kill(writer, SIGKILL);
    expect_end(child, false);
}

TEST(a_writer_that_wants_no_more)
{
    if (!under_hakmem())
        SKIP("only hakmem records");
    reader_open(&reader);
    pid_t child = start("busy", reader.path);
    usleep(50000);
    __atomic_store_n(&reader.area->stopped, 1, __ATOMIC_RELEASE);
    expect_end(child, false);
    EXPECT_LE(reader.stream[0].n, RECORD_RING_ENTRIES);
}

/* Between the pages of a block that is mapped anew and those of one whose
 * memory was used before: only the former are known. */
TEST(large_blocks_tell_what_was_touched)
{
    run("touched");
    const struct stream *s = &reader.stream[0];
    if (is_foreign() || is_mode("verify"))
        return;
    EXPECT_GE(s->ntouched, 1);
    const struct call *last = &shared->call[shared->ncalls - 1];
    if (s->touched.address == last->address) {
        EXPECT_LE(last->size / 10 * 9, s->touched.size);
    }
}

TEST(a_quarter_of_a_block_is_touched)
{
    run("touched_quarter");
    const struct stream *s = &reader.stream[0];
    if (is_foreign() || is_mode("verify"))
        return;
    EXPECT_GE(s->ntouched, 1);
    EXPECT_EQ(s->touched.address, shared->call[0].address);
    EXPECT_GE(s->touched.size, 16 * MIB);
    EXPECT_LE(s->touched.size, 20 * MIB); /* huge pages */
}

/* Its calls and those of handlers that come in between: the former are there,
 * and the latter are lost. */
TEST(a_handler_that_interrupts_an_entry)
{
    run("interrupted");
    expect_streams();
    EXPECT_EQ(reader.area->lost, 40);
}

/* ---- memory that is none ------------------------------------------------- */

/* Start a program with that path. It must run, and say these two. */
static void expect_said(const char *path, const char *why, const char *result)
{
    char text[1000] = "";
    int out[2], kept = dup(2);
    EXPECT_EQ(pipe(out), 0);
    dup2(out[1], 2);
    pid_t child = start("alone", path);
    dup2(kept, 2);
    close(out[1]);
    int status;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_GE(read(out[0], text, sizeof text - 1), 0);
    EXPECT_CONTAINS(text, why);
    EXPECT_CONTAINS(text, result);
}

static void expect_refused(const char *path, const char *why)
{
    expect_said(path, why, "nothing is recorded");
}

TEST(memory_that_is_none_is_refused)
{
    char path[] = "/tmp/hak-no-ring-XXXXXX";
    if (!under_hakmem())
        SKIP("only hakmem records");
    expect_said("ring", "nor an absolute path", "running on libc alone");
    expect_refused("/nonexistent", "No such file");
    expect_refused("/dev/null", "no memory of hakctl record");
    expect_refused("/", "Is a directory");
    close(mkstemp(path));
    expect_refused(path, "no memory of hakctl record");
    EXPECT_EQ(truncate(path, (off_t)RECORD_AREA_BYTES), 0);
    expect_refused(path, "no memory of hakctl record");
    unlink(path);
    reader_open(&reader);
    reader.area->version++;
    expect_refused(reader.path, "another version");
    reader.area->version--;
    reader.area->stopped = 1;
    expect_refused(reader.path, "has ended");
    reader.area->stopped = 0;
    pthread_mutex_unlock(&reader.area->writer);
    expect_refused(reader.path, "has ended");
}

/* ---- by control ---------------------------------------------------------- */

static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    for (int i = 0; i < 10000; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            return fd;
        close(fd);
        usleep(1000);
    }
    test_fail(__FILE__, __LINE__, "no socket at %s", path);
}

static void ask(int fd, const char *request, const char *reply)
{
    char text[1000];
    size_t n = 0;
    EXPECT_EQ(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    EXPECT_EQ(write(fd, "\n", 1), 1);
    while (n == 0 || text[n - 1] != '\n') {
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        EXPECT_GT(got, 0);
        n += (size_t)got;
    }
    text[n] = 0;
    EXPECT_CONTAINS(text, reply);
}

static void next_phase(pid_t child, uint32_t until)
{
    __atomic_add_fetch(&shared->phase, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->ncalls, __ATOMIC_ACQUIRE) < until) {
        reader_drain(&reader);
        EXPECT_EQ(waitpid(child, NULL, WNOHANG), 0);
        usleep(200);
    }
}

static void ask_record(int fd)
{
    char request[200];
    snprintf(request, sizeof request, "record %s", reader.path);
    ask(fd, request, "\"reached\":\"every thread\"");
    ask(fd, "record state", "\"recording\":true");
    ask(fd, request, "recorded already");
}

TEST(recording_begins_and_ends_while_the_program_runs)
{
    char folder[] = "/tmp/hak-recorded-XXXXXX", path[100];
    if (!under_hakmem())
        SKIP("only hakmem records");
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/s", folder);
    setenv("HAKMEM_CONTROL_SOCKET", path, 1);
    pid_t child = start("live", NULL);
    int fd = connect_to(path);
    ask(fd, "record state", "\"recording\":false");
    ask(fd, "record stop", "nothing is recorded");
    ask(fd, "record here", "the absolute path");
    ask(fd, "record /dev/null", "no memory of hakctl record");
    reader_open(&reader);
    ask_record(fd);
    next_phase(child, TURNS);
    usleep(200000);
    reader_drain(&reader);
    expect_streams();
    ask(fd, "record stop", "\"reached\":\"every thread\"");
    EXPECT_EQ(reader.area->stopped, 1);
    ask(fd, "record state", "\"recording\":false");
    uint64_t head = reader.area->ring[0].head;
    next_phase(child, 0);
    usleep(100000);
    EXPECT_EQ(head, reader.area->ring[0].head);
    memset(&reader, 0, sizeof reader);
    shared->ncalls = 0;
    reader_open(&reader);
    ask_record(fd);
    next_phase(child, TURNS);
    usleep(200000);
    reader_drain(&reader);
    expect_streams();
    next_phase(child, 0);
    expect_end(child, true);
    rmdir(folder);
}

TEST_MAIN()
