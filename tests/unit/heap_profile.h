/* SPDX-License-Identifier: MIT
 * heap_profile.h - module "heap_profile" on a host of the test, which calls it
 * as the core does, and what its files say, by tests/lib/pprof.py.
 */
#ifndef HAK_TESTS_HEAP_PROFILE_H
#define HAK_TESTS_HEAP_PROFILE_H

#include "test.h"

#include <conf/conf.h>
#include <hakmem/stack.h>
#include <modules/heap_profile/heap_profile.h>

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

extern const struct hak_module_entry HAK_MODULE_ENTRY(heap_profile);
#define MODULE HAK_MODULE_ENTRY(heap_profile)

/* ---- the host ------------------------------------------------------------ */

static const struct hak_sample_ops *ops;
static uint64_t sampled_every;
static uint32_t nwanted;

static int sample_bytes(const struct hak_sample_ops *given, uint64_t every,
                        uint32_t cost)
{
    (void)cost;
    ops = given;
    sampled_every = every;
    return 0;
}

/* A page of two OS pages, one of which is resident, and so many slots of 64
 * bytes; NULL: no page is known. */
static char *page;
static uint64_t page_nlive;

static int page_of(const void *slot, struct hak_page_now *out)
{
    if (page == NULL || (const char *)slot < page ||
        (const char *)slot >= page + 8192)
        return -ENOENT;
    *out = (struct hak_page_now){(uintptr_t)page, 8192, 64, page_nlive};
    return 0;
}

/* The stack of the next sample. */
static __thread uintptr_t frame[HAK_PROFILE_FRAMES_MOST];
static __thread uint32_t nframes;

static uint32_t take(uintptr_t *out, uint32_t most)
{
    uint32_t n = nframes < most ? nframes : most;
    memcpy(out, frame, n * sizeof *out);
    return n;
}

static const struct hak_stack_1 stack_table = {sizeof stack_table, take};

static const void *extension(const char *id)
{
    return strcmp(id, HAK_STACK_1) == 0 ? &stack_table : NULL;
}

static void want(const struct hak_module_host *host)
{
    (void)host;
    nwanted++;
}

static void receive_nothing(void)
{
}

static struct hak_conf conf;
static const struct hak_module_host host = {
    .version = HAK_MODULE_VERSION,
    .conf = &conf,
    .want = want,
    .extension = extension,
    .sample_bytes = sample_bytes,
    .page = page_of,
    .receive_frees = receive_nothing,
};

/* ---- the module on it ---------------------------------------------------- */

static char folder[] = "/tmp/hakmem-test-XXXXXX";
static const struct hak_heap_profile_1 *control;

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Start with the defaults of the INI and a file of that name in the folder. */
static void start(const char *file)
{
    static char path[256];
    if (folder[strlen(folder) - 1] == 'X')
        EXPECT(mkdtemp(folder) != NULL);
    strcpy(path, file[0] == '/' || strcmp(file, "none") == 0 ? file
                                                             : in_folder(file));
    struct hak_conf_heap_profile *keys = &conf.heap_profile;
    keys->file = path;
    keys->at_exit = true;
    keys->every_bytes = 512 << 10;
    keys->frames = 64;
    if (keys->most_bytes == 0)
        keys->most_bytes = 256 << 20;
    EXPECT_EQ(MODULE.start(&host), 0);
    MODULE.run();
    control = MODULE.extension(HAK_HEAP_PROFILE_1);
    EXPECT(control != NULL);
}

static inline void set_stack(uint32_t n, uintptr_t first)
{
    nframes = n;
    for (uint32_t i = 0; i < n; i++)
        frame[i] = first + i;
}

/* A sampled block of the box ultra, 16 bytes inside of its slot. */
static bool allocate(uintptr_t block, size_t asked, size_t slot, double n)
{
    const struct hak_sample s = {
        .block = (const void *)block,
        .offset_bytes = 16,
        .place = (const void *)(block - 16),
        .asked_bytes = asked,
        .slot_bytes = slot,
        .nblocks = n,
        .box = "ultra",
    };
    return ops->allocated(&s);
}

static bool give_back(uintptr_t block)
{
    return ops->freed((const void *)block) == 16;
}

/* ---- what a file says ---------------------------------------------------- */

static char said[4 << 20];

/* Read the profile of that path into `said`. */
static const char *read_profile(const char *path)
{
    char command[512];
    snprintf(command, sizeof command, "python3 tests/lib/pprof.py %s 2>&1",
             path);
    FILE *out = popen(command, "r");
    EXPECT(out != NULL);
    size_t n = fread(said, 1, sizeof said - 1, out);
    said[n] = 0;
    if (pclose(out) != 0)
        test_fail(__FILE__, __LINE__, "%s", said);
    return said;
}

/* Write a profile by control, and read it. */
static const char *profile(void)
{
    char why[512];
    if (control->dump(in_folder("now.pb.gz"), why, sizeof why) != 0)
        test_fail(__FILE__, __LINE__, "%s", why);
    EXPECT_STR(why, in_folder("now.pb.gz"));
    return read_profile(in_folder("now.pb.gz"));
}

/* The sum of one value over the samples of `said` that have all of the text. */
static long long sum_of(const char *value, const char *text)
{
    char line[1 << 16], key[64];
    long long sum = 0;
    snprintf(key, sizeof key, " %s=", value);
    for (const char *at = said; *at != 0; at += strcspn(at, "\n")) {
        at += *at == '\n';
        size_t n = strcspn(at, "\n");
        if (n >= sizeof line || strncmp(at, "sample ", 7) != 0)
            continue;
        memcpy(line, at, n);
        line[n] = 0;
        const char *found = strstr(line, key);
        if (found != NULL && strstr(line, text) != NULL)
            sum += atoll(found + strlen(key));
    }
    return sum;
}

/* The files of the folder, each with a blank behind it, in order. */
static inline const char *files(void)
{
    static char names[4096];
    struct dirent **entry;
    int n = scandir(folder, &entry, NULL, alphasort);
    names[0] = 0;
    for (int i = 0; i < n; i++)
        if (entry[i]->d_name[0] != '.') {
            strcat(names, entry[i]->d_name);
            strcat(names, " ");
        }
    return names;
}

/* What the module adds to a report. */
static char told[1024];

__attribute__((format(printf, 2, 3))) static void add(struct hak_text *report,
                                                      const char *format, ...)
{
    va_list ap;
    (void)report;
    va_start(ap, format);
    vsnprintf(told + strlen(told), sizeof told - strlen(told), format, ap);
    va_end(ap);
}

static inline const char *report(bool json)
{
    const struct hak_report_part part = {.json = json, .add = add};
    told[0] = 0;
    MODULE.report(&part);
    return told;
}

static inline void remove_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    EXPECT_EQ(system(command), 0);
}

#endif
