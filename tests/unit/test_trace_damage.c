/* SPDX-License-Identifier: MIT
 * test_trace_damage.c - traces that are cut, damaged or cannot be written: what
 * comes before is read, and the rest is told.
 */
#include "traces.h"

#include <trace/trace_block.h>
#include <trace/trace_reader.h>

#include <sys/resource.h>
#include <sys/stat.h>

enum { NOPS = 6000, FILE_BYTES = 1 << 20 };
static struct trace_op op[NOPS];
static uint8_t file[FILE_BYTES];
static size_t nbytes;
static char why[512];

/* Write a trace of twelve blocks, and read the file into memory. */
static void make_file(void)
{
    struct made_up m = {.random = 5};
    struct trace_writer *w = trace_create(trace_path(), "{}", why, sizeof why);
    EXPECT(w != NULL);
    for (int i = 0; i < NOPS; i++) {
        op[i] = next_made_up(&m);
        EXPECT_EQ(trace_put(w, &op[i]), 0);
        if (i % 500 == 499)
            EXPECT_EQ(trace_flush(w), 0);
    }
    EXPECT_EQ(trace_finish(w, 0), 0);
    FILE *in = fopen(trace_path(), "re");
    EXPECT(in != NULL);
    nbytes = fread(file, 1, sizeof file, in);
    fclose(in);
    unlink(trace_path());
    EXPECT(nbytes > 8192 && nbytes < sizeof file);
}

enum ending { REFUSED, DAMAGED, CUT, WHOLE };

/* Read the first n bytes of the file. Each operation has to be the one that was
 * written. *count is how many there were. */
static enum ending read_part(size_t n, int *count)
{
    struct trace_op got;
    int status = 0;
    *count = 0;
    why[0] = 0;
    FILE *in = fmemopen(file, n, "r");
    EXPECT(in != NULL);
    struct trace *t = trace_open_stream(in, NULL, why, sizeof why);
    if (t == NULL) {
        EXPECT(why[0] != 0);
        return REFUSED;
    }
    while ((status = trace_next(t, &got, why, sizeof why)) == 1) {
        EXPECT(*count < NOPS && same_op(&got, &op[*count]));
        ++*count;
    }
    EXPECT(status == 0 || why[0] != 0);
    enum ending ending = status < 0 ? DAMAGED : trace_was_cut(t) ? CUT : WHOLE;
    trace_close(t);
    return ending;
}

TEST(cut_at_each_byte)
{
    uint64_t random = 1;
    int before = 0;
    make_file();
    for (size_t n = 1; n < 4096; n++) {
        int count;
        enum ending ending = read_part(n, &count);
        EXPECT(ending == REFUSED || ending == CUT);
        EXPECT(count >= before && count % 500 == 0);
        before = count;
    }
    EXPECT(before >= 500);
    for (int i = 0; i < 300; i++) {
        int count;
        size_t n = 4096 + random_below(&random, nbytes - 4096);
        EXPECT_EQ(read_part(n, &count), CUT);
        EXPECT(count >= before && count % 500 == 0);
    }
    int all;
    EXPECT_EQ(read_part(nbytes, &all), WHOLE);
    EXPECT_EQ(all, NOPS);
}

TEST(flipped_bits)
{
    uint64_t random = 2;
    int count;
    make_file();
    for (size_t i = 0; i < 4096 + 500; i++) {
        size_t at = i < 4096 ? i : random_below(&random, nbytes);
        uint8_t bit = (uint8_t)(1u << random_below(&random, 8));
        file[at] ^= bit;
        enum ending ending = read_part(nbytes, &count);
        EXPECT(ending == REFUSED || ending == DAMAGED);
        EXPECT_EQ(count % 500, 0);
        file[at] ^= bit;
    }
}

/* A block may be gone from the middle, or a file may go on after its end. */
TEST(blocks_out_of_order)
{
    struct trace_head h;
    int count;
    make_file();
    size_t first = TRACE_MAGIC_BYTES + TRACE_HEAD_BYTES + 2;
    EXPECT(trace_head_get(file + first, &h) == NULL);
    size_t second = first + TRACE_HEAD_BYTES + h.bytes;
    EXPECT(trace_head_get(file + second, &h) == NULL);
    size_t third = second + TRACE_HEAD_BYTES + h.bytes;
    file[nbytes] = 'x';
    EXPECT_EQ(read_part(nbytes + 1, &count), DAMAGED);
    EXPECT(strstr(why, "goes on after its last block") != NULL);
    EXPECT_EQ(count, NOPS);
    memmove(file + second, file + third, nbytes - third);
    EXPECT_EQ(read_part(nbytes - (third - second), &count), DAMAGED);
    EXPECT(strstr(why, "one is missing") != NULL);
    EXPECT_EQ(count, 500);
}

TEST(another_version)
{
    int count;
    make_file();
    file[TRACE_MAGIC_BYTES - 1] = 2;
    EXPECT_EQ(read_part(nbytes, &count), REFUSED);
    EXPECT(strstr(why, "is a trace of version 2, and this hakctl reads") !=
           NULL);
}

/* A file may not grow: it ends with its last whole block. */
TEST(no_room_for_the_file)
{
    const struct rlimit limit = {2 << 20, 2 << 20};
    struct made_up m = {.random = 3}, again = {.random = 3};
    struct trace_op got, wanted;
    struct stat s;
    int error = 0, n = 0;
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct trace_writer *w = trace_create(trace_path(), "{}", why, sizeof why);
    EXPECT(w != NULL);
    for (int i = 0; error == 0 && i < 40 * TRACE_BLOCK_OPS; i++) {
        wanted = next_made_up(&m);
        error = trace_put(w, &wanted);
    }
    EXPECT_EQ(error, -EFBIG);
    EXPECT_EQ(trace_put(w, &wanted), -EFBIG);
    EXPECT_EQ(trace_finish(w, 0), -EFBIG);
    EXPECT_EQ(stat(trace_path(), &s), 0);
    EXPECT(s.st_size < 2 << 20);
    struct trace *t = trace_open(trace_path(), NULL, why, sizeof why);
    EXPECT(t != NULL);
    while (trace_next(t, &got, why, sizeof why) == 1) {
        wanted = next_made_up(&again);
        EXPECT(same_op(&got, &wanted));
        n++;
    }
    EXPECT(trace_was_cut(t));
    EXPECT(n > 0 && n % TRACE_BLOCK_OPS == 0);
    trace_close(t);
    unlink(trace_path());
}

TEST(no_room_on_the_device)
{
    EXPECT(trace_create("/dev/full", "{}", why, sizeof why) == NULL);
    EXPECT(strcmp(why, "No space left on device") == 0);
}

TEST_MAIN()
