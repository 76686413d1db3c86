/* SPDX-License-Identifier: MIT
 * driver.c - runs a fuzz target without libFuzzer: TAP on stdout.
 *
 *     PROGRAM              the seeds, then changed ones for HAK_FUZZ_SECONDS
 *     PROGRAM FILE...      these inputs alone
 *
 * The target's name is the program's; its seeds are the files of the folders
 * in fuzz_seeds. HAK_FUZZ_SEED=N repeats a run. An input that kills
 * the program is left in build/fuzz/NAME.MODE.input: put it into
 * tests/fuzz/seeds/ when the fault is mended, and it is run for ever after.
 *
 * Nothing here allocates while inputs run: the target may test malloc.
 */
#include "fuzz.h"

#include "random.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_BYTES = 4096, SEEDS = 256 };

static struct input {
    size_t n;
    uint8_t bytes[INPUT_BYTES];
} seed[SEEDS];
static size_t nseeds;
static const char *name;
static uint8_t *last; /* a mapped file: the input that runs */
static uint64_t random_state;

static size_t below(size_t n)
{
    return n == 0 ? 0 : random_below(&random_state, n);
}

/* ---- inputs ---------------------------------------------------------------
 */

static bool read_input(const char *path, struct input *in)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, in->bytes, INPUT_BYTES);
    if (fd >= 0)
        close(fd);
    in->n = n < 0 ? 0 : (size_t)n;
    return n >= 0;
}

static void read_seeds(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    char path[512];
    while (d != NULL && nseeds < SEEDS && (e = readdir(d)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (e->d_name[0] != '.')
            nseeds += read_input(path, &seed[nseeds]);
    }
    if (d != NULL)
        closedir(d);
}

/* Room for the input that runs, which outlives the process. */
static void keep_inputs(void)
{
    char path[512];
    const char *mode = getenv("HAK_TEST_MODE");
    mkdir("build/fuzz", 0777);
    snprintf(path, sizeof path, "build/fuzz/%s%s%s.input", name,
             mode == NULL ? "" : ".", mode == NULL ? "" : mode);
    for (char *at = path + strlen("build/fuzz/"); *at != 0; at++)
        *at = *at == '/' ? '-' : *at;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, INPUT_BYTES) != 0) {
        perror(path);
        exit(2);
    }
    last = mmap(NULL, INPUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
}

static void run(const struct input *in)
{
    memcpy(last, in->bytes, in->n);
    memset(last + in->n, 0, INPUT_BYTES - in->n);
    (void)LLVMFuzzerTestOneInput(in->bytes, in->n);
}

/* ---- changes ---------------------------------------------------------------
 */

static void insert(struct input *in, const void *bytes, size_t n)
{
    size_t at = below(in->n + 1);
    if (in->n + n > INPUT_BYTES)
        return;
    memmove(in->bytes + at + n, in->bytes + at, in->n - at);
    memcpy(in->bytes + at, bytes, n);
    in->n += n;
}

static void cut(struct input *in)
{
    size_t at = below(in->n), n = 1 + below(8);
    if (below(8) == 0)
        n = below(in->n);
    if (at + n > in->n)
        n = in->n - at;
    memmove(in->bytes + at, in->bytes + at + n, in->n - at - n);
    in->n -= n;
}

static void change(struct input *in)
{
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, '\n', ' ', '-'};
    const struct input *other = &seed[below(nseeds)];
    uint8_t noise[64];
    size_t at = below(in->n), from = below(other->n), words = 0;
    while (fuzz_words[words] != NULL)
        words++;
    switch (below(6)) {
    case 0:
        if (in->n != 0)
            in->bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        if (in->n != 0)
            in->bytes[at] = odd[below(sizeof odd)];
        break;
    case 2:
        cut(in);
        break;
    case 3:
        insert(in, other->bytes + from, below(other->n - from + 1));
        break;
    case 4:
        if (words != 0) {
            const char *word = fuzz_words[below(words)];
            insert(in, word, strlen(word));
            break;
        }
        __attribute__((fallthrough));
    default:
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)random_next(&random_state);
        insert(in, noise, below(words == 0 ? sizeof noise : 4));
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned long run_changed(double seconds)
{
    static struct input in;
    unsigned long runs = 0;
    for (double until = now() + seconds; now() < until; runs++) {
        in.n = 0;
        if (nseeds != 0)
            in = seed[below(nseeds)];
        for (size_t changes = 1 + below(8); changes != 0; changes--)
            change(&in);
        run(&in);
    }
    return runs;
}

int main(int argc, char **argv)
{
    static struct input given;
    const char *slash = strrchr(argv[0], '/');
    const char *limit = getenv("HAK_FUZZ_SECONDS");
    const char *number = getenv("HAK_FUZZ_SEED");
    name = slash != NULL ? slash + 1 : argv[0];
    keep_inputs();
    for (int i = 1; i < argc; i++) {
        if (!read_input(argv[i], &given)) {
            perror(argv[i]);
            return 2;
        }
        run(&given);
        printf("ok %d - %s\n", i, argv[i]);
    }
    if (argc > 1) {
        printf("1..%d\n", argc - 1);
        return 0;
    }
    for (int i = 0; fuzz_seeds[i] != NULL; i++)
        read_seeds(fuzz_seeds[i]);
    for (size_t i = 0; i < nseeds; i++)
        run(&seed[i]);
    printf("%sok 1 - %zu seeds\n", nseeds == 0 ? "not " : "", nseeds);
    random_state = number != NULL
                       ? strtoull(number, NULL, 0)
                       : (uint64_t)(now() * 1e9) ^ (uint64_t)getpid() << 40;
    printf("# HAK_FUZZ_SEED=%llu\n", (unsigned long long)random_state);
    fflush(stdout);
    unsigned long runs = run_changed(limit != NULL ? atof(limit) : 1);
    printf("ok 2 - %lu changed ones\n1..2\n", runs);
    return nseeds == 0;
}
