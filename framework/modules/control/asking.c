/* SPDX-License-Identifier: MIT
 * asking.c - the requests that change nothing: info, stats, show.
 */
#include "commands.h"

#include <base/os.h>
#include <conf/conf.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- info ---- */

static size_t read_file(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, bytes - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

/* Figures of /proc/self/stat; the numbers of proc(5). */
enum { MINOR_FAULTS = 10, MAJOR_FAULTS = 12, START_TICKS = 22 };

/* Field n of /proc/self/stat. Field 2, the program's name in parentheses, may
 * have blanks in it, so fields are counted from behind it. 0: unknown. */
static uint64_t stat_field(const char *text, int n)
{
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < n; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

/* That of the process is 0 once the main thread has ended by pthread_exit. */
static uint64_t resident_pages(void)
{
    char text[256];
    read_file("/proc/thread-self/statm", text, sizeof text);
    return strtoull(text + strcspn(text, " "), NULL, 10);
}

static uint64_t centiseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 100 + (uint64_t)t.tv_nsec / 10000000;
}

/* A fork's child has the memory of its parent and no start of its own in it, so
 * the time of the start comes from the kernel. It is printed as whole numbers,
 * since the program's locale may have another decimal point. */
static void info_process(struct hak_control_request *r)
{
    char text[1024];
    uint64_t uptime = 0;
    long ticks = sysconf(_SC_CLK_TCK);
    if (read_file("/proc/self/stat", text, sizeof text) != 0 && ticks > 0)
        uptime = centiseconds(CLOCK_BOOTTIME) -
                 stat_field(text, START_TICKS) * 100 / (uint64_t)ticks;
    print(r, ",\"uptime_s\":%lu.%02lu,\"start_time\":%lu,", uptime / 100,
          uptime % 100, (centiseconds(CLOCK_REALTIME) - uptime) / 100);
    print(r, "\"rss_bytes\":%lu,\"minor_faults\":%lu,\"major_faults\":%lu",
          resident_pages() * hak_os_page_bytes(),
          stat_field(text, MINOR_FAULTS), stat_field(text, MAJOR_FAULTS));
}

static void info_boxes(struct hak_control_request *r)
{
    struct hak_box_now box;
    uint64_t live = 0, mapped = 0;
    print(r, ",\"boxes\":[");
    for (uint32_t i = 0; r->host->box(i, &box) == 0; i++) {
        print(r, "%s{", i == 0 ? "" : ",");
        hak_control_box(r, &box);
        print(r, "}");
        live += box.live_bytes;
        mapped += box.mapped_bytes;
    }
    print(r, "],\"live_bytes\":%lu,\"mapped_bytes\":%lu", live, mapped);
}

void hak_control_info(struct hak_control_request *r)
{
    hak_control_begin(r);
    print(r, "\"pid\":%d,", (int)getpid());
    hak_control_member(r, "program", program_invocation_short_name);
    print(r, ",\"version\":\"" HAK_VERSION "\",\"build\":\"dlopened\",");
    hak_control_member(r, "conf", r->host->conf->file);
    print(r, ",");
    hak_control_member(r, "profile", r->host->conf->profile);
    print(r, ",");
    hak_control_member(r, "socket", r->self->socket);
    info_boxes(r);
    info_process(r);
    print(r, "}}");
}

/* ---- stats ---- */

/* The report's JSON is a line of its own, and is put into the reply as it is.
 * The text goes through a mapping of its own, since it is quoted. */
void hak_control_stats(struct hak_control_request *r)
{
    struct hak_control_reply text = {0};
    bool json = r->nwords == 1;
    int64_t n = -ENOSPC;
    if (!json && strcmp(r->word[1], "text") != 0) {
        hak_control_error(
            r->out, "\"%s\" is no form of stats; the word text is", r->word[1]);
        return;
    }
    for (size_t room = 64 << 10; n == -ENOSPC; room *= 2) {
        char *at = hak_control_room(&text, room);
        n = at != NULL ? r->host->report(at, room, json) : -ENOMEM;
    }
    if (n < 0)
        hak_control_refuse(r, (int)n);
    else if (json)
        print(r, "{\"ok\":%.*s}",
              (int)(n - (n > 0 && text.bytes[n - 1] == '\n')), text.bytes);
    else {
        print(r, "{\"ok\":");
        hak_control_quote(r->out, text.bytes);
        print(r, "}");
    }
    hak_control_free(&text);
}

/* ---- show ---- */

static void add_key(void *context, const struct hak_key *key)
{
    struct hak_control_request *r = context;
    print(r, "%s{", r->out->bytes[r->out->used - 1] == '[' ? "" : ",");
    hak_control_member(r, "section", key->section);
    print(r, ",");
    hak_control_member(r, "key", key->key);
    print(r, ",");
    hak_control_member(r, "value", key->value);
    print(r, ",");
    hak_control_member(r, "layer", key->layer);
    print(r, ",");
    hak_control_member(r, "file", key->file);
    print(r, ",\"line\":%d,\"settable\":%s,", key->line,
          key->settable ? "true" : "false");
    hak_control_member(r, "bounds", key->bounds);
    print(r, "}");
}

void hak_control_show(struct hak_control_request *r)
{
    print(r, "{\"ok\":[");
    r->host->changes->each_key(add_key, r);
    print(r, "]}");
}
