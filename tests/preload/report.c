/* SPDX-License-Identifier: MIT
 * report.c - the report at exit comes, whatever the program did with its
 * descriptors, its working directory and its right to open files: into the
 * file or stderr that it was meant for, and into nothing else.
 *
 * A test starts this program again in an empty directory, with [stats] at_exit
 * set and a life to live (live_*); then it looks at what there is. Skipped
 * without hakmem.
 */
#include "lives.h"
#include "refuse.h"

#include <sys/stat.h>

enum { LIMIT_SECONDS = 60, DESCRIPTORS = 1024 };
/* Of files: less than a report, and more than a message. */
enum { LIMIT_BYTES = 300 };

/* ---- lives --------------------------------------------------------------- */

static void live_plainly(void)
{
}

static void live_sandboxed(void)
{
    EXPECT(refuse_opens());
    EXPECT_EQ(open("/dev/null", O_RDONLY), -1);
}

/* As daemons do. */
static void live_with_all_closed(void)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        close(fd);
    EXPECT_EQ(chdir("/"), 0);
}

/* Each number but the last, 2 among them, leads to a file of the program's. */
static void live_with_all_taken(void)
{
    int own = open("own", O_RDWR | O_CREAT, 0600);
    EXPECT_GE(own, 0);
    for (int fd = 0; fd < DESCRIPTORS - 1; fd++)
        EXPECT_EQ(dup2(own, fd), fd);
}

/* As coreutils do, to learn of an error of the last write. */
static void close_standard(void)
{
    fclose(stdout);
    fclose(stderr);
}

static void live_closing_standard(void)
{
    EXPECT_EQ(atexit(close_standard), 0);
}

static void live_closing_all_but_standard(void)
{
    for (int fd = 3; fd < DESCRIPTORS; fd++)
        close(fd);
}

/* The report's file goes, and the program has others. */
static void live_after_unlink(void)
{
    EXPECT_EQ(unlink("report"), 0);
    EXPECT_GE(open("own", O_RDWR | O_CREAT, 0600), 0);
}

static void live_forking(void)
{
    pid_t pid = fork();
    if (pid == 0)
        exit(0);
    expect_child_ok(pid, LIMIT_SECONDS);
}

static void live_executing(void)
{
    setenv("LIFE", "plainly", 1);
    execl("/proc/self/exe", "report", (char *)NULL);
    _exit(9);
}

static void live_under_a_limit(void)
{
    limit_files(LIMIT_BYTES);
}

static void live_forking_under_a_limit(void)
{
    live_forking();
    live_under_a_limit();
}

static void live_making_the_directory(void)
{
    EXPECT_EQ(mkdir("later", 0700), 0);
}

static const struct {
    const char *name;
    void (*live)(void);
} lives[] = {
#define LIFE(of) .name = #of, .live = live_##of
    {LIFE(plainly)},          {LIFE(sandboxed)},
    {LIFE(with_all_closed)},  {LIFE(with_all_taken)},
    {LIFE(closing_standard)}, {LIFE(closing_all_but_standard)},
    {LIFE(after_unlink)},     {LIFE(forking)},
    {LIFE(executing)},        {LIFE(making_the_directory)},
    {LIFE(under_a_limit)},    {LIFE(forking_under_a_limit)},
};

static int live(const char *name)
{
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        if (strcmp(lives[i].name, name) == 0) {
            lives[i].live();
            return 0;
        }
    }
    return 9;
}

/* ---- what comes of them -------------------------------------------------- */

static void start_with_boxes(void)
{
    NEED_BOXES();
    start_in_empty_directory();
}

/* Lives it with stderr in the file err. Its report is to go to at_exit. */
static void run(const char *life, const char *at_exit, rlim_t descriptors)
{
    struct rlimit limit = {descriptors, descriptors};
    pid_t pid = fork();
    if (pid == 0) {
        int err = open("err", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        setenv("HAKMEM_STATS_AT_EXIT", at_exit, 1);
        setenv("LIFE", life, 1);
        if (dup2(err, STDERR_FILENO) < 0 ||
            setrlimit(RLIMIT_NOFILE, &limit) != 0)
            _exit(8);
        execl("/proc/self/exe", "report", (char *)NULL);
        _exit(9);
    }
    expect_child_ok(pid, LIMIT_SECONDS);
}

static void expect_report(const char *life, const char *at_exit,
                          const char *file, rlim_t descriptors)
{
    run(life, at_exit, descriptors);
    EXPECT_EQ(reports_in(file), 1);
    if (strcmp(file, "err") != 0)
        EXPECT_STR(in("err"), "");
    if (access("own", F_OK) == 0)
        EXPECT_STR(in("own"), "");
    EXPECT_EQ(unlink(file), 0);
}

TEST(a_file_in_a_sandbox)
{
    start_with_boxes();
    expect_report("sandboxed", "report", "report", DESCRIPTORS);
    remove_directory();
}

TEST(a_file_named_from_the_working_directory_of_the_start)
{
    start_with_boxes();
    expect_report("with_all_closed", "report", "report", DESCRIPTORS);
    remove_directory();
}

TEST(a_file_whose_number_the_program_has_for_its_own)
{
    start_with_boxes();
    expect_report("with_all_taken", "report", "report", DESCRIPTORS);
    remove_directory();
}

TEST(a_file_that_was_unlinked)
{
    start_with_boxes();
    expect_report("after_unlink", "report", "report", DESCRIPTORS);
    remove_directory();
}

TEST(a_file_whose_directory_comes_later)
{
    start_with_boxes();
    run("making_the_directory", "later/report", DESCRIPTORS);
    EXPECT_EQ(reports_in("later/report"), 1);
    EXPECT_EQ(unlink("later/report"), 0);
    remove_directory();
}

TEST(few_descriptors)
{
    start_with_boxes();
    for (rlim_t n = 8; n <= DESCRIPTORS; n *= 2) {
        expect_report("sandboxed", "report", "report", n);
        expect_report("closing_standard", "stderr", "err", n);
    }
    remove_directory();
}

TEST(a_file_for_each_process)
{
    start_with_boxes();
    run("forking", "report.%p", DESCRIPTORS);
    DIR *all = opendir(".");
    struct dirent *one;
    int n = 0;
    while ((one = readdir(all)) != NULL) {
        if (strncmp(one->d_name, "report.", 7) != 0)
            continue;
        EXPECT_EQ(reports_in(one->d_name), 1);
        EXPECT_CONTAINS(in(one->d_name), one->d_name + 7); /* its pid */
        n++;
    }
    closedir(all);
    EXPECT_EQ(n, 2);
    remove_directory();
}

TEST(one_file_for_all_processes)
{
    start_with_boxes();
    run("forking", "report", DESCRIPTORS);
    EXPECT_EQ(reports_in("report"), 2);
    run("executing", "report", DESCRIPTORS);
    EXPECT_EQ(reports_in("report"), 3);
    remove_directory();
}

TEST(stderr_that_exit_handlers_close)
{
    start_with_boxes();
    expect_report("closing_standard", "stderr", "err", DESCRIPTORS);
    remove_directory();
}

TEST(stderr_when_all_else_is_closed)
{
    start_with_boxes();
    expect_report("closing_all_but_standard", "stderr", "err", DESCRIPTORS);
    remove_directory();
}

/* Nothing of ours gets into a file that has come to stderr's numbers. */
TEST(stderr_whose_numbers_the_program_has_for_its_own)
{
    start_with_boxes();
    run("with_all_taken", "stderr", DESCRIPTORS);
    EXPECT_STR(in("own"), "");
    EXPECT_STR(in("err"), "");
    run("with_all_taken", "/no/such/directory/report", DESCRIPTORS);
    EXPECT_STR(in("own"), "");
    remove_directory();
}

TEST(what_cannot_be_written_is_one_line)
{
    start_with_boxes();
    run("closing_standard", "none/report", DESCRIPTORS);
    EXPECT_EQ(count(in("err"), "\n"), 1);
    EXPECT_CONTAINS(in("err"), "hakmem: [stats] at_exit = ");
    EXPECT_CONTAINS(in("err"), "none/report: cannot be opened: No such file");
    remove_directory();
}

/* What others have written before stays. */
TEST(a_report_that_does_not_fit_is_cut_off_again)
{
    start_with_boxes();
    run("under_a_limit", "report", DESCRIPTORS);
    EXPECT_STR(in("report"), "");
    EXPECT_EQ(count(in("err"), "\n"), 1);
    EXPECT_CONTAINS(in("err"), "report: cannot be written: File too large");
    EXPECT_EQ(unlink("err"), 0);
    run("forking_under_a_limit", "report", DESCRIPTORS);
    EXPECT_EQ(reports_in("report"), 1);
    EXPECT_CONTAINS(in("err"), "report: cannot be written: File too large");
    remove_directory();
}

TEST(stderr_that_is_a_full_file)
{
    start_with_boxes();
    run("under_a_limit", "stderr", DESCRIPTORS);
    EXPECT_EQ(strlen(in("err")), LIMIT_BYTES);
    remove_directory();
}

TEST_STATE();

int main(int argc, char **argv)
{
    const char *life = getenv("LIFE");
    return life != NULL ? live(life) : test_main(argc, argv);
}
