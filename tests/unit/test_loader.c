/* SPDX-License-Identifier: MIT
 * test_loader.c - box files: found, refused with a reason, loaded, told apart.
 *
 * Boxes are those of tests/boxes; INIs are in tests/loader.
 */
#include "test.h"

#include <base/os.h>
#include <conf/conf.h>
#include <core/box/abi.h>
#include <core/box/find.h>
#include <core/box/load.h>
#include <core/box/open.h>
#include <core/box/walk.h>
#include <core/memory/space.h>
#include <core/state/boxes.h>
#include <core/state/core.h>
#include <core/state/directory.h>
#include <core/state/thread.h>
#include <modules/linked.h>
#include <core/thread/thread.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>

static struct hak_conf conf;
static struct hak_loaded *loaded[HAK_MAX_BOXES]; /* by position in conf.box */
static char told[8192];                          /* "file:line: text\n" each */

static void note(void *context, enum hak_diag_level level, const char *file,
                 int line, const char *text)
{
    size_t n = strlen(told);
    (void)context;
    if (level == HAK_DIAG_ERROR)
        snprintf(told + n, sizeof told - n, "%s:%d: %s\n", file, line, text);
}

static void read_ini(const char *path)
{
    hak_modules_link();
    EXPECT_EQ(hak_conf_read(&conf, path, -1, NULL, NULL, note, NULL), 0);
    EXPECT_STR(told, "");
    EXPECT_EQ(hak_space_start(hak_os_window_bytes(false), conf.purge_delay_ms),
              0);
    EXPECT_EQ(hak_thread_start(), 0);
}

static const struct hak_conf_box *conf_of(const char *name)
{
    for (uint32_t i = 0; i < conf.nboxes; i++)
        if (strcmp(conf.box[i].name, name) == 0)
            return &conf.box[i];
    test_fail(__FILE__, __LINE__, "no box %s in %s", name, conf.file);
}

static struct hak_loaded *load(const char *name)
{
    const struct hak_conf_box *b = conf_of(name);
    return loaded[b - conf.box] = hak_box_load(&conf, b);
}

/* ---- refusals, each with its exact words ----------------------------- */

#define BOXES "../../build/tests/boxes/"

static void refused(const char *name, const char *path, const char *why)
{
    char want[1024];
    read_ini("tests/loader/refused.ini");
    snprintf(want, sizeof want,
             "tests/loader/refused.ini:%d: box %s: tests/loader/%s %s\n",
             conf_of(name)->path_origin.line, name, path, why);
    EXPECT(load(name) == NULL);
    EXPECT_STR(told, want);
    EXPECT_EQ(conf.nerrors, 1);
    EXPECT_EQ(hak_boxes.n, 0);
}

TEST(no_entry)
{
    refused(
        "no_entry", BOXES "no_entry.so",
        "does not export hak_box_entry: is it a box? Put HAK_BOX_EXPORT before "
        "its entry, so that -fvisibility cannot hide it");
}

TEST(wrong_magic)
{
    refused("wrong_magic", BOXES "wrong_magic.so",
            "does not begin its hak_box_entry with the magic of a box; fill it "
            "with HAK_BOX_HEADER of hakmem/box.h");
}

TEST(other_major)
{
    refused("other_major", BOXES "other_major.so",
            "is for box ABI 2, this core speaks 1; rebuild it with this "
            "core's hakmem/box.h");
}

TEST(short_struct)
{
    char why[192];
    snprintf(why, sizeof why,
             "says that its entry has %zu bytes and operations from byte %zu "
             "on, which leaves no room for alloc, free and owns; begin its "
             "entry with HAK_BOX_HEADER",
             offsetof(struct hak_box_entry, ops.owns),
             offsetof(struct hak_box_entry, ops));
    refused("short_struct", BOXES "short_struct.so", why);
}

TEST(missing_op)
{
    refused("missing_op", BOXES "missing_op.so",
            "gives no free; a box has alloc, free and owns");
}

TEST(newer_minor_needed)
{
    refused("newer_minor", BOXES "newer_minor_needed.so",
            "needs a core of box ABI 1.9 or later, this one is " HAK_TEXT_OF(
                HAK_ABI_MAJOR) "." HAK_TEXT_OF(HAK_ABI_MINOR));
}

TEST(text_file)
{
    refused("text", "./refused.ini", "is no shared object (no ELF header)");
}

/* A relative path to no file beside the INI is told as it was given. */
static void refused_as_given(const char *name, const char *why)
{
    char want[256];
    read_ini("tests/loader/refused.ini");
    snprintf(want, sizeof want, "tests/loader/refused.ini:%d: box %s: %s\n",
             conf_of(name)->path_origin.line, name, why);
    EXPECT(load(name) == NULL);
    EXPECT_STR(told, want);
}

TEST(folder)
{
    refused_as_given("folder", "./ is not a regular file");
}

TEST(no_file)
{
    refused_as_given("no_file", "./there/is/none.so cannot be opened: No such "
                                "file or directory");
}

TEST(no_file_without_a_path_names_the_section)
{
    char want[PATH_MAX + 256];
    read_ini("tests/loader/refused.ini");
    const struct hak_conf_box *b = conf_of("beside");
    snprintf(want, sizeof want,
             "tests/loader/refused.ini:%d: box beside: %s/beside.so cannot be "
             "opened: No such file or directory\n",
             b->origin.line, hak_boxes_dir());
    EXPECT(load("beside") == NULL);
    EXPECT_STR(told, want);
}

TEST(init_fails)
{
    read_ini("tests/loader/refused.ini");
    EXPECT(load("init_fails") == NULL);
    char want[256];
    snprintf(want, sizeof want,
             "tests/loader/refused.ini:%d: box init_fails: no memory for the "
             "test\n",
             conf_of("init_fails")->path_origin.line);
    EXPECT_STR(told, want);
    EXPECT_EQ(hak_boxes.n, 0);
    EXPECT(hak_walk(&conf) == NULL);
}

/* ---- files that only look like boxes --------------------------------- */

static void file_refused(const void *bytes, size_t n, const char *why)
{
    char path[64], got[256];
    void *handle = NULL;
    int fd = memfd_create("box", 0);
    EXPECT_EQ(write(fd, bytes, n), n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    EXPECT(hak_box_file(path, &handle, got, sizeof got) == NULL);
    EXPECT_CONTAINS(got, why);
    close(fd);
}

TEST(elf_files_of_other_kinds)
{
    Elf64_Ehdr e = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                                ELFDATA2LSB, EV_CURRENT},
                    .e_machine = EM_X86_64,
                    .e_type = ET_DYN};
    file_refused(&e, 0, "is no shared object (no ELF header)");
    file_refused(&e, sizeof e - 1, "is no shared object (no ELF header)");
    file_refused(&e, sizeof e, "is not whole; copy or build it again");
    e.e_phentsize = sizeof(Elf64_Phdr);
    file_refused(&e, sizeof e, "cannot be loaded: "); /* nothing behind it */
    e.e_phnum = 1;
    e.e_phoff = sizeof e;
    file_refused(&e, sizeof e, "is not whole; copy or build it again");
    e.e_type = ET_EXEC;
    file_refused(&e, sizeof e, "is no shared object; link it with -shared");
    e.e_type = ET_REL;
    file_refused(&e, sizeof e, "is no shared object; link it with -shared");
    e.e_type = ET_DYN;
    e.e_machine = EM_AARCH64;
    file_refused(&e, sizeof e, "is for another kind of machine; build it for");
    e.e_machine = EM_X86_64;
    e.e_ident[EI_CLASS] = ELFCLASS32;
    file_refused(&e, sizeof e, "is for another kind of machine; build it for");
}

/* Does not hang where nobody writes. */
TEST(pipe_is_refused)
{
    char path[64], why[256];
    int end[2];
    void *handle = NULL;
    EXPECT_EQ(pipe(end), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", end[0]);
    EXPECT(hak_box_file(path, &handle, why, sizeof why) == NULL);
    EXPECT_STR(why, "is not a regular file");
}

TEST(a_short_buffer_for_the_reason)
{
    char why[8] = "abcdefg";
    void *handle = NULL;
    EXPECT(hak_box_file("tests/loader", &handle, why, 5) == NULL);
    EXPECT_STR(why, "is n");
    EXPECT_EQ(why[5], 'f');
}

/* ---- boxes that load ------------------------------------------------- */

TEST(newer_minor_loads_as_far_as_it_is_known)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("newer");
    EXPECT(b != NULL);
    EXPECT_STR(told, "");
    EXPECT_EQ(b->entry->abi_minor, 9);
    EXPECT_EQ(b->box.state_now, HAK_BOX_ACTIVE);
    EXPECT(b->ops.alloc(&b->box, 16) == NULL);
    EXPECT(b->ops.get_extension == NULL && b->ops.init == NULL);
}

TEST(older_minor_gets_no_lanes)
{
    read_ini("tests/loader/older.ini");
    struct hak_loaded *b = load("older");
    EXPECT(b != NULL && b->ops.refill != NULL);
    EXPECT_EQ(b->entry->abi_minor, 2);
    EXPECT(!b->box.lanes);
}

TEST(ops_beyond_the_entrys_size_are_none)
{
    struct hak_box_entry e, known;
    memset(&e, 0xff, sizeof e);
    e.abi_minor = 6;
    e.ops_at = offsetof(struct hak_box_entry, ops);
    e.struct_size = offsetof(struct hak_box_entry, ops.init);
    hak_abi_entry(&known, &e);
    EXPECT(known.ops.alloc != NULL && known.ops.owns != NULL);
    EXPECT(known.ops.init == NULL && known.ops.get_extension == NULL);
    e.struct_size = sizeof e + 64;
    hak_abi_entry(&known, &e);
    EXPECT(known.ops.get_extension != NULL);
}

TEST(what_a_box_is_told)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("first");
    const struct hak_host *host = b->box.host;
    EXPECT_STR(b->box.name, "first");
    EXPECT_STR(b->entry->id, "ultra");
    EXPECT_EQ(b->box.params[0].i, 3072); /* warm of the INI */
    EXPECT_EQ(b->box.params[1].i, 4096); /* carve: its default */
    EXPECT(b->box.lanes);
    EXPECT_EQ(b->header_bytes, 0);
    EXPECT_EQ(host->struct_size, sizeof *host);
    EXPECT_EQ(host->window_base, hak_directory.base);
    EXPECT_EQ(host->window_bytes,
              hak_directory.limit_real << HAK_GRANULE_SHIFT);
    EXPECT_EQ(host->os_page_bytes, (size_t)sysconf(_SC_PAGESIZE));
    EXPECT_EQ(host->purge_delay_ms(), conf.purge_delay_ms);
    EXPECT(host->map(&b->box, 0, 0, 0) == NULL);
    EXPECT(host->map(&b->box, 100, 0, 0) == NULL);
    EXPECT(host->remap(&b->box, NULL, 0, 100) == NULL);
}

TEST(a_box_without_usable_size_gets_headers)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("three");
    EXPECT_EQ(b->header_bytes, 16);
    EXPECT(!b->box.lanes);
    void *p = b->ops.alloc(&b->box, 100);
    EXPECT(hak_directory_get(p) == &b->slow);
    EXPECT(hak_walk((char *)p + b->header_bytes) == b);
    EXPECT_EQ(b->now->mapped_bytes, HAK_GRANULE_BYTES);
}

/* Two instances of one file know nothing of each other. */
TEST(one_file_under_two_names)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *first = load("first"), *second = load("second");
    EXPECT(first != NULL && second != NULL);
    EXPECT(first->ops.alloc == second->ops.alloc);
    EXPECT(first->box.state != second->box.state);
    EXPECT_EQ(first->box.index, 0);
    EXPECT_EQ(second->box.index, 1);
    EXPECT(hak_boxes.walk[0] == second); /* by priority */
    EXPECT(hak_boxes.walk[1] == first);
    EXPECT(first->box.lanes && !second->box.lanes);
    EXPECT_EQ(first->box.params[0].i, 3072);
    EXPECT_EQ(second->box.params[0].i, 2 << 20);
    char *p = first->ops.alloc(&first->box, 100);
    char *q = second->ops.alloc(&second->box, 100);
    EXPECT(hak_walk(p) == first && hak_walk(p + 99) == first);
    EXPECT(hak_walk(q) == second);
    EXPECT(!second->ops.owns(&second->box, p));
    const struct hak_span *span = hak_directory_get(p);
    EXPECT(span != NULL && span->box == &first->box);
    EXPECT(hak_directory_get(q) == &second->slow); /* lanes = off */
    EXPECT_EQ(first->now->mapped_bytes, HAK_GRANULE_BYTES);
    EXPECT_EQ(second->now->mapped_bytes, HAK_GRANULE_BYTES);
    second->ops.free(&second->box, q);
    first->ops.free(&first->box, p);
}

TEST(walk_of_any_pointer)
{
    read_ini("tests/loader/accepted.ini");
    load("first");
    load("three");
    const uintptr_t asked[] = {0,
                               1,
                               16,
                               hak_directory.base - 1,
                               hak_directory.base,
                               (uintptr_t)1 << 47,
                               (uintptr_t)1 << 63,
                               UINTPTR_MAX};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        EXPECT(hak_walk((void *)asked[i]) == NULL);
}

/* ---- a box that claims the memory of another ------------------------- */

/* Allocate from a box; what is said on stderr meanwhile goes to `said`. */
static void *alloc_and_hear(struct hak_loaded *b, size_t bytes, char said[512])
{
    int kept = dup(2), fd = memfd_create("stderr", 0);
    EXPECT_EQ(dup2(fd, 2), 2);
    void *p = b->ops.alloc(&b->box, bytes);
    EXPECT_EQ(dup2(kept, 2), 2);
    ssize_t n = pread(fd, said, 511, 0);
    said[n < 0 ? 0 : n] = 0;
    close(fd);
    close(kept);
    return p;
}

TEST(greedy_box_is_told_once_and_asked_no_more)
{
    char want[256], said[512];
    read_ini("tests/loader/greedy.ini");
    struct hak_loaded *honest = load("honest"), *greedy = load("greedy");
    void *nobodys = (void *)(hak_directory.base + 1000 * HAK_GRANULE_BYTES);
    EXPECT(hak_walk(nobodys) == greedy);
    EXPECT(hak_walk(told) == NULL); /* not in the window: not asked */
    void *p = alloc_and_hear(honest, 100, said);
    snprintf(
        want, sizeof want,
        "hakmem: box greedy claims to own %p, which is box honest's; its "
        "owns() is wrong and is asked no more (hakctl check-box tests it)\n",
        (void *)((uintptr_t)p & ~(HAK_GRANULE_BYTES - 1)));
    EXPECT_STR(said, want);
    EXPECT(greedy->now->untrusted && !honest->now->untrusted);
    EXPECT(hak_walk(p) == honest);
    EXPECT(hak_walk(nobodys) == NULL);
    EXPECT(alloc_and_hear(honest, 1000, said) != NULL); /* a page more */
    EXPECT_STR(said, "");
}

/* ---- remap of the host table ----------------------------------------- */

TEST(remap_takes_the_directory_along)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("newer");
    const struct hak_host *host = b->box.host;
    const size_t g = HAK_GRANULE_BYTES;
    char *p = host->map(&b->box, 2 * g, 0, 0);
    char *wall = host->map(&b->box, g, 0, 0);
    p[0] = 5;
    char *q = host->remap(&b->box, p, 2 * g, 3 * g);
    EXPECT(wall == p + 2 * g && q != p && q[0] == 5);
    EXPECT(hak_directory_get(p) == NULL);
    EXPECT(hak_directory_get(p + g) == NULL);
    for (size_t i = 0; i < 3; i++)
        EXPECT(hak_directory_get(q + i * g) == &b->slow);
    EXPECT_EQ(b->now->mapped_bytes, 4 * g);
    EXPECT_EQ(b->now->mapped_peak_bytes, 4 * g);
    EXPECT(host->remap(&b->box, q, 3 * g, g) == q);
    EXPECT(hak_directory_get(q) == &b->slow);
    EXPECT(hak_directory_get(q + g) == NULL);
    EXPECT_EQ(b->now->mapped_bytes, 2 * g);
    EXPECT(host->remap(&b->box, q, g, host->window_bytes * 2) == NULL);
    EXPECT(hak_directory_get(q) == &b->slow);
    host->unmap(&b->box, q, g);
    EXPECT(hak_directory_get(q) == NULL);
    EXPECT_EQ(b->now->mapped_bytes, g);
}

TEST(a_box_gives_back_and_moves_what_is_its_alone)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *mine = load("newer"), *other = load("three");
    const struct hak_host *host = mine->box.host;
    const size_t g = HAK_GRANULE_BYTES;
    char *p = host->map(&mine->box, g, 0, 0);
    char *q = host->map(&other->box, g, 0, 0);
    EXPECT(q == p + g);
    q[0] = 7;
    host->unmap(&mine->box, p, 2 * g);    /* its own, and what is behind */
    host->unmap(&mine->box, q, g);        /* another's */
    host->unmap(&mine->box, p + 4096, g); /* no granule */
    host->unmap(&mine->box, told, g);     /* outside of the window */
    host->purge(&mine->box, q, 4096);
    host->purge(&mine->box, p, g + 4096);
    EXPECT(host->remap(&mine->box, q, g, 2 * g) == NULL);
    EXPECT_EQ(host->span_set(&mine->box, NULL, p, 2 * g), -EINVAL);
    EXPECT_EQ(host->span_set(&mine->box, NULL, q, g), -EINVAL);
    EXPECT(hak_directory_get(p) == &mine->slow);
    EXPECT(hak_directory_get(q) == &other->slow);
    EXPECT_EQ(q[0], 7);
    EXPECT_EQ(mine->now->mapped_bytes, g);
    host->unmap(&mine->box, p, g);
    host->unmap(&mine->box, p, g); /* once more */
    EXPECT_EQ(mine->now->mapped_bytes, 0);
    EXPECT(host->map(&other->box, g, 0, 0) == p);
}

TEST(neighbours_of_a_box_with_headers_are_not_its_own)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *headers = load("three"), *other = load("newer");
    char *p = headers->ops.alloc(&headers->box, 65000); /* to the end */
    char *q = other->box.host->map(&other->box, HAK_GRANULE_BYTES, 0, 0);
    EXPECT(q == p + HAK_GRANULE_BYTES && headers->header_bytes == 16);
    EXPECT(hak_walk(q) != headers);
    EXPECT(hak_walk(p + 16) == headers);
}

TEST(host_reserve_tells_the_directory_and_counts_what_is_open)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("newer");
    const struct hak_host *host = b->box.host;
    const size_t g = HAK_GRANULE_BYTES, page = host->os_page_bytes;
    EXPECT(host->reserve(&b->box, g + 1, 0) == NULL);
    EXPECT(host->reserve(&b->box, 0, 0) == NULL);
    char *p = host->reserve(&b->box, 4 * g, 2 * g);
    EXPECT_EQ((uintptr_t)p % (2 * g), 0);
    EXPECT(hak_directory_get(p) == &b->slow);
    EXPECT(hak_directory_get(p + 3 * g) == &b->slow);
    EXPECT_EQ(b->now->mapped_bytes, 0);
    EXPECT_EQ(host->open_pages(&b->box, p + g, 3 * page, HAK_OPEN_NOW), 0);
    EXPECT_EQ(b->now->mapped_bytes, 3 * page);
    EXPECT(host->close_pages(&b->box, p + g, 3 * page));
    EXPECT_EQ(b->now->mapped_bytes, 0);
    EXPECT_EQ(b->now->mapped_peak_bytes, 3 * page);
    host->unreserve(&b->box, p, 4 * g);
    EXPECT(hak_directory_get(p) == NULL);
}

static void in_meta(char *p, ptrdiff_t at)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL};
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        sigaction(SIGSEGV, &by_default, NULL);
        p[at] = 1;
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    bool inside = at >= 0 && at < 10000;
    EXPECT_EQ(status == 0, inside);
}

TEST(host_meta_guarded_is_between_closed_pages)
{
    read_ini("tests/loader/accepted.ini");
    struct hak_loaded *b = load("newer");
    const struct hak_host *host = b->box.host;
    const ptrdiff_t page = (ptrdiff_t)host->os_page_bytes;
    EXPECT(host->meta_guarded(&b->box, 0) == NULL);
    char *p = host->meta_guarded(&b->box, 10000);
    EXPECT(p != NULL && (uintptr_t)p % 64 == 0);
    for (size_t i = 0; i < 10000; i++)
        EXPECT_EQ(p[i], 0);
    in_meta(p, 0);
    in_meta(p, 9999);
    in_meta(p, -1);
    in_meta(p, -page);
    in_meta(p, 3 * page);
    in_meta(p, 4 * page - 1);
}

/* ---- paths of the INI ------------------------------------------------ */

static void expect_path(const char *given, const char *conf_file,
                        const char *want)
{
    char got[PATH_MAX];
    hak_box_path(given, "mine", conf_file, got, sizeof got);
    EXPECT_STR(got, want);
}

TEST(paths)
{
    char dir[PATH_MAX + 64];
    snprintf(dir, sizeof dir, "%s/mine.so", hak_boxes_dir());
    expect_path(NULL, "tests/loader/x.ini", dir);
    expect_path(NULL, NULL, dir);
    snprintf(dir, sizeof dir, "%s/other.so", hak_boxes_dir());
    expect_path("other.so", "tests/loader/x.ini", dir);
    expect_path("/a/b.so", "tests/loader/x.ini", "/a/b.so");
    expect_path("./greedy.ini", "tests/loader/x.ini",
                "tests/loader/./greedy.ini");
    expect_path("../none.so", "tests/loader/x.ini", "../none.so");
    expect_path("../lib/test.h", "tests/loader/x.ini",
                "tests/loader/../lib/test.h");
    expect_path("tests/lib/test.h", "tests/loader/x.ini", "tests/lib/test.h");
    expect_path("tests/lib/test.h", "x.ini", "tests/lib/test.h");
    expect_path("tests/lib/test.h", NULL, "tests/lib/test.h");
    expect_path("lib/test.h", "/x.ini", "lib/test.h");
}

TEST(boxes_dir_is_beside_this_program)
{
    char own[PATH_MAX];
    EXPECT(realpath("/proc/self/exe", own) != NULL);
    *strrchr(own, '/') = 0;
    EXPECT_STR(hak_boxes_dir(), own); /* no boxes/ or hakmem/ there */
    EXPECT(hak_boxes_dir() == hak_boxes_dir());
}

TEST_MAIN()
