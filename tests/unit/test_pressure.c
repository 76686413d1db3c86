/* SPDX-License-Identifier: MIT
 * test_pressure.c - module "pressure" on a host that notes its calls: the
 * steps, their order, the purge delay, descriptors, forks.
 */
#include "test.h"

#include <hakmem/module.h>

#include <conf/conf.h>
#include <stdarg.h>
#include <sys/stat.h>

extern const struct hak_module_entry HAK_MODULE_ENTRY(pressure);
#define MODULE HAK_MODULE_ENTRY(pressure)

/* ---- the host ------------------------------------------------------------ */

/* The calls so far, a letter each; those of age are left out unless they come
 * before trim_boxes. Atomic. */
static char calls[64];
static uint32_t ncalls, naged, nwanted;

static void note(char call)
{
    uint32_t i = __atomic_fetch_add(&ncalls, 1, __ATOMIC_ACQ_REL);
    EXPECT_LT(i, sizeof calls - 1);
    __atomic_store_n(&calls[i], call, __ATOMIC_RELEASE);
}

static size_t trim_window(void)
{
    note('w');
    return 1 << 20;
}

static size_t trim_boxes(void)
{
    note(naged != 0 ? 'b' : '?');
    return 2 << 20;
}

static size_t trim(void)
{
    note('t');
    return 4 << 20;
}

static void age(void)
{
    __atomic_add_fetch(&naged, 1, __ATOMIC_RELAXED);
}

static void limit_purge_delay(uint64_t most_ms)
{
    note(most_ms == UINT64_MAX ? '.' : most_ms < 100 ? '<' : '?');
}

static void want(const struct hak_module_host *host)
{
    (void)host;
    nwanted++;
}

static struct hak_conf conf;
static const struct hak_changes changes = {.trim = trim};
static const struct hak_module_host host = {
    .version = HAK_MODULE_VERSION,
    .conf = &conf,
    .want = want,
    .age = age,
    .changes = &changes,
    .trim_window = trim_window,
    .trim_boxes = trim_boxes,
    .limit_purge_delay = limit_purge_delay,
};

/* ---- the module on it ---------------------------------------------------- */

static char path[] = "/tmp/hakmem-test-XXXXXX";
static int fifo;

/* The FIFO has no name once the module has opened it. */
static void make_fifo(void)
{
    int fd = mkstemp(path);
    EXPECT_GE(fd, 0);
    close(fd);
    unlink(path);
    EXPECT_EQ(mkfifo(path, 0600), 0);
    fifo = open(path, O_RDWR | O_CLOEXEC);
    EXPECT_GE(fifo, 0);
    conf.pressure_file = path;
}

static void start(void)
{
    EXPECT_EQ(MODULE.start(&host), 0);
    MODULE.run();
    EXPECT_EQ(nwanted, 1);
    MODULE.slow_path();
}

/* What the module adds to the report. */
static char told[512];

__attribute__((format(printf, 2, 3))) static void add(struct hak_text *report,
                                                      const char *format, ...)
{
    va_list ap;
    (void)report;
    va_start(ap, format);
    vsnprintf(told, sizeof told, format, ap);
    va_end(ap);
}

static const char *report(bool json)
{
    const struct hak_report_part part = {.json = json, .add = add};
    MODULE.report(&part);
    return told;
}

static void wait_for_report(const char *part)
{
    while (strstr(report(false), part) == NULL)
        usleep(1000); /* the test has a time limit */
}

static void wait_for_calls(const char *wanted)
{
    while (__atomic_load_n(&ncalls, __ATOMIC_ACQUIRE) < strlen(wanted) ||
           __atomic_load_n(&calls[strlen(wanted) - 1], __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    EXPECT_STR(calls, wanted);
}

static void press(void)
{
    EXPECT_EQ(write(fifo, "x", 1), 1);
}

/* ---- tests --------------------------------------------------------------- */

/* run() lifts the limit that a fork's child may have got from its parent, so a
 * '.' comes first. */
TEST(each_event_takes_the_next_step_and_the_last_one_again)
{
    make_fifo();
    start();
    press();
    wait_for_calls(".<w");
    wait_for_report("pressed, 1 events, 1 trims, 1048576 bytes given back\n");
    press();
    wait_for_calls(".<wb");
    press();
    wait_for_calls(".<wbt");
    press();
    wait_for_calls(".<wbtt");
    wait_for_report("pressed, 4 events, 4 trims, 11534336 bytes given back\n");
    EXPECT_STR(report(true), ",\"pressure\":{\"state\":\"pressed\",\"events\":"
                             "4,\"trims\":4,\"given_back_bytes\":11534336}");
    unlink(path);
}

TEST(without_an_event_the_pressure_is_over)
{
    make_fifo();
    start();
    press();
    wait_for_calls(".<w.");
    wait_for_report("watching, 1 events");
    EXPECT_GT(naged, 0); /* memory aged in the meantime */
    press();
    wait_for_calls(".<w.<w"); /* from the first step */
    unlink(path);
}

TEST(it_reads_its_file_after_all_descriptors_were_closed)
{
    make_fifo();
    start();
    wait_for_report("watching");
    for (int i = 3; i < 1024; i++)
        close(i);
    fifo = open(path, O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(fifo, 3); /* the module has no number of the program's */
    press();
    wait_for_calls(".<w");
    unlink(path);
}

/* The child has no thread until its next slow path. */
TEST(a_child_of_a_fork_starts_anew)
{
    make_fifo();
    start();
    press();
    wait_for_calls(".<w");
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        MODULE.run(); /* lifts the limit */
        EXPECT_EQ(nwanted, 2);
        EXPECT_STR(calls, ".<w.");
        EXPECT_CONTAINS(report(false), "starting");
        unlink(path);
        EXPECT_EQ(mkfifo(path, 0600), 0);
        fifo = open(path, O_RDWR | O_CLOEXEC);
        MODULE.slow_path();
        press();
        wait_for_calls(".<w.<w");
        _exit(0);
    }
    int status;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    unlink(path);
}

/* stderr of the program gets the line, though the thread has descriptors of its
 * own. */
static void expect_off(const char *message)
{
    char text[1024];
    int p[2], kept = dup(2);
    EXPECT_EQ(pipe2(p, O_CLOEXEC), 0);
    dup2(p[1], 2);
    start();
    wait_for_report("off, 0 events");
    ssize_t n = read(p[0], text, sizeof text - 1);
    dup2(kept, 2);
    EXPECT_GT(n, 0);
    text[n] = 0;
    EXPECT_CONTAINS(text, "hakmem: [core] on_pressure = trim: ");
    EXPECT_CONTAINS(text, message);
    MODULE.run(); /* a child does not try again */
    EXPECT_EQ(nwanted, 1);
}

TEST(a_file_that_is_not_there)
{
    conf.pressure_file = "/nonexistent/pressure";
    expect_off("/nonexistent/pressure: No such file or directory; memory "
               "pressure is not watched\n");
}

/* A trigger must not be written to a file of the user's. */
TEST(a_file_of_another_kind_is_left_alone)
{
    char text[16] = "";
    int fd = mkstemp(path);
    EXPECT_EQ(write(fd, "precious", 8), 8);
    conf.pressure_file = path;
    expect_off("is neither a FIFO nor a pressure file of the kernel");
    EXPECT_EQ(pread(fd, text, sizeof text, 0), 8);
    EXPECT_STR(text, "precious");
    unlink(path);
}

TEST_MAIN()
