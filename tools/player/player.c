/* SPDX-License-Identifier: MIT
 * player.c - hakctl-player: plays a trace on the allocator that it runs on.
 *
 * It is started by hakctl-trace (play.h) and is of no use by hand.
 */
#include "player.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct player player;

/* ---- giving up ----------------------------------------------------------- */

/* One thread alone tells its fault. Returns for that one. */
static void be_first(void)
{
    static _Atomic bool told;
    if (atomic_exchange(&told, true))
        for (;;)
            pause();
}

__attribute__((noreturn)) static void end_with(uint32_t fault)
{
    atomic_store(&player.control->error.fault, fault);
    _exit(3);
}

void play_give_up(const char *format, ...)
{
    va_list ap;
    be_first();
    va_start(ap, format);
    vsnprintf(player.control->error.text, sizeof player.control->error.text,
              format, ap);
    va_end(ap);
    end_with(PLAY_BROKEN);
}

void play_fail(const struct worker *me, const struct play_error *error)
{
    be_first();
    player.control->error = *error;
    player.control->error.thread = me->thread;
    end_with(error->fault);
}

/* ---- memory -------------------------------------------------------------- */

void *play_map(uint64_t bytes, bool at_once)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE |
                       (at_once ? MAP_POPULATE : 0),
                   -1, 0);
    if (p == MAP_FAILED)
        play_give_up("cannot map %llu bytes: %s; is address space limited "
                     "(ulimit -v)?",
                     (unsigned long long)bytes, strerror(errno));
    return p;
}

static void *map_file(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_POPULATE, STDIN_FILENO, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Map the file. Returns false: standard input is none of hakctl-trace. */
static bool find_control(void)
{
    struct play_control *c = map_file(sizeof *c);
    if (c == NULL || c->magic != PLAY_MAGIC || c->version != PLAY_VERSION)
        return false;
    uint64_t bytes = c->bytes;
    munmap(c, sizeof *c);
    player.control = map_file(bytes);
    player.seats = (struct play_seat *)(player.control + 1);
    return player.control != NULL;
}

static void make_tables(void)
{
    const struct play_control *c = player.control;
    player.table = play_map(c->nslots * sizeof *player.table, true);
    if (c->check)
        player.checked = play_map(c->nslots * sizeof *player.checked, true);
    player.workers = play_map(c->nseats * sizeof *player.workers, true);
    for (uint32_t i = 0; i < c->nseats; i++) {
        player.workers[i].seat = &player.seats[i];
        player.workers[i].number = i;
    }
    play_make_stacks();
}

/* ---- whose malloc -------------------------------------------------------- */

#define MAKER_OF(function) maker_of((void *)(uintptr_t)(function))
static Dl_info maker_of(void *function)
{
    Dl_info info = {0};
    if (dladdr(function, &info) == 0 || info.dli_fname == NULL)
        info.dli_fname = "?";
    return info;
}

static void need_same(const char *name, const Dl_info *other,
                      const Dl_info *maker)
{
    if (other->dli_fbase != maker->dli_fbase)
        play_give_up("malloc is that of %s, but %s is that of %s",
                     maker->dli_fname, name, other->dli_fname);
}

/* See which library serves malloc. All functions that are called have to be of
 * the same one. */
static void look_at_maker(void)
{
    struct play_control *c = player.control;
    const Dl_info maker = MAKER_OF(malloc), libc = MAKER_OF(getenv);
    const Dl_info usable = MAKER_OF(malloc_usable_size);
    const Dl_info other[] = {MAKER_OF(calloc), MAKER_OF(realloc),
                             MAKER_OF(posix_memalign), MAKER_OF(free)};
    static const char *const names[] = {"calloc", "realloc", "posix_memalign",
                                        "free"};
    c->of_libc = maker.dli_fbase == libc.dli_fbase;
    snprintf(c->maker, sizeof c->maker, "%s", maker.dli_fname);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        need_same(names[i], &other[i], &maker);
    player.asks_usable = usable.dli_fbase == maker.dli_fbase;
}

int main(void)
{
    if (!find_control()) {
        static const char text[] =
            "hakctl-player is started by hakctl replay, not by hand\n";
        ssize_t n = write(STDERR_FILENO, text, sizeof text - 1);
        (void)n;
        return 2;
    }
    if (player.control->baseline) {
        player.control->private_bytes = play_private_bytes();
        player.control->file_bytes = play_file_bytes();
        return 0;
    }
    look_at_maker();
    make_tables();
    play_calibrate();
    if (!player.control->real_time)
        play_start_clock();
    player.control->state = PLAY_BEGUN;
    play_all();
}
