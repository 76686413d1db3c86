/* SPDX-License-Identifier: MIT
 * learner.c - a program with phases under tests/lib/learner.ini: routes
 * follow (mode = apply) or stay (observe, off), blocks go home, logs are
 * written.
 *
 * run.sh says the mode by HAKMEM_LEARNER_MODE. Skipped without hakmem.
 */
#include "calls.h"
#include "json.h"
#include "refuse.h"

#include <pthread.h>
#include <sys/stat.h>

enum { MANY = 12000, FEW = 1600, LIMIT_SECONDS = 60 };

static int (*hak_learner_call)(struct hak_learner_figures *out);
static const char *mode; /* "apply", "observe", "off" */

static void need_learner(void)
{
    NEED_ROUTES();
    *(void **)&hak_learner_call = symbol("hak_learner");
    mode = getenv("HAKMEM_LEARNER_MODE");
    mode = mode != NULL ? mode : "apply";
}

static struct hak_learner_figures figures(void)
{
    struct hak_learner_figures f;
    EXPECT_EQ(hak_learner_call(&f), 0);
    EXPECT_STR(f.mode, mode);
    return f;
}

/* ---- phases ------------------------------------------------------------ */

/* So many blocks of a size come, are looked at, and go; pages become empty. */
static void turn(size_t bytes, size_t n, uint64_t seed)
{
    void **p = malloc(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        fill(p[i] = malloc(bytes), 64, seed + i);
    for (size_t i = 0; i < n; i++) {
        EXPECT_PATTERN(p[i], 64, seed + i);
        free(p[i]);
    }
    free(p);
}

/* Two evaluations' worth of a phase in which C6 or C7 is heavy. */
static void phase(bool c6)
{
    for (int i = 0; i < 6; i++) {
        turn(500, c6 ? MANY : FEW, 1);
        turn(1000, c6 ? FEW : MANY, 2);
    }
}

/* The phase until C6 and C7 are in these boxes. */
static void phase_until(bool c6, const char *box6, const char *box7)
{
    double until = seconds() + LIMIT_SECONDS;
    while (strcmp(box_for(500), box6) != 0 ||
           strcmp(box_for(1000), box7) != 0) {
        EXPECT_LT(seconds(), until);
        phase(c6);
    }
}

static const char *route_of(int c)
{
    return figures().classes[c].route;
}

/* ---- apply ------------------------------------------------------------- */

#define NEED_MODE(wanted)            \
    do {                             \
        need_learner();              \
        if (strcmp(mode, wanted))    \
            SKIP("in another mode"); \
    } while (0)

enum { KEPT = 500 };

struct kept {
    void *p[KEPT];
    size_t bytes;
    const char *box;
};

static void keep(struct kept *k, size_t bytes)
{
    k->bytes = bytes;
    k->box = box_for(bytes);
    for (size_t i = 0; i < KEPT; i++) {
        fill(k->p[i] = malloc(bytes), bytes, i);
        EXPECT_STR(hak.owner(k->p[i]), k->box);
    }
}

/* They are where they were, and go home. */
static void let_go(struct kept *k)
{
    uint64_t live = stats_of(k->box).live_count;
    for (size_t i = 0; i < KEPT; i++) {
        EXPECT_STR(hak.owner(k->p[i]), k->box);
        EXPECT_PATTERN(k->p[i], k->bytes, i);
        free(k->p[i]);
    }
    EXPECT_LE(stats_of(k->box).live_count, live - KEPT + 5);
}

TEST(routes_follow_the_phases)
{
    static struct kept before, between;
    NEED_MODE("apply");
    EXPECT_STR(box_for(500), "ultra");
    EXPECT_STR(box_for(1000), "ultra");
    keep(&before, 1000);
    phase_until(true, "ultra", "mid_v35");
    EXPECT_STR(route_of(6), "ultra");
    EXPECT_STR(route_of(7), "mid_v35");
    EXPECT_STR(figures().classes[7].rule, "light");
    EXPECT_EQ(figures().classes[7].switches, 1);
    keep(&between, 1000);
    let_go(&before);
    phase_until(false, "mid_v35", "ultra");
    EXPECT_STR(route_of(6), "mid_v35");
    EXPECT(figures().classes[7].rule == NULL); /* [policy] again */
    EXPECT_EQ(figures().classes[7].switches, 2);
    let_go(&between);
    phase_until(true, "ultra", "mid_v35");
    EXPECT_STR(box_for(5000), "midmt"); /* none of the learner's */
    EXPECT_STR(box_for(100), "ultra");
}

TEST(it_settles_and_stays)
{
    NEED_MODE("apply");
    phase_until(true, "ultra", "mid_v35");
    for (int i = 0; i < 10; i++)
        phase(true);
    struct hak_learner_figures f = figures(), g;
    for (int i = 0; i < 30; i++)
        phase(true);
    g = figures();
    EXPECT_GE(g.evaluations, f.evaluations + 10);
    EXPECT_EQ(g.decisions, f.decisions);
}

/* A thread whose one block never leaves its lane sees the change too. */
static struct {
    int stop, seen;
} watch;

static void *watch_c7(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&watch.stop, __ATOMIC_ACQUIRE)) {
        if (strcmp(box_for(1000), "mid_v35") == 0)
            __atomic_store_n(&watch.seen, 1, __ATOMIC_RELEASE);
        usleep(100);
    }
    return NULL;
}

TEST(every_thread_follows)
{
    pthread_t thread;
    NEED_MODE("apply");
    EXPECT_EQ(pthread_create(&thread, NULL, watch_c7, NULL), 0);
    phase_until(true, "ultra", "mid_v35");
    double until = seconds() + LIMIT_SECONDS;
    while (!__atomic_load_n(&watch.seen, __ATOMIC_ACQUIRE))
        EXPECT_LT(seconds(), until);
    __atomic_store_n(&watch.stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

static void *free_all(void *blocks)
{
    for (size_t i = 0; i < MANY; i++)
        free(((void **)blocks)[i]);
    return NULL;
}

TEST(what_is_handed_to_others_moves)
{
    static void *p[MANY];
    NEED_MODE("apply");
    double until = seconds() + LIMIT_SECONDS;
    while (strcmp(box_for(1000), "mid_v35") != 0) {
        EXPECT_LT(seconds(), until);
        for (size_t i = 0; i < MANY; i++)
            p[i] = malloc(1000);
        pthread_t thread;
        EXPECT_EQ(pthread_create(&thread, NULL, free_all, p), 0);
        pthread_join(thread, NULL);
    }
    struct hak_learner_figures f = figures();
    EXPECT_STR(f.classes[7].rule, "handed");
    EXPECT_LT(f.classes[7].free_hit_bps, 5000);
}

TEST(a_drained_box_is_left_at_once)
{
    NEED_MODE("apply");
    phase_until(true, "ultra", "mid_v35");
    EXPECT_GE(hak.drain("mid_v35"), 0);
    EXPECT_NE(strcmp(box_for(1000), "mid_v35"), 0);
    phase_until(true, "ultra", "ultra");
    for (int i = 0; i < 10; i++)
        phase(true);
    EXPECT_STR(box_for(1000), "ultra");
}

/* ---- observe, off ------------------------------------------------------ */

TEST(observe_changes_nothing)
{
    NEED_MODE("observe");
    double until = seconds() + LIMIT_SECONDS;
    for (int turns = 0; figures().decisions < 4; turns++) {
        EXPECT_LT(seconds(), until);
        for (int i = 0; i < 20; i++)
            phase(turns % 2 == 0);
        EXPECT_STR(box_for(500), "ultra");
        EXPECT_STR(box_for(1000), "ultra");
        EXPECT_EQ(stats_of("mid_v35").allocs, 0);
        for (int c = 0; c < 8; c++)
            EXPECT_STR(route_of(c), "ultra");
    }
}

TEST(off_sees_nothing)
{
    struct hak_learner_figures f;
    NEED_MODE("off");
    for (int i = 0; i < 100; i++)
        phase(i < 50);
    EXPECT_EQ(hak_learner_call(&f), -ENODATA);
    EXPECT_STR(box_for(1000), "ultra");
    EXPECT_EQ(stats_of("mid_v35").allocs, 0);
}

/* ---- readers ----------------------------------------------------------- */

static const char *report(bool json)
{
    static char text[65536];
    int fd = memfd_create("report", MFD_CLOEXEC);
    EXPECT_EQ(hak.report(fd, json), 0);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    EXPECT_GT(n, 0);
    text[n] = 0;
    close(fd);
    return text;
}

TEST(figures_add_up)
{
    need_learner();
    if (strcmp(mode, "off") == 0)
        SKIP("off");
    for (int i = 0; i < 100; i++)
        phase(i < 50);
    struct hak_learner_figures f = figures();
    uint64_t share = 0, retire = 0, switches = 0;
    for (int c = 0; c < 8; c++) {
        const struct hak_learner_class_figures *k = &f.classes[c];
        share += k->share_bps;
        retire += k->retire_bps;
        switches += k->switches;
        EXPECT_LE(k->utilisation_bps, 10000);
        EXPECT_LE(k->free_hit_bps, 10000);
    }
    EXPECT(share <= 10000 && share > 10000 - 8);
    EXPECT(retire <= 10000 && retire > 10000 - 8);
    EXPECT_EQ(switches, f.decisions);
    EXPECT_GT(f.evaluations, 10);
    /* A thread tells of its retires by eights, and a interval has what it did
     * not tell yet as well: up to 7, which the next one is short of. */
    EXPECT_GE(f.interval_retires, 64 - 7);
    /* a hundred phases of six turns; the last pages have not retired */
    EXPECT_GT(f.classes[7].allocations, 6 * 50 * (MANY + FEW) * 9 / 10);
    EXPECT_LE(f.classes[7].allocations, 6 * 50 * (MANY + FEW) + 1000);
    EXPECT_GT(f.free_hit_bps, 9900);
}

TEST(reports_have_a_part_of_it)
{
    char head[64];
    need_learner();
    for (int i = 0; i < 10; i++)
        phase(true);
    EXPECT_STR(json_end(report(true)), "\n");
    if (strcmp(mode, "off") == 0) {
        EXPECT(strstr(report(true), "\"learner\":") == NULL);
        EXPECT(strstr(report(false), "\nlearner") == NULL);
        return;
    }
    EXPECT_CONTAINS(report(true), ",\"learner\":{\"mode\":\"");
    EXPECT_CONTAINS(report(true), "{\"class\":\"C7\",\"route\":\"");
    snprintf(head, sizeof head, "\nlearner %s, ", mode);
    EXPECT_CONTAINS(report(false), head);
    EXPECT_CONTAINS(report(false), "\nlearner C6 ");
    EXPECT(strstr(report(false), "\nlearner C5 ") == NULL); /* not used */
}

/* ---- the log ----------------------------------------------------------- */

/* What a_line_a_decision runs, with another environment. */
TEST(log_target)
{
    need_learner();
    for (int fd = 3; fd < 100; fd++)
        close(fd); /* as daemons do */
    if (getenv("HAKMEM_LEARNER_LOG") == NULL)
        SKIP("for the tests of the log");
    if (getenv("SANDBOX") != NULL)
        EXPECT(refuse_opens());
    if (getenv("LIMIT") != NULL)
        limit_files((rlim_t)atol(getenv("LIMIT")));
    for (int i = 0; i < 40; i++)
        phase(true);
    for (int fd = 3; fd < 100; fd++)
        EXPECT_EQ(fcntl(fd, F_GETFD), -1); /* none was kept open */
}

static const char *run_target(const char *log, const char *to)
{
    static char text[65536];
    pid_t pid = fork();
    if (pid == 0) {
        setenv("HAKMEM_LEARNER_LOG", log, 1);
        close(open(to, O_WRONLY | O_CREAT | O_APPEND, 0600));
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        execl("/proc/self/exe", "learner", "log_target", (char *)NULL);
        _exit(9);
    }
    expect_child_ok(pid, LIMIT_SECONDS);
    int fd = open(to, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    return text;
}

TEST(a_line_a_decision)
{
    char dir[] = "/tmp/hakmem-learner.XXXXXX", file[64], link[64];
    struct stat s;
    need_learner();
    EXPECT(mkdtemp(dir) != NULL);
    snprintf(file, sizeof file, "%s/log", dir);
    snprintf(link, sizeof link, "%s/link", dir);
    const char *text = run_target(file, file);
    if (strcmp(mode, "off") == 0) {
        EXPECT_STR(text, "");
    } else {
        EXPECT_EQ(strncmp(text, "learner (", 9), 0);
        EXPECT_CONTAINS(text, "): learner: evaluation ");
        EXPECT_CONTAINS(text, strcmp(mode, "apply") == 0
                                  ? ": C7 ultra -> mid_v35, rule light: share "
                                  : ": C7 ultra would go to mid_v35, rule "
                                    "light: share ");
        EXPECT_CONTAINS(text, "%, retire ");
        EXPECT_CONTAINS(text, "%, utilisation ");
        EXPECT_CONTAINS(text, "%, free hit ");
        EXPECT_EQ(text[strlen(text) - 1], '\n');
    }
    EXPECT_EQ(setenv("SANDBOX", "1", 1), 0); /* nothing can be opened */
    EXPECT_EQ(truncate(file, 0), 0);
    text = run_target(file, file);
    EXPECT_EQ(text[0] == 0, strcmp(mode, "off") == 0);
    EXPECT_EQ(unsetenv("SANDBOX"), 0);
    EXPECT_EQ(stat(file, &s), 0);
    EXPECT_EQ(s.st_mode & 0777, 0600);
    EXPECT_EQ(truncate(file, 0), 0);
    EXPECT_EQ(symlink(file, link), 0);
    EXPECT_STR(run_target(link, file), ""); /* no link is followed */
    unlink(file);
    unlink(link);
    rmdir(dir);
}

/* A line has about 140 bytes. */
TEST(a_line_that_does_not_fit_is_cut_off_again)
{
    char dir[] = "/tmp/hakmem-learner.XXXXXX", file[64];
    need_learner();
    EXPECT(mkdtemp(dir) != NULL);
    snprintf(file, sizeof file, "%s/log", dir);
    EXPECT_EQ(setenv("LIMIT", "100", 1), 0);
    EXPECT_STR(run_target(file, file), "");
    unlink(file);
    rmdir(dir);
}

/* ---- threads, remote frees, forks -------------------------------------- */

enum { THREADS = 3, BOXES = 512 };
static void *mailbox[BOXES];
static int stop;

/* Blocks of C5..C7 that whoever finds them frees; phases as time goes by. */
static void *busy(void *me)
{
    uint64_t random = (uintptr_t)me;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        size_t heavy = i / 20000 % 2 ? 1000 : 500;
        size_t n = random_below(&random, 8) == 0 ? 1500 - heavy : heavy;
        size_t *p = malloc(n + random_below(&random, 8));
        p[0] = n;
        fill(p + 1, n - sizeof *p, n);
        void **at = &mailbox[random_below(&random, BOXES)];
        p = __atomic_exchange_n(at, p, __ATOMIC_ACQ_REL);
        if (p != NULL)
            EXPECT_PATTERN(p + 1, p[0] - sizeof *p, p[0]);
        free(p);
        if (random_below(&random, 4096) == 0)
            turn(heavy, MANY, i); /* pages that become empty */
    }
    return NULL;
}

static void child(void)
{
    alarm(LIMIT_SECONDS);
    for (int i = 0; i < 6; i++)
        phase(i % 4 < 2);
    report(false);
    _exit(0);
}

TEST(threads_and_forks_while_it_learns)
{
    pthread_t thread[THREADS];
    need_learner();
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, busy, (void *)(i + 1)), 0);
    for (int i = 0; i < 12; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child();
        turn(1000, MANY, 3);
        report(i % 2 == 0);
        expect_child_ok(pid, LIMIT_SECONDS);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    if (strcmp(mode, "off") != 0)
        EXPECT_GT(figures().evaluations, 10);
    for (int i = 0; i < BOXES; i++)
        free(mailbox[i]);
    hak.trim();
    EXPECT_LE(stats_of("ultra").live_count + stats_of("mid_v35").live_count,
              200);
}

TEST_MAIN()
