/* SPDX-License-Identifier: MIT
 * test_os.c - os.h: files are written whole, under a limit of their size too.
 */
#include "test.h"

#include <base/os.h>

#include <sys/resource.h>

enum { LIMIT = 1000 };

static char file[] = "/tmp/hakmem-os.XXXXXX";
static char bytes[2 * LIMIT];

/* Open a new file in append mode that can have LIMIT bytes. */
static int start(void)
{
    struct rlimit limit = {LIMIT, RLIM_INFINITY};
    close(mkstemp(file));
    int fd = open(file, O_WRONLY | O_APPEND | O_CLOEXEC);
    EXPECT_GE(fd, 0);
    memset(bytes, 'b', sizeof bytes);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    return fd;
}

static off_t size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

/* What an unblocked SIGXFSZ would end is this test. */
static void expect_too_large(int (*put)(int fd, const void *bytes, size_t n),
                             int fd)
{
    errno = 77;
    EXPECT_EQ(put(fd, bytes, sizeof bytes), -EFBIG);
    EXPECT_EQ(errno, 77);
}

TEST(what_is_written_is_all_or_an_error)
{
    int fd = start();
    EXPECT_EQ(hak_os_write(fd, bytes, LIMIT / 2), 0);
    expect_too_large(hak_os_write, fd);
    EXPECT_EQ(size_of(fd), LIMIT);
    expect_too_large(hak_os_write, fd);
    EXPECT_EQ(hak_os_write(-1, bytes, 1), -EBADF);
    unlink(file);
}

TEST(what_is_appended_is_all_or_nothing)
{
    int fd = start();
    expect_too_large(hak_os_append, fd);
    EXPECT_EQ(size_of(fd), 0);
    EXPECT_EQ(hak_os_append(fd, bytes, LIMIT / 2), 0);
    expect_too_large(hak_os_append, fd);
    EXPECT_EQ(size_of(fd), LIMIT / 2);
    EXPECT_EQ(hak_os_append(fd, bytes, LIMIT / 2), 0);
    expect_too_large(hak_os_append, fd);
    EXPECT_EQ(size_of(fd), LIMIT);
    unlink(file);
}

/* No part can be cut off of what is no file. */
TEST(a_pipe_that_is_full)
{
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    while (write(ends[1], bytes, sizeof bytes) > 0)
        ;
    EXPECT_EQ(hak_os_append(ends[1], bytes, sizeof bytes), -EAGAIN);
}

/* ---- the program's own SIGXFSZ ------------------------------------------- */

static volatile sig_atomic_t ncame;

static void on_excess(int number)
{
    (void)number;
    ncame++;
}

static void block_excess(int how)
{
    sigset_t excess;
    sigemptyset(&excess);
    sigaddset(&excess, SIGXFSZ);
    EXPECT_EQ(sigprocmask(how, &excess, NULL), 0);
}

TEST(the_program_s_handler_is_not_called)
{
    int fd = start();
    signal(SIGXFSZ, on_excess);
    expect_too_large(hak_os_append, fd);
    block_excess(SIG_BLOCK);
    expect_too_large(hak_os_append, fd);
    block_excess(SIG_UNBLOCK);
    EXPECT_EQ(ncame, 0);
    raise(SIGXFSZ); /* it is not blocked any more */
    EXPECT_EQ(ncame, 1);
    unlink(file);
}

TEST(one_that_was_pending_stays)
{
    int fd = start();
    signal(SIGXFSZ, on_excess);
    block_excess(SIG_BLOCK);
    raise(SIGXFSZ);
    expect_too_large(hak_os_append, fd);
    EXPECT_EQ(ncame, 0);
    block_excess(SIG_UNBLOCK);
    EXPECT_EQ(ncame, 1);
    unlink(file);
}

TEST_MAIN()
