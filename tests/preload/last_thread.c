/* SPDX-License-Identifier: MIT
 * last_thread.c - a process whose last thread ends by pthread_exit ends with 0,
 * runs its exit handlers and writes its report, whatever threads of ours are in
 * it. One that has threads of its own left goes on.
 *
 * A test starts this program again in an empty directory, with the key that
 * makes such a thread, and a life to live (live_*).
 */
#include "lives.h"
#include "thread_tools.h"

#include <sys/stat.h>

enum { LIMIT_SECONDS = 20 };

/* ---- lives --------------------------------------------------------------- */

/* Descriptor 1 is the file out, so this waits in stdio's buffer for exit. */
static void say_bye(void)
{
    free(malloc(100));
    printf("bye\n");
}

static int threads_now(void)
{
    struct stat s;
    EXPECT_EQ(stat("/proc/self/task", &s), 0);
    return (int)s.st_nlink - 2;
}

/* Wait for the thread of ours. It starts on a slow path of malloc. With ENDS it
 * may have ended since. */
static void start_life(void)
{
    EXPECT_EQ(atexit(say_bye), 0);
    printf("begins\n");
    do {
        churn((void *)1);
        usleep(1000);
    } while (under_hakmem() && getenv("ENDS") == NULL && threads_now() == 1);
}

static void *work(void *unused)
{
    usleep(150000);
    churn((void *)2);
    printf("works\n");
    return unused;
}

static void live_to_the_end_in_main(void)
{
    start_life();
    run_one(work, NULL);
    pthread_exit(NULL);
}

static void live_to_the_end_in_a_thread(void)
{
    start_life();
    pthread_detach(start(work, NULL));
    pthread_exit(NULL);
}

static void live_in_a_child(void)
{
    start_life();
    pid_t pid = fork();
    if (pid == 0) {
        while (under_hakmem() && threads_now() == 1)
            churn((void *)3);
        run_one(work, NULL);
        pthread_exit(NULL);
    }
    expect_child_ok(pid, LIMIT_SECONDS);
    pthread_exit(NULL);
}

/* The number of the program's threads falls to 1 often, and it does not end. */
static void live_until_main_returns(void)
{
    start_life();
    for (size_t i = 0; i < 50; i++)
        run_one(churn, (void *)i);
    work(NULL);
}

static const struct {
    const char *name;
    void (*live)(void);
} lives[] = {
#define LIFE(of) .name = #of, .live = live_##of
    {LIFE(to_the_end_in_main)},
    {LIFE(to_the_end_in_a_thread)},
    {LIFE(in_a_child)},
    {LIFE(until_main_returns)},
};

static int live(const char *name)
{
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        if (strcmp(lives[i].name, name) == 0)
            lives[i].live();
    return 0;
}

/* ---- what comes of them -------------------------------------------------- */

static void run(const char *life, const char *key, const char *value)
{
    pid_t pid = fork();
    if (pid == 0) {
        int out = open("out", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        setenv("HAKMEM_STATS_AT_EXIT", "report", 1);
        setenv("LIFE", life, 1);
        if (under_hakmem())
            setenv(key, value, 1);
        if (dup2(out, STDOUT_FILENO) < 0)
            _exit(8);
        execl("/proc/self/exe", "last_thread", (char *)NULL);
        _exit(9);
    }
    expect_child_ok(pid, LIMIT_SECONDS);
}

static void expect_end(const char *life, const char *key, const char *value,
                       const char *out, int nreports)
{
    run(life, key, value);
    EXPECT_STR(in("out"), out);
    EXPECT_EQ(unlink("out"), 0);
    if (!under_hakmem())
        return;
    EXPECT_EQ(reports_in("report"), nreports);
    EXPECT_EQ(unlink("report"), 0);
}

static void expect_ends(const char *key, const char *value)
{
    static const char lived[] = "begins\nworks\nbye\n";
    expect_end("to_the_end_in_main", key, value, lived, 1);
    expect_end("to_the_end_in_a_thread", key, value, lived, 1);
    expect_end("in_a_child", key, value,
               "begins\nworks\nbye\n"
               "begins\nbye\n",
               2);
    expect_end("until_main_returns", key, value, lived, 1);
}

TEST(background)
{
    start_in_empty_directory();
    expect_ends("HAKMEM_CORE_BACKGROUND", "yes");
    remove_directory();
}

/* The figures are those of the process when the main thread is gone, too. */
TEST(timeline)
{
    start_in_empty_directory();
    setenv("HAKMEM_STATS_EVERY_MS", "10", 1);
    expect_ends("HAKMEM_STATS_TIMELINE", "timeline");
    if (under_hakmem()) {
        run("to_the_end_in_a_thread", "HAKMEM_STATS_TIMELINE", "timeline");
        EXPECT_CONTAINS(in("timeline"), ",\"end\":\"exit\"");
        EXPECT_CONTAINS(in("timeline"), ",\"rss\":");
        EXPECT(strstr(in("timeline"), ",\"rss\":0,") == NULL);
    }
    remove_directory();
}

TEST(control)
{
    char socket[64];
    start_in_empty_directory();
    snprintf(socket, sizeof socket, "%s/socket.%%p", dir);
    expect_ends("HAKMEM_CONTROL_SOCKET", socket);
    remove_directory();
}

/* The thread has no socket to make, and ends before the program does. */
TEST(control_without_a_socket)
{
    start_in_empty_directory();
    if (under_hakmem()) {
        setenv("ENDS", "1", 1);
        expect_end("to_the_end_in_main", "HAKMEM_CONTROL_SOCKET",
                   "/no/such/folder/socket", "begins\nworks\nbye\n", 1);
    }
    remove_directory();
}

TEST(pressure)
{
    start_in_empty_directory();
    char file[64];
    snprintf(file, sizeof file, "%s/pressure", dir);
    EXPECT_EQ(mkfifo(file, 0600), 0);
    setenv("HAKMEM_CORE_PRESSURE_FILE", file, 1);
    expect_ends("HAKMEM_CORE_ON_PRESSURE", "trim");
    remove_directory();
}

TEST(signals)
{
    start_in_empty_directory();
    expect_ends("HAKMEM_STATS_ON_SIGNAL", "USR2");
    remove_directory();
}

TEST(heap_profile)
{
    start_in_empty_directory();
    setenv("HAKMEM_HEAP_PROFILE_ON_GROWTH", "1G", 1);
    setenv("HAKMEM_HEAP_PROFILE_EVERY", "1k", 1);
    expect_ends("HAKMEM_HEAP_PROFILE_FILE", "profile.pb.gz");
    if (under_hakmem())
        EXPECT_EQ(access("profile.pb.gz", R_OK), 0);
    remove_directory();
}

TEST_STATE();

int main(int argc, char **argv)
{
    const char *life = getenv("LIFE");
    return life != NULL ? live(life) : test_main(argc, argv);
}
