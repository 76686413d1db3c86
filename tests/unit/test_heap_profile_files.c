/* SPDX-License-Identifier: MIT
 * test_heap_profile_files.c - module "heap_profile": when it writes a file,
 * under which name, and what it says when it cannot.
 */
#include "heap_profile.h"

#include <sys/resource.h>

static const char *with_pid(const char *before, const char *after)
{
    static char name[128];
    snprintf(name, sizeof name, "%s%d%s", before, (int)getpid(), after);
    return name;
}

/* stderr until expect_said, by which the message has come. */
static int said_to[2], kept_stderr;

static void catch_stderr(void)
{
    kept_stderr = dup(2);
    EXPECT_EQ(pipe2(said_to, O_CLOEXEC), 0);
    dup2(said_to[1], 2);
}

static void expect_said(const char *message)
{
    char text[2048];
    ssize_t n = read(said_to[0], text, sizeof text - 1);
    dup2(kept_stderr, 2);
    EXPECT_GT(n, 0);
    text[n] = 0;
    EXPECT_CONTAINS(text, message);
    EXPECT(strchr(text, '\n') == text + n - 1); /* one line */
}

static void wait_for(const char *name)
{
    while (access(in_folder(name), F_OK) != 0)
        usleep(1000); /* the test has a time limit */
}

/* ---- triggers ------------------------------------------------------------ */

TEST(at_exit_the_file_has_its_plain_name)
{
    start("x.pb.gz");
    EXPECT_EQ(nwanted, 0); /* no thread without a trigger */
    EXPECT(allocate(64, 10, 16, 1));
    MODULE.stop();
    EXPECT_STR(files(), "x.pb.gz ");
    read_profile(in_folder("x.pb.gz"));
    EXPECT_CONTAINS(said, "comment reason=exit\n");
    EXPECT_CONTAINS(said, with_pid("comment pid=", "\n"));
    struct stat s;
    EXPECT_EQ(stat(in_folder("x.pb.gz"), &s), 0);
    EXPECT_EQ(s.st_mode & 0777, 0600);
    remove_folder();
}

TEST(at_exit_no)
{
    start("x.pb.gz");
    conf.heap_profile.at_exit = false;
    EXPECT(allocate(64, 10, 16, 1));
    MODULE.stop();
    EXPECT_STR(files(), "");
    remove_folder();
}

TEST(without_a_file_nothing_is_sampled_until_control_asks)
{
    char why[256];
    start("none");
    EXPECT(ops == NULL);
    EXPECT_EQ(control->dump(NULL, why, sizeof why), -EINVAL);
    EXPECT_STR(why, "there is no profile yet; profile start begins one");
    EXPECT_EQ(control->stop(why, sizeof why), -EINVAL);
    EXPECT_STR(why, "nothing is sampled");
    EXPECT_EQ(control->start(1000, why, sizeof why), 0);
    EXPECT_EQ(sampled_every, 1000);
    EXPECT(allocate(64, 10, 16, 1));
    EXPECT_EQ(control->dump(NULL, why, sizeof why), -EINVAL);
    EXPECT_STR(why, "[heap_profile] file is none; name a FILE");
    profile();
    EXPECT_CONTAINS(said, "comment every=1000\n");
    EXPECT_EQ(control->stop(why, sizeof why), 0);
    EXPECT_EQ(sampled_every, 0);
    EXPECT(give_back(64)); /* what was sampled is followed still */
    profile();
    EXPECT_EQ(sum_of("inuse_space", ""), 0);
    EXPECT_CONTAINS(report(true), ",\"heap_profile\":{\"sampling\":false,"
                                  "\"every\":1000,\"samples\":1,");
    MODULE.stop();
    EXPECT_STR(files(), "now.pb.gz ");
    remove_folder();
}

TEST(by_control_files_are_numbered)
{
    char why[256];
    start("x.pb.gz");
    EXPECT_EQ(control->dump(NULL, why, sizeof why), 0);
    EXPECT_STR(why, in_folder("x.0001.pb.gz"));
    EXPECT_EQ(control->dump(in_folder("y-%n.gz"), why, sizeof why), 0);
    EXPECT_EQ(control->dump(in_folder("plain"), why, sizeof why), 0);
    EXPECT_STR(files(), "plain x.0001.pb.gz y-0002.gz ");
    remove_folder();
}

/* The helper has descriptors of its own. */
TEST(at_a_signal)
{
    conf.heap_profile.on_signal = SIGUSR2;
    start("x-%n.pb.gz");
    EXPECT_EQ(nwanted, 1);
    EXPECT(allocate(64, 10, 16, 1));
    raise(SIGUSR2); /* waits until the thread runs */
    MODULE.slow_path();
    wait_for("x-0001.pb.gz");
    raise(SIGUSR2);
    wait_for("x-0002.pb.gz");
    read_profile(in_folder("x-0002.pb.gz"));
    EXPECT_CONTAINS(said, "comment reason=signal\n");
    MODULE.stop();
    EXPECT_STR(files(), "x-0001.pb.gz x-0002.pb.gz x-exit.pb.gz ");
    remove_folder();
}

static void on_usr2(int number)
{
    (void)number;
}

TEST(a_handler_of_the_program_stays)
{
    struct sigaction there;
    signal(SIGUSR2, on_usr2);
    conf.heap_profile.on_signal = SIGUSR2;
    start("x.pb.gz");
    sigaction(SIGUSR2, NULL, &there);
    EXPECT(there.sa_handler == on_usr2);
    remove_folder();
}

TEST(when_so_much_more_is_live)
{
    conf.heap_profile.on_growth_bytes = 1000;
    start("x.pb.gz");
    MODULE.slow_path();
    EXPECT(allocate(64, 999, 1024, 1));
    EXPECT(allocate(128, 1, 16, 1)); /* 1000 */
    wait_for("x.0001.pb.gz");
    EXPECT(allocate(192, 990, 1024, 1));
    EXPECT(give_back(64));
    EXPECT(allocate(256, 999, 1024, 1)); /* 1990 */
    EXPECT(allocate(320, 10, 16, 1));    /* 2000 */
    wait_for("x.0002.pb.gz");
    read_profile(in_folder("x.0002.pb.gz"));
    EXPECT_CONTAINS(said, "comment reason=growth\n");
    EXPECT_CONTAINS(said, "comment live=2000\n");
    EXPECT_STR(files(), "x.0001.pb.gz x.0002.pb.gz ");
    remove_folder();
}

/* The smallest peak that counts is that of 16 samples: 8 MiB. */
TEST(at_a_peak_so_much_higher)
{
    enum { MIB = 1 << 20 };
    conf.heap_profile.on_peak_percent = 50;
    start("x.pb.gz");
    MODULE.slow_path();
    EXPECT(allocate(64, 11 * MIB, 11 * MIB, 1));
    EXPECT(allocate(128, MIB, MIB, 1)); /* 12 = 8 * 1.5 */
    wait_for("x.0001.pb.gz");
    EXPECT(allocate(192, 5 * MIB, 5 * MIB, 1)); /* 17 */
    EXPECT(allocate(256, MIB, MIB, 1));         /* 18 */
    wait_for("x.0002.pb.gz");
    read_profile(in_folder("x.0002.pb.gz"));
    EXPECT_CONTAINS(said, "comment reason=peak\n");
    EXPECT_CONTAINS(said, "comment peak=18874368\n");
    remove_folder();
}

/* ---- forks --------------------------------------------------------------- */

static void expect_child(pid_t pid)
{
    int status;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

static void fork_phases(enum hak_fork_phase phase)
{
    MODULE.fork(phase);
}

/* As the core forks: the module's locks are held, and run is called in the
 * child. */
static pid_t fork_as_core(void)
{
    fork_phases(HAK_FORK_PREPARE);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        MODULE.run();
    }
    fork_phases(pid == 0 ? HAK_FORK_CHILD : HAK_FORK_PARENT);
    return pid;
}

TEST(a_child_has_the_blocks_of_its_parent_and_a_file_of_its_own)
{
    char name[64];
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    EXPECT(allocate(128, 10, 16, 1));
    pid_t pid = fork_as_core();
    if (pid == 0) {
        EXPECT(give_back(64));
        EXPECT(allocate(192, 3, 16, 1));
        MODULE.stop();
        _exit(0);
    }
    expect_child(pid);
    MODULE.stop();
    snprintf(name, sizeof name, "x.%d.pb.gz", (int)pid);
    read_profile(in_folder(name));
    EXPECT_EQ(sum_of("inuse_space", ""), 13);
    read_profile(in_folder("x.pb.gz"));
    EXPECT_EQ(sum_of("inuse_space", ""), 110);
    remove_folder();
}

TEST(the_name_of_a_child_with_percent_p_and_a_number)
{
    char why[256], name[64];
    start("%p.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    pid_t pid = fork_as_core();
    if (pid == 0) {
        MODULE.stop();
        EXPECT_EQ(control->dump(NULL, why, sizeof why), 0);
        _exit(0);
    }
    expect_child(pid);
    snprintf(name, sizeof name, "%d.0001.pb.gz %d.pb.gz ", (int)pid, (int)pid);
    EXPECT_STR(files(), name);
    remove_folder();
}

TEST(a_child_that_had_no_sample_writes_nothing)
{
    start("x.pb.gz");
    pid_t pid = fork_as_core();
    if (pid == 0) {
        MODULE.stop();
        _exit(0);
    }
    expect_child(pid);
    EXPECT_STR(files(), "");
    remove_folder();
}

/* Its parent's blocks are known still, since it may free them. */
TEST(a_child_that_would_write_nothing_takes_no_samples)
{
    char why[256];
    conf.heap_profile.only_pid = (uint32_t)getpid();
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    pid_t pid = fork_as_core();
    if (pid == 0) {
        EXPECT(!allocate(128, 100, 128, 1));
        EXPECT(give_back(64));
        MODULE.stop();
        EXPECT_STR(files(), "");
        EXPECT_EQ(control->start(0, why, sizeof why), 0); /* asked for it */
        EXPECT(allocate(128, 100, 128, 1));
        _exit(0);
    }
    expect_child(pid);
    EXPECT(allocate(128, 100, 128, 1));
    MODULE.stop();
    read_profile(in_folder("x.pb.gz"));
    EXPECT_EQ(sum_of("inuse_space", ""), 200);
    remove_folder();
}

/* It has the memory of its parent and no fork handlers have run. */
TEST(a_child_of_vfork_writes_nothing)
{
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    pid_t pid = fork();
    if (pid == 0) {
        MODULE.stop();
        _exit(0);
    }
    expect_child(pid);
    EXPECT_STR(files(), "");
    remove_folder();
}

TEST(a_child_has_a_thread_of_its_own)
{
    char why[256];
    conf.heap_profile.on_signal = SIGUSR2;
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    pid_t pid = fork_as_core();
    if (pid == 0) {
        EXPECT_EQ(nwanted, 2); /* its own thread */
        MODULE.slow_path();
        raise(SIGUSR2);
        wait_for(with_pid("x.", ".0001.pb.gz"));
        EXPECT_EQ(control->dump(in_folder("c.gz"), why, sizeof why), 0);
        _exit(0);
    }
    expect_child(pid);
    remove_folder();
}

/* ---- what cannot be written ---------------------------------------------- */

static void expect_refused(const char *file, const char *message)
{
    char why[512], before[4096];
    strcpy(before, files());
    EXPECT_LT(control->dump(file, why, sizeof why), 0);
    EXPECT_CONTAINS(why, message);
    EXPECT_STR(files(), before);
}

TEST(a_folder_that_is_not_there)
{
    start("none/x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    expect_refused(in_folder("none/x.gz"), "none/x.gz: No such file or "
                                           "directory");
    remove_folder();
}

TEST(a_folder_that_must_not_be_written)
{
    if (geteuid() == 0) /* root may write anywhere but in /proc */
        start("/proc/x.pb.gz");
    else
        start("/x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    char why[512];
    EXPECT_LT(control->dump(NULL, why, sizeof why), 0);
    EXPECT_CONTAINS(why, "x.0001.pb.gz: ");
    remove_folder();
}

TEST(what_is_no_regular_file_is_not_replaced)
{
    struct stat s;
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    expect_refused("/dev/full", "/dev/full: is no regular file");
    EXPECT_EQ(stat("/dev/full", &s), 0);
    EXPECT(S_ISCHR(s.st_mode));
    EXPECT_EQ(symlink("/etc/hostname", in_folder("link")), 0);
    expect_refused(in_folder("link"), "link: is no regular file");
    remove_folder();
}

/* The limit comes with a signal that ends the program by default. */
TEST(no_room_for_the_file)
{
    struct rlimit limit;
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 100;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_refused(in_folder("y.gz"), "y.gz: File too large");
    limit.rlim_cur = limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    profile();
    remove_folder();
}

TEST(a_text_is_refused)
{
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    expect_refused(in_folder("y.folded"), "hakctl profile FILE --collapsed");
    expect_refused(in_folder("y.txt"), "hakctl profile FILE --text");
    remove_folder();
}

TEST(a_text_in_the_INI_is_refused)
{
    catch_stderr();
    start("x.folded");
    expect_said("[heap_profile] file = ");
    EXPECT(ops == NULL);
    MODULE.stop();
    EXPECT_STR(files(), "");
    remove_folder();
}

TEST(a_failure_at_exit_is_one_line)
{
    catch_stderr();
    start("none/x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    MODULE.stop();
    expect_said("none/x.pb.gz: No such file or directory\n");
    remove_folder();
}

TEST(what_a_dead_process_left_is_replaced)
{
    start("x.pb.gz");
    EXPECT(allocate(64, 100, 128, 1));
    int fd =
        open(in_folder(with_pid("x.pb.gz.tmp.", "")), O_CREAT | O_WRONLY, 0600);
    EXPECT_EQ(write(fd, "old", 3), 3);
    close(fd);
    MODULE.stop();
    EXPECT_STR(files(), "x.pb.gz ");
    read_profile(in_folder("x.pb.gz"));
    remove_folder();
}

TEST(a_relative_name_is_of_the_folder_at_start)
{
    char why[512];
    start("x.pb.gz");
    EXPECT_EQ(mkdir(in_folder("sub"), 0700), 0);
    EXPECT(allocate(64, 100, 128, 1));
    conf.heap_profile.file = "relative-heap-profile.pb.gz";
    int here = open(".", O_RDONLY | O_DIRECTORY);
    EXPECT_EQ(chdir(folder), 0);
    EXPECT_EQ(control->dump("relative-heap-profile.gz", why, sizeof why), 0);
    EXPECT_EQ(fchdir(here), 0);
    EXPECT_EQ(unlink("relative-heap-profile.gz"), 0);
    remove_folder();
}

TEST_MAIN()
