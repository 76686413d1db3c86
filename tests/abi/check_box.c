/* SPDX-License-Identifier: MIT
 * check_box.c - hakctl check-box: does a box keep the contract of box.h?
 *
 * hakctl runs this program; `hakctl help check-box` says how to use it. TAP on
 * stdout; exit status 0: all properties hold, 1: some do not, 2: bad usage.
 */
#include <elf.h>
#include <fnmatch.h>
#include <getopt.h>

#include "check.h"

#include "random.h"
#include <conf/conf.h>
#include <core/box/abi.h>
#include "hakmem/foreign.h"

TEST_STATE();
struct check ck;

/* ---- sizes ------------------------------------------------------------- */

static __thread uint64_t seed = 1;

void ck_seed(uint64_t value)
{
    seed = value + (ck.seed - 1) * 0xd1342543de82ef95ull;
}

uint64_t ck_random(void)
{
    return random_next(&seed);
}

bool ck_good(size_t size_bytes)
{
    size_t most = ck.entry->max_bytes ? ck.entry->max_bytes : SIZE_MAX;
    size_t need = size_bytes + (ck.box->ops->usable_size ? 0 : 16);
    if (ck.box->lanes && need <= HAK_LANE_MAX_BYTES)
        need = hak_index_bytes(hak_index_of(need));
    if (need < ck.entry->min_bytes || need > most)
        return false;
    return !ck.box->ops->slot_size || ck.box->ops->slot_size(ck.box, need);
}

size_t ck_size(size_t most)
{
    size_t low = ck.min_bytes, high = ck.max_bytes < most ? ck.max_bytes : most;
    high = high < low ? low : high;
    uint64_t doublings = 64 - (uint64_t)__builtin_clzll(high / low);
    for (int i = 0; i < 100; i++) {
        uint64_t top = low << (ck_random() % doublings + 1);
        top = top < high ? top : high;
        size_t size = low + (size_t)(ck_random() % (top - low + 1));
        if (ck_good(size))
            return size;
    }
    return low;
}

/* What to ask of this box: its stated range, as far as it is worth trying. */
static void find_range(void)
{
    size_t low = ck.entry->min_bytes ? ck.entry->min_bytes : 1;
    size_t high = low < 4096 ? 65536 : low * 32;
    if (ck.entry->max_bytes && ck.entry->max_bytes < high)
        high = ck.entry->max_bytes;
    while (low < high && !ck_good(low))
        low++;
    if (!ck_good(low))
        test_fail(__FILE__, __LINE__, "no request of %zu..%zu is served",
                  ck.entry->min_bytes, high);
    while (high > low && !ck_good(high))
        high--;
    ck.min_bytes = low;
    ck.max_bytes = high;
}

/* ---- a property's beginning and end ------------------------------------ */

static bool read_foreign(struct hak_foreign_box_1 *table)
{
    struct hak_box_ops ops;
    return hak_abi_foreign(ck.entry, ck.box, table, &ops);
}

bool ck_is_foreign(void)
{
    struct hak_foreign_box_1 table;
    return read_foreign(&table);
}

bool ck_is_residual(void)
{
    struct hak_foreign_box_1 table;
    return read_foreign(&table) && table.residual;
}

void ck_need_owns(void)
{
    if (ck_is_residual())
        SKIP("the box is residual: its owns() is not asked");
}

struct hak_box *ck_open(const char *name)
{
    return th_open(ck.path, name, ck.params, ck.direct ? TH_NO_LANES : 0);
}

void ck_begin(bool direct)
{
    ck.direct = direct;
    ck.box = ck_open("checked");
    ck.entry = th_entry(ck.box);
    if (direct && !ck.box->ops->refill)
        SKIP("the box has no lanes to turn off");
    find_range();
}

void ck_end(void)
{
    th_detach();
    th_reap();
    EXPECT_EQ(th_live(ck.box, true), 0);
    if (ck.box->ops->stats) {
        struct hak_box_stats s = th_stats(ck.box);
        EXPECT_EQ(s.live_count, 0);
        EXPECT_EQ(s.live_bytes, 0);
    }
    if (ck.declined && !ck.may_decline)
        test_fail(__FILE__, __LINE__, "%zu requests in range were declined",
                  ck.declined);
}

pid_t ck_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        alarm(test_seconds);
    return pid;
}

int ck_wait(pid_t pid, const char *what)
{
    int status = 0;
    EXPECT_GT(pid, 0);
    alarm(0); /* the child has its own; how many there are is no fault */
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    alarm(test_seconds);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        test_fail(__FILE__, __LINE__, "%s: timed out after %u s", what,
                  test_seconds);
    if (WIFSIGNALED(status))
        test_fail(__FILE__, __LINE__, "%s: SIG%s", what,
                  sigabbrev_np(WTERMSIG(status)));
    if (status != 0 && WEXITSTATUS(status) != CK_NO_FAULT)
        test_fail(__FILE__, __LINE__, "%s: exit status %d", what,
                  WEXITSTATUS(status));
    return WEXITSTATUS(status);
}

/* ---- blocks ------------------------------------------------------------ */

struct block *ck_blocks(size_t n)
{
    void *p = mmap(NULL, n * sizeof(struct block), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(p != MAP_FAILED);
    return p;
}

bool ck_adopt(struct block *b, void *p, size_t size_bytes)
{
    *b = (struct block){p, size_bytes, (unsigned char)(ck_random() | 1)};
    if (!p) {
        __atomic_fetch_add(&ck.declined, 1, __ATOMIC_RELAXED);
        return false;
    }
    EXPECT_EQ((uintptr_t)p % HAK_ALIGN_BYTES, 0);
    memset(p, b->tag, size_bytes);
    return true;
}

bool ck_new(struct block *b, size_t size_bytes)
{
    return ck_adopt(b, th_malloc(ck.box, size_bytes), size_bytes);
}

void ck_check(const struct block *b)
{
    if (!b->p || !b->bytes)
        return;
    EXPECT_EQ(b->p[0], b->tag);
    if (memcmp(b->p, b->p + 1, b->bytes - 1) != 0)
        test_fail(__FILE__, __LINE__, "block %p of %zu bytes was written to",
                  (void *)b->p, b->bytes);
}

void ck_free(struct block *b)
{
    ck_check(b);
    th_free(b->p);
    b->p = NULL;
}

void ck_free_all(struct block *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_free(&b[i]);
}

size_t ck_fill(struct block *b, size_t n, size_t most, size_t total)
{
    size_t bytes = 0, i = 0;
    for (; i < n && bytes < total; i++)
        if (ck_new(&b[i], ck_size(most)))
            bytes += b[i].bytes;
    return i;
}

void ck_expect_mapped(int line, const char *file, size_t bound)
{
    size_t mapped = th_mapped(ck.box);
    if (mapped > bound)
        test_fail(file, line,
                  "%zu KiB are mapped, %zu would do: what was freed is not "
                  "used again",
                  mapped / 1024, bound / 1024);
}

void ck_shuffle(struct block *b, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(ck_random() % i);
        struct block t = b[i - 1];
        b[i - 1] = b[j];
        b[j] = t;
    }
}

/* ---- the command line -------------------------------------------------- */

enum { BAD = 2 };

__attribute__((noreturn, format(printf, 1, 2))) static void
bad(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("hakctl: check-box: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    _exit(BAD);
}

/* "; did you mean "x"?", or what else to do. */
static const char *nearest(const char *word, const char *const *words, size_t n,
                           const char *otherwise)
{
    static char text[256];
    const char *near = hak_conf_nearest(word, words, n);
    snprintf(text, sizeof text, "; did you mean \"%s\"?", near);
    return near ? text : otherwise;
}

static int list(void)
{
    for (int i = 0; i < test_ncases; i++)
        if (test_cases[i].about)
            printf("%-30s %s\n", test_cases[i].name, test_cases[i].about);
    return fflush(stdout) ? BAD : 0;
}

static bool matches(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, 0) == 0;
}

/* NAME also means NAME_direct. */
static bool selects(const char *pattern, const char *name)
{
    char base[128];
    size_t n = strlen(name), tail = strlen("_direct");
    if (matches(pattern, name))
        return true;
    if (n <= tail || strcmp(name + n - tail, "_direct") != 0)
        return false;
    snprintf(base, sizeof base, "%.*s", (int)(n - tail), name);
    return matches(pattern, base);
}

static void need_property(const char *pattern)
{
    const char *names[TEST_MAX];
    for (int i = 0; i < test_ncases; i++) {
        names[i] = test_cases[i].name;
        if (selects(pattern, names[i]))
            return;
    }
    bad("no property \"%s\"%s", pattern,
        nearest(pattern, names, (size_t)test_ncases,
                "; hakctl check-box --list lists them"));
}

static unsigned long number(const char *option, const char *what,
                            const char *text, unsigned long most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n < 1 || n > most)
        bad("%s %s: not %s, 1..%lu", option, text, what, most);
    return n;
}

static void need_elf(const char *path)
{
    Elf64_Ehdr e;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        bad("%s: %s", path, strerror(errno));
    ssize_t n = pread(fd, &e, sizeof e, 0);
    close(fd);
    if (n < 0)
        bad("%s: %s", path, strerror(errno));
    if (n != (ssize_t)sizeof e || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ||
        e.e_type != ET_DYN)
        bad("%s is no shared object; build it with cc -shared -fPIC", path);
}

static void need_params(const struct hak_box_entry *theirs)
{
    const char *names[64];
    struct hak_box_entry entry;
    int error = th_check_params(theirs, ck.params);
    if (error != -EINVAL)
        return; /* a refused entry: the properties tell */
    th_read_entry(theirs, &entry);
    uint32_t n = entry.nparams < 64 ? entry.nparams : 64;
    for (uint32_t i = 0; i < n; i++)
        names[i] = entry.params[i].name;
    for (const char *const *p = ck.params; *p; p++) {
        char name[128];
        bool known = false;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*p, "="), *p);
        for (uint32_t i = 0; i < n; i++)
            known |= strcmp(names[i], name) == 0;
        if (!known)
            bad("%s: no parameter \"%s\"%s", ck.path, name,
                nearest(name, names, n, "; hakctl boxes FILE.so lists them"));
    }
    bad("%s: %s", ck.path, th_error());
}

/* In a child, as the file may crash on being opened; then the properties
 * tell. Returns whether the box has lanes. */
static bool look_at_file(void)
{
    enum { NO_LANES, LANES };
    int status = 0;
    need_elf(ck.path);
    fflush(stdout);
    pid_t pid = ck_fork();
    if (pid == 0) {
        const struct hak_box_entry *entry = th_entry_of(ck.path);
        if (!entry)
            bad("%s", th_error());
        need_params(entry);
        if (entry->magic != HAK_BOX_MAGIC ||
            entry->abi_major != HAK_ABI_MAJOR || !hak_abi_is_entry(entry))
            _exit(NO_LANES);
        struct hak_box_entry e;
        hak_abi_entry(&e, entry);
        _exit(e.ops.refill ? LANES : NO_LANES);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bad("cannot start a process: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == BAD)
        exit(BAD);
    return WIFEXITED(status) && WEXITSTATUS(status) == LANES;
}

static void choose(struct ck_plan *plan, char *const *names, int nnames,
                   bool lanes)
{
    for (int i = 0; i < test_ncases; i++) {
        const struct test_case *c = &test_cases[i];
        bool wanted = nnames == 0;
        for (int k = 0; k < nnames; k++)
            wanted |= selects(names[k], c->name);
        if (wanted && (lanes || nnames || c->about)) /* else NAME_direct */
            plan->property[plan->n++] = c;
    }
}

/* Puts key=value into ck.params and leaves the other words; returns their
 * number. */
static int take_params(char **words, int n)
{
    size_t nparams = 0;
    int left = 0;
    for (int i = 0; i < n; i++) {
        if (!strchr(words[i], '='))
            words[left++] = words[i];
        else if (nparams + 1 < sizeof ck.params / sizeof ck.params[0])
            ck.params[nparams++] = words[i];
        else
            bad("more than %zu parameters", nparams);
    }
    return left;
}

enum { LIST, RUN, RUN_HERE };

static int options(int argc, char **argv, struct ck_plan *plan)
{
    static const struct option longs[] = {
        {"in-process", no_argument, NULL, 'i'},
        {"json", no_argument, NULL, 'j'},
        {"list", no_argument, NULL, 'l'},
        {"may-decline", no_argument, NULL, 'm'},
        {"seed", required_argument, NULL, 's'},
        {"timeout", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0}};
    int action = RUN, option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (option == 'l')
            action = LIST;
        else if (option == 'i')
            action = RUN_HERE;
        else if (option == 'j')
            plan->json = true;
        else if (option == 'm')
            ck.may_decline = true;
        else if (option == 's')
            ck.seed = number("--seed", "a number", optarg, UINT32_MAX);
        else if (option == 't')
            plan->seconds = (unsigned)number("--timeout", "a number of seconds",
                                             optarg, 86400);
        else
            bad(option == ':' ? "option %s needs a value; see hakctl help "
                                "check-box"
                              : "unknown option \"%s\"; see hakctl help "
                                "check-box",
                argv[optind - 1]);
    }
    return action;
}

static int run_here(char *const *names, int nnames)
{
    if (nnames != 1 || strchr(names[0], '*'))
        bad("--in-process runs one property: name it, as in hakctl check-box "
            "mine.so --in-process alignment");
    return ck_run_here(names[0]);
}

int main(int argc, char **argv)
{
    /* By default a box is done within two minutes, whatever it does. */
    enum { USUAL_SECONDS = 40, MOST_SECONDS = 110 };
    static struct ck_plan plan;
    char with_slash[4096]; /* dlopen searches for a name without one */
    ck.seed = 1;
    hak_conf_parse_call = hak_call_parse;
    int action = options(argc, argv, &plan);
    ck_seed(1);
    if (action == LIST)
        return list();
    if (plan.seconds == 0) {
        plan.seconds = USUAL_SECONDS;
        plan.most_seconds = MOST_SECONDS;
    }
    test_seconds = plan.seconds;
    if (optind == argc)
        bad("no box given, as in hakctl check-box ./mine.so");
    ck.path = argv[optind++];
    if (!strchr(ck.path, '/')) {
        snprintf(with_slash, sizeof with_slash, "./%s", ck.path);
        ck.path = with_slash;
    }
    char **names = argv + optind;
    int nnames = take_params(names, argc - optind);
    for (int i = 0; i < nnames; i++)
        need_property(names[i]);
    bool lanes = look_at_file();
    if (action == RUN_HERE)
        return run_here(names, nnames);
    choose(&plan, names, nnames, lanes);
    int status = ck_run(&plan);
    return fflush(stdout) ? BAD : status;
}
