/* SPDX-License-Identifier: MIT
 * events.c - changes of the process that wait for the next point.
 *
 * Any thread notes an event, perhaps inside of malloc; the module's thread
 * writes them. So they wait in a ring that costs neither memory nor system
 * calls. If it is full, events are counted only.
 */
#include "timeline.h"

#include <base/os.h>
#include <base/text.h>
#include <kit/sync.h>

#include <string.h>

enum { ROOM = 64 };

struct noted {
    uint64_t at_ms; /* hak_os_now_us() / 1000 */
    char kind[16], text[304];
};

/* Guarded by lock. */
static struct {
    struct hak_lock lock;
    uint32_t first, n; /* of the ring */
    uint64_t ndropped;
    struct noted ring[ROOM];
} events;

static void copy(char *out, size_t bytes, const char *text)
{
    hak_text_copy(out, bytes, text, strlen(text));
}

void timeline_event(const struct hak_event *event)
{
    hak_lock_take(&events.lock);
    /* With the lock held, so that the times in the ring are in order, and none
     * is before the point that was written last. */
    uint64_t now_ms = hak_os_now_us() / 1000;
    if (events.n == ROOM) {
        events.ndropped++;
    } else {
        struct noted *e = &events.ring[(events.first + events.n++) % ROOM];
        e->at_ms = now_ms;
        copy(e->kind, sizeof e->kind, event->kind);
        copy(e->text, sizeof e->text, event->text);
    }
    hak_lock_drop(&events.lock);
}

static void add_line(struct timeline_text *t, uint64_t at_ms, const char *kind,
                     const char *text)
{
    timeline_add(t, "{\"t\":");
    timeline_add_number(t, at_ms);
    timeline_add(t, ",\"event\":");
    timeline_add_quoted(t, kind);
    timeline_add(t, ",\"text\":");
    timeline_add_quoted(t, text);
    timeline_add(t, "}\n");
}

/* Events that come while the point is written are for the next point, so that
 * lines are in order. */
struct timeline_taken timeline_events_add(struct timeline_text *t,
                                          uint64_t start_ms, uint64_t now_ms)
{
    struct timeline_taken taken = {0};
    char text[48], digits[24];
    hak_lock_take(&events.lock);
    for (; taken.n < events.n; taken.n++) {
        const struct noted *e = &events.ring[(events.first + taken.n) % ROOM];
        if (e->at_ms > start_ms + now_ms)
            break;
        add_line(t, e->at_ms - hak_min(start_ms, e->at_ms), e->kind, e->text);
    }
    taken.ndropped = events.ndropped;
    hak_lock_drop(&events.lock);
    if (taken.ndropped == 0)
        return taken;
    hak_text_join(text, sizeof text, hak_text_number(digits, taken.ndropped),
                  " events");
    add_line(t, now_ms, "dropped", text);
    return taken;
}

void timeline_events_written(struct timeline_taken taken)
{
    hak_lock_take(&events.lock);
    events.first = (events.first + taken.n) % ROOM;
    events.n -= taken.n;
    events.ndropped -= taken.ndropped;
    hak_lock_drop(&events.lock);
}

/*
 * The lock is not taken for a fork, as that of other modules. A caller of
 * timeline_event may hold the lock of a module that was opened before or after
 * this one, so there is no order in which fork could take both. In the child
 * the ring is made anew, whoever held the lock, unless the forking thread does:
 * then a signal handler forks that has interrupted timeline_event, and that
 * call goes on.
 */
void timeline_events_forget(void)
{
    if (hak_lock_is_mine(&events.lock))
        return;
    events.first = events.n = 0;
    events.ndropped = 0;
    __atomic_store_n(&events.lock.word, 0, __ATOMIC_RELEASE);
}
