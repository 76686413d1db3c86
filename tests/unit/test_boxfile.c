/* SPDX-License-Identifier: MIT
 * test_boxfile.c - the file that is loaded is the file that was checked.
 *
 * dlopen, access and getauxval are this program's own here: something happens
 * just before the loader looks, /proc is not there, rights are raised.
 */
#include "test.h"

#include <base/log.h>
#include <core/box/open.h>
#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/stat.h>

static bool no_proc, raised;
static const char *from, *to; /* renamed before the next dlopen */

void *dlopen(const char *path, int mode)
{
    void *(*real)(const char *, int);
    void *next = dlsym(RTLD_NEXT, "dlopen");
    memcpy(&real, &next, sizeof real);
    if (from != NULL)
        EXPECT_EQ(rename(from, to), 0);
    from = NULL;
    return real(path, mode);
}

int access(const char *path, int mode)
{
    (void)mode;
    EXPECT(strncmp(path, "/proc/", 6) == 0);
    errno = ENOENT;
    return no_proc ? -1 : 0;
}

unsigned long getauxval(unsigned long type)
{
    unsigned long (*real)(unsigned long);
    void *next = dlsym(RTLD_NEXT, "getauxval");
    memcpy(&real, &next, sizeof real);
    return type == AT_SECURE ? raised : real(type);
}

/* ---- tools --------------------------------------------------------------- */

/* Which parent: for root alone, or any. */
static char dir[64], good[96], other[96];

static void copy(const char *name, const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "cp build/tests/boxes/%s.so %s", name,
             path);
    EXPECT_EQ(system(command), 0);
    EXPECT_EQ(chmod(path, 0755), 0);
}

static void set_up(const char *parent)
{
    snprintf(dir, sizeof dir, "%s/hakmem-boxfile.XXXXXX", parent);
    EXPECT(mkdtemp(dir) != NULL);
    EXPECT_EQ(chmod(dir, 0755), 0);
    snprintf(good, sizeof good, "%s/good.so", dir);
    snprintf(other, sizeof other, "%s/other.so", dir);
    copy("three", good);
    copy("whole", other);
}

static void tidy_up(void)
{
    unlink(good);
    unlink(other);
    EXPECT_EQ(rmdir(dir), 0);
}

static const struct hak_box_entry *open_box(const char *path, char why[256])
{
    void *handle;
    why[0] = 0;
    return hak_box_file(path, &handle, why, 256);
}

/* Where its file was loaded to: the entry is a copy. */
static void *code_of(const struct hak_box_entry *e)
{
    void *place;
    memcpy(&place, &e->ops.alloc, sizeof place);
    return place;
}

static void swap_is_told(void)
{
    char why[256];
    set_up("/tmp");
    from = other;
    to = good;
    const struct hak_box_entry *e = open_box(good, why);
    tidy_up();
    EXPECT(e == NULL);
    EXPECT_STR(why, "is another file than a moment ago; is it just being "
                    "replaced? Start again");
}

/* ---- tests --------------------------------------------------------------- */

TEST(a_file_that_changes_is_told)
{
    swap_is_told();
}

TEST(also_without_proc)
{
    no_proc = true;
    swap_is_told();
}

TEST(a_file_that_stays)
{
    char why[256];
    set_up("/tmp");
    EXPECT(open_box(good, why) != NULL);
    no_proc = true;
    EXPECT(open_box(other, why) != NULL);
    tidy_up();
    EXPECT_STR(why, "");
}

/* The name that debuggers and dladdr have is the path. */
TEST(its_name_is_its_path)
{
    char why[256];
    Dl_info info;
    set_up("/tmp");
    const struct hak_box_entry *e = open_box(good, why);
    tidy_up();
    EXPECT(e != NULL);
    EXPECT(dladdr(code_of(e), &info) != 0);
    EXPECT_STR(info.dli_fname, good);
}

/* Opened under two paths it is one object, and two files are two. */
TEST(one_file_is_one_object)
{
    char why[256];
    set_up("/tmp");
    const struct hak_box_entry *e = open_box(good, why);
    EXPECT(code_of(e) != code_of(open_box(other, why)));
    EXPECT_EQ(unlink(other), 0);
    EXPECT_EQ(symlink(good, other), 0);
    EXPECT(open_box(other, why) == NULL); /* that name was another file */
    EXPECT_EQ(unlink(other), 0);
    snprintf(other, sizeof other, "%s/third.so", dir);
    EXPECT_EQ(symlink(good, other), 0);
    EXPECT(code_of(e) == code_of(open_box(other, why)));
    tidy_up();
}

/* The loader never sees the file that took the place of the checked one. */
TEST(raised_rights_load_what_was_checked)
{
    char why[256];
    if (geteuid() != 0)
        SKIP("needs root");
    set_up("/opt");
    raised = true;
    from = other;
    to = good;
    const struct hak_box_entry *e = open_box(good, why);
    tidy_up();
    EXPECT_STR(why, "");
    EXPECT_STR(e->id, "three");
}

TEST(raised_rights_tell_files_apart)
{
    char why[256];
    if (geteuid() != 0)
        SKIP("needs root");
    set_up("/opt");
    raised = true;
    const struct hak_box_entry *a = open_box(good, why);
    const struct hak_box_entry *b = open_box(other, why);
    EXPECT(code_of(a) == code_of(open_box(good, why)));
    tidy_up();
    EXPECT_STR(a->id, "three");
    EXPECT_STR(b->id, "whole");
}

/* ---- report files -------------------------------------------------------- */

static void log_refused(const char *name, const char *want)
{
    char path[256], why[256];
    EXPECT_LT(hak_log_open(name, path, sizeof path, why, sizeof why), 0);
    EXPECT_STR(path, name);
    EXPECT_STR(why, want);
}

static void log_to(const char *name, const char *line)
{
    char path[256], why[256];
    int fd = hak_log_open(name, path, sizeof path, why, sizeof why);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    close(fd);
}

TEST(report_files)
{
    struct stat s;
    set_up("/tmp");
    EXPECT_EQ(unlink(good), 0);
    umask(0);
    log_to(good, "one\n");
    log_to(good, "two\n");
    EXPECT_EQ(stat(good, &s), 0);
    EXPECT_EQ(s.st_size, 8);
    EXPECT_EQ(s.st_mode & 0777, 0600);
    EXPECT_EQ(unlink(other), 0);
    EXPECT_EQ(symlink(good, other), 0);
    log_refused(other, "is a link");
    EXPECT_EQ(unlink(other), 0);
    EXPECT_EQ(link(good, other), 0);
    log_refused(other, "has other names (hard links)");
    EXPECT_EQ(unlink(other), 0);
    EXPECT_EQ(mkfifo(other, 0600), 0); /* without a reader */
    log_refused(other, strerror(ENXIO));
    int reader = open(other, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    log_refused(other, "is no regular file");
    close(reader);
    log_refused(dir, strerror(EISDIR));
    if (geteuid() == 0) {
        EXPECT_EQ(chown(good, 65534, 65534), 0);
        log_refused(good, "belongs to another user");
    }
    tidy_up();
}

TEST_MAIN()
