/* SPDX-License-Identifier: MIT
 * signals.c - [stats] on_signal: the report at a signal, without stopping.
 * on_term: at_exit's report also at a signal that ends the program.
 *
 * A test starts this program again with the keys in its environment and a life
 * to live (live_*), and reads from a pipe what it says on stderr. Nothing here
 * depends on how long anything takes.
 */
#include "calls.h"

#include <pthread.h>

/* ---- lives --------------------------------------------------------------- */

static void say(const char *text)
{
    EXPECT_EQ(write(STDERR_FILENO, text, strlen(text)), strlen(text));
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

/* The module's thread starts on a full slow path, which one in 64 large blocks
 * takes (SHORT_TRIPS of malloc/short_way.h). */
static void live_sleeping(void)
{
    for (int i = 0; i < 100; i++)
        free(malloc(400000));
    say("ready\n");
    sleep_for_ever();
}

static volatile sig_atomic_t came;

static void on_own(int number)
{
    (void)number;
    came = 1;
    (void)!write(STDERR_FILENO, "own\n", 4);
}

static void live_handling(void)
{
    free(malloc(100));
    signal(SIGUSR2, on_own);
    signal(SIGTERM, on_own);
    say("ready\n");
    while (!came)
        usleep(1000);
    exit(7);
}

static void *allocate_for_ever(void *unused)
{
    void *p[16] = {NULL};
    for (size_t i = 0;; i++) {
        free(p[i % 16]);
        p[i % 16] = malloc(16 + i * 977 % 300000);
    }
    return unused;
}

/* The signal comes to a thread that is in malloc as often as not. */
static void live_allocating(void)
{
    free(malloc(100));
    say("ready\n");
    allocate_for_ever(NULL);
}

static void live_in_threads(void)
{
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(pthread_create(&thread, NULL, allocate_for_ever, NULL), 0);
    live_allocating();
}

static void live_forking(void)
{
    free(malloc(100));
    if (fork() == 0)
        live_sleeping();
    wait(NULL);
    say("child gone\n");
    sleep_for_ever();
}

static const struct {
    const char *name;
    void (*live)(void);
} lives[] = {
#define LIFE(of)                       \
    {                                  \
        .name = #of, .live = live_##of \
    }
    LIFE(sleeping),   LIFE(handling), LIFE(allocating),
    LIFE(in_threads), LIFE(forking),
};

static int live(const char *name)
{
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        if (strcmp(lives[i].name, name) == 0)
            lives[i].live();
    return 9;
}

/* ---- one that lives -------------------------------------------------------
 */

struct one {
    pid_t pid;
    int from; /* its stderr */
    char text[1 << 16];
    size_t n;
};
static struct one one;

static void launch(const char *life, const char *on_signal, const char *on_term,
                   const char *at_exit)
{
    int ends[2];
    NEED_BOXES();
    if (is_mode("fused/default"))
        SKIP("the keys of a fused library are constants");
    EXPECT_EQ(pipe(ends), 0);
    one = (struct one){.pid = fork(), .from = ends[0]};
    if (one.pid == 0) {
        setenv("HAKMEM_STATS_ON_SIGNAL", on_signal, 1);
        setenv("HAKMEM_STATS_ON_TERM", on_term, 1);
        setenv("HAKMEM_STATS_AT_EXIT", at_exit, 1);
        setenv("LIFE", life, 1);
        if (dup2(ends[1], STDERR_FILENO) < 0)
            _exit(8);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "signals", (char *)NULL);
        _exit(9);
    }
    close(ends[1]);
}

static int count(const char *part)
{
    int n = 0;
    for (const char *at = one.text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

/* Read on. False: it has closed its stderr. */
static bool hear(void)
{
    ssize_t n = read(one.from, one.text + one.n, sizeof one.text - one.n - 1);
    EXPECT(n >= 0 || errno == EINTR);
    one.n += n > 0 ? (size_t)n : 0;
    one.text[one.n] = 0;
    return n != 0;
}

static void hear_until(const char *part, int times)
{
    while (count(part) < times)
        if (!hear())
            test_fail(__FILE__, __LINE__, "\"%s\" not %d times in \"%s\"", part,
                      times, one.text);
}

/* Launch a program, and wait until it is under way. */
static void start(const char *life, const char *on_signal, const char *on_term,
                  const char *at_exit)
{
    launch(life, on_signal, on_term, at_exit);
    hear_until("ready", 1);
}

static int ended(void)
{
    int status;
    while (hear())
        ;
    EXPECT_EQ(waitpid(one.pid, &status, 0), one.pid);
    close(one.from);
    return status;
}

static void kill_it(void)
{
    EXPECT_EQ(kill(one.pid, SIGKILL), 0);
    EXPECT_EQ(WTERMSIG(ended()), SIGKILL);
}

/* In the first line of a report. */
static const char report[] = " boxes, free_route ";

static void expect_end_by(int number, int nreports)
{
    int status = ended();
    EXPECT(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_EQ(count(report), nreports);
}

/* ---- on_signal -------------------------------------------------------------
 */

TEST(a_sleeping_program_reports_and_sleeps_on)
{
    start("sleeping", "USR2", "no", "none");
    for (int i = 1; i <= 3; i++) {
        EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
        hear_until(report, i);
    }
    kill_it();
}

TEST(any_signal_by_name_or_number)
{
    static const char *const words[] = {"SIGHUP", "winch", "10", "40"};
    static const int numbers[] = {SIGHUP, SIGWINCH, SIGUSR1, 40};
    for (int i = 0; i < 4; i++) {
        start("sleeping", words[i], "no", "none");
        EXPECT_EQ(kill(one.pid, numbers[i]), 0);
        hear_until(report, 1);
        kill_it();
    }
}

TEST(without_the_key_the_signal_ends_the_program)
{
    start("sleeping", "none", "no", "none");
    EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
    expect_end_by(SIGUSR2, 0);
}

TEST(the_handler_of_the_program_wins)
{
    start("handling", "USR2", "no", "none");
    EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
    int status = ended();
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    EXPECT_EQ(count("own\n"), 1);
    EXPECT_EQ(count(report), 0);
}

TEST(threads_that_allocate_are_reported_and_go_on)
{
    start("in_threads", "USR2", "no", "none");
    for (int i = 1; i <= 20; i++) {
        EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
        hear_until(report, i);
    }
    kill_it();
}

/* The child's own process id is in its report. The parent is asked too, when
 * the child is gone. */
TEST(a_child_of_fork_reports_for_itself)
{
    char who[64];
    start("forking", "USR2", "no", "none");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)one.pid,
             (int)one.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char children[64] = "";
    if (fd < 0 || read(fd, children, sizeof children - 1) <= 0) {
        kill_it();
        SKIP("the kernel does not name children");
    }
    close(fd);
    pid_t child = atoi(children);
    EXPECT_EQ(kill(child, SIGUSR2), 0);
    snprintf(who, sizeof who, " (%d), ", (int)child);
    hear_until(who, 1);
    EXPECT_EQ(kill(child, SIGKILL), 0);
    hear_until("child gone", 1);
    EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
    snprintf(who, sizeof who, " (%d), ", (int)one.pid);
    hear_until(who, 1);
    EXPECT_EQ(count(report), 2);
    kill_it();
}

TEST(the_report_goes_where_at_exit_goes)
{
    char name[] = "/tmp/hakmem-signals.XXXXXX", text[4096] = "";
    int fd = mkstemp(name);
    EXPECT_GE(fd, 0);
    start("sleeping", "USR2", "no", name);
    EXPECT_EQ(kill(one.pid, SIGUSR2), 0);
    while (strstr(text, report) == NULL) {
        EXPECT_GE(pread(fd, text, sizeof text - 1, 0), 0);
        usleep(1000);
    }
    kill_it();
    EXPECT_EQ(count(report), 0);
    EXPECT_EQ(unlink(name), 0);
}

/* ---- on_term
 * ----------------------------------------------------------------- */

TEST(a_program_that_is_ended_reports)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < 3; i++) {
        /* nohup, and a shell for what it runs in the background, ignore one. */
        signal(numbers[i], SIG_DFL);
        start("sleeping", "none", "yes", "stderr");
        EXPECT_EQ(kill(one.pid, numbers[i]), 0);
        expect_end_by(numbers[i], 1);
    }
}

TEST(without_on_term_there_is_no_report)
{
    start("sleeping", "none", "no", "stderr");
    EXPECT_EQ(kill(one.pid, SIGTERM), 0);
    expect_end_by(SIGTERM, 0);
}

TEST(a_program_with_a_handler_ends_as_it_wants)
{
    start("handling", "none", "yes", "stderr");
    EXPECT_EQ(kill(one.pid, SIGTERM), 0);
    int status = ended();
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    EXPECT_EQ(count("own\n"), 1);
    EXPECT_EQ(count(report), 1);
}

TEST(a_signal_that_is_ignored_stays_so)
{
    signal(SIGINT, SIG_IGN); /* the program inherits it */
    start("sleeping", "USR2", "yes", "stderr");
    EXPECT_EQ(kill(one.pid, SIGINT), 0);
    EXPECT_EQ(kill(one.pid, SIGUSR2), 0); /* it lives */
    hear_until(report, 1);
    EXPECT_EQ(kill(one.pid, SIGTERM), 0);
    expect_end_by(SIGTERM, 2);
}

/* The thread that gets the signal may hold a lock that the report needs. */
TEST(in_the_middle_of_malloc)
{
    for (int i = 0; i < 12; i++) {
        start(i % 2 == 0 ? "allocating" : "in_threads", "none", "yes",
              "stderr");
        EXPECT_EQ(kill(one.pid, SIGTERM), 0);
        expect_end_by(SIGTERM, 1);
    }
}

TEST_STATE();

int main(int argc, char **argv)
{
    const char *life = getenv("LIFE");
    return life != NULL ? live(life) : test_main(argc, argv);
}
