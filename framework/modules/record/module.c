/* SPDX-License-Identifier: MIT
 * module.c - module "record": hands each call of malloc and free to hakctl
 * record, which writes them as a trace.
 *
 * It begins at start, if the key `ring` names the memory of a hakctl record, or
 * when the module control asks for it. Whatever is wrong with that memory, the
 * program runs as without it.
 *
 * A child of fork goes on in the same memory with rings of its own. A child of
 * vfork runs in the memory of its parent, whose thread waits for it, and puts
 * its calls into that thread's ring. A program that another one calls by exec
 * begins anew, by the environment.
 */
#include "record_module.h"

#include <base/log.h>
#include <base/why.h>
#include <conf/conf.h>
#include <kit/sync.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static bool is_recording(void)
{
    return __atomic_load_n(&hak_record_self.recording, __ATOMIC_ACQUIRE);
}

/* ---- extension ---- */

/* The writer ends with it, even if another process asked for it. */
static int stop_by_control(char *why, size_t n)
{
    if (!is_recording())
        return hak_refuse(-EINVAL, why, n, "nothing is recorded");
    hak_record_end(true);
    hak_record_leave(1000);
    return 0;
}

static void add_state(const struct hak_report_part *to)
{
    to->add(to->report, "\"recording\":%s,\"lost\":%" PRIu64,
            is_recording() ? "true" : "false",
            hak_counted(&hak_record_self.nlost));
}

static const struct hak_record_1 table = {
    .start = hak_record_begin,
    .stop = stop_by_control,
    .state = add_state,
};

static const void *extension(const char *id)
{
    return strcmp(id, HAK_RECORD_1) == 0 ? &table : NULL;
}

/* ---- the module ---- */

static int start(const struct hak_module_host *host)
{
    hak_record_self.host = host;
    return 0;
}

static void run(void)
{
    char why[256];
    const char *ring = hak_record_self.host->conf->record_ring;
    bool first = hak_record_self.pid == 0;
    hak_record_self.pid = getpid();
    if (!first)
        hak_record_forked();
    else if (strcmp(ring, "none") != 0 &&
             hak_record_begin(ring, why, sizeof why) != 0)
        hak_say("[record] ring = %s: %s; nothing is recorded", ring, why);
}

/* The memory is left on a slow path, when no thread is in the module. */
static void slow_path(void)
{
    int kept = errno;
    if (!hak_record_leave(0))
        hak_record_self.host->want(hak_record_self.host);
    errno = kept;
}

static void thread_ended(void **word)
{
    struct record_thread *th = *word;
    if (th == NULL || hak_record_self.page == NULL)
        return;
    __atomic_store_n(&th->busy, 1, __ATOMIC_SEQ_CST);
    uint64_t process = hak_record_process_now();
    if (process != 0 && process == th->process) {
        hak_record_tell_lost();
        __atomic_store_n(&th->ring->ended, 1, __ATOMIC_RELEASE);
    }
    th->process = 0;
    __atomic_store_n(&th->busy, 0, __ATOMIC_RELEASE);
}

/* The rings stay: other threads still run, and so do destructors of other
 * libraries. */
static void stop(void)
{
    void **word = hak_record_self.host->slot(hak_record_self.host);
    if (hak_record_self.pid != getpid() || word == NULL || !is_recording())
        return;
    hak_record_put_all_touched(word);
    hak_record_tell_lost();
}

HAK_MODULE(record) = {
    HAK_MODULE_HEADER("record"),
    .start = start,
    .extension = extension,
    .run = run,
    .stop = stop,
    .slow_path = slow_path,
    .thread_ended = thread_ended,
};
