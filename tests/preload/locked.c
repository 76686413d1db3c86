/* SPDX-License-Identifier: MIT
 * locked.c - what makes all that is mapped count: a program that locks its
 * memory, and a core dump. Tables are address space until they are used.
 */
#include "common.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The directory's own is read-only: zeros, of which there is one page. */
static bool reads_cost_memory(void)
{
    size_t before = rss_bytes();
    const volatile char *p =
        mmap(NULL, 32 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(p != MAP_FAILED);
    for (size_t at = 0; at < 32 * MIB; at += 4096)
        (void)p[at];
    return rss_bytes() - before > 16 * MIB;
}

/* Any machine: with tables that are resident it is 1.6 MiB more a GiB of RAM.
 */
TEST(a_program_that_locks_its_memory)
{
    if (reads_cost_memory())
        SKIP("this kernel has no page of zeros for what is only read");
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        SKIP("memory may not be locked");
    char *p = malloc(100);
    memset(p, 1, 100);
    free(p);
    EXPECT_LT(rss_bytes(), 16 * MIB);
}

/* ---- core dumps ------------------------------------------------------- */

/* The size of the core in the working directory, which goes; 0: none. */
static size_t core_bytes(void)
{
    struct stat s = {.st_size = 0};
    struct dirent *e;
    DIR *all = opendir(".");
    EXPECT(all != NULL);
    while ((e = readdir(all)) != NULL)
        if (strncmp(e->d_name, "core", 4) == 0) {
            EXPECT_EQ(stat(e->d_name, &s), 0);
            unlink(e->d_name);
        }
    closedir(all);
    return (size_t)s.st_size;
}

static void crash(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    prctl(PR_SET_DUMPABLE, 1);
    free(malloc(100));
    signal(SIGABRT, SIG_DFL);
    abort();
}

TEST(a_core_dump_of_a_program_that_holds_nothing)
{
    char pattern[64] = "", dir[] = "/tmp/hakmem-core-XXXXXX";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY), status;
    if (fd < 0 || read(fd, pattern, sizeof pattern - 1) <= 0 ||
        strncmp(pattern, "core", 4) != 0)
        SKIP("cores go elsewhere");
    close(fd);
    EXPECT(mkdtemp(dir) != NULL && chdir(dir) == 0);
    pid_t pid = fork();
    if (pid == 0)
        crash();
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    size_t bytes = core_bytes();
    rmdir(dir);
    if (bytes == 0)
        SKIP("no core");
    EXPECT_LT(bytes, 12 * MIB);
}

TEST_MAIN()
