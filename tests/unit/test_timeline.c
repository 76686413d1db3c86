/* SPDX-License-Identifier: MIT
 * test_timeline.c - module "timeline" on a host that makes up its figures:
 * lines, merging, the file.
 */
#include "test.h"

#include <base/os.h>
#include <conf/conf.h>
#include <dirent.h>
#include <modules/timeline/timeline.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- the host ------------------------------------------------------------ */

enum { PERIOD_MS = 100 };

static struct {
    uint64_t calls; /* of space, each of which is a point */
    uint32_t nboxes;
    bool forking;
    char name[HAK_MAX_BOXES][64];
} world = {.nboxes = 2, .name = {"one", "two"}};

static int space(struct hak_space_now *out)
{
    if (world.forking)
        return -EAGAIN;
    world.calls++;
    *out = (struct hak_space_now){.used_bytes = 1000 + world.calls,
                                  .free_bytes = 500,
                                  .dirty_bytes = 100,
                                  .meta_bytes = 64,
                                  .purge_delay_ms = 10,
                                  .purged_bytes = world.calls * 3,
                                  .maps = world.calls};
    return 0;
}

static int box(uint32_t n, struct hak_box_now *out)
{
    if (n >= world.nboxes)
        return -ENOENT;
    *out = (struct hak_box_now){.live_count = world.calls,
                                .live_bytes = world.calls * 16,
                                .mapped_bytes = 1000,
                                .cached_bytes = 10 + n,
                                .allocs = world.calls * (n + 2),
                                .frees = world.calls * (n + 1)};
    snprintf(out->name, sizeof out->name, "%s", world.name[n]);
    return 0;
}

static int classes(uint32_t n, struct hak_class out[HAK_CLASSES_ROOM])
{
    memset(out, 0, HAK_CLASSES_ROOM * sizeof *out);
    out[0] = (struct hak_class){16, world.calls, 1, world.calls, 16, 900, 2};
    out[2] = (struct hak_class){48, 7 + n, 6, 5, 4, 3, 2};
    return 3; /* the second was never used */
}

static int64_t resident(void)
{
    return 4096 * 5;
}

static struct hak_conf conf = {.stats_every_ms = PERIOD_MS};
static const struct hak_module_host host = {
    .conf = &conf,
    .box = box,
    .classes = classes,
    .space = space,
    .resident = resident,
};

/* ---- a log on it --------------------------------------------------------- */

static char folder[] = "/tmp/hakmem-test-XXXXXX", path[64], said[512];
static struct timeline_log timeline;
static uint64_t now_ms;
static uint32_t nsaid;

static void tell(const char *file, const char *what, const char *why)
{
    nsaid++;
    snprintf(said, sizeof said, "%s %s: %s", file, what, why);
}

static void clean(void)
{
    char file[512];
    DIR *d = opendir(folder);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        snprintf(file, sizeof file, "%s/%s", folder, e->d_name);
        unlink(file);
    }
    rmdir(folder);
}

static void make_folder(void)
{
    if (strstr(folder, "XXXXXX") == NULL)
        return;
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/t.timeline", folder);
}

static void start(uint32_t points_most)
{
    make_folder();
    timeline.host = &host;
    timeline.tell = tell;
    timeline.file.name = path;
    timeline.file.points_most = points_most;
    timeline_log_start(&timeline);
}

static void write_point(bool all, bool last)
{
    now_ms += PERIOD_MS;
    timeline_log_write(&timeline, now_ms, (struct timeline_extra){all, all},
                       last);
}

/* ---- events come at the time that the clock says ---- */

static void start_by_clock(uint32_t points_most)
{
    start(points_most);
    timeline.start_ms = hak_os_now_us() / 1000;
}

static uint64_t clock_ms(void)
{
    return hak_os_now_us() / 1000 - timeline.start_ms;
}

static void write_by_clock(uint64_t at_ms)
{
    timeline_log_write(&timeline, at_ms, (struct timeline_extra){false, false},
                       false);
}

static void note(const char *text)
{
    const struct hak_event event = {"route", text};
    timeline_event(&event);
}

/* ---- reading it back ----------------------------------------------------- */

static char file_bytes[16 << 20];
static struct timeline_point point;

/* The sums over all points of a file, and whether it is in order. */
struct summary {
    uint32_t npoints, nevents, nheaders, nnames;
    uint32_t nsingle; /* points that were never merged */
    uint64_t span_ms, purged, allocs, last_t, last_span, dropped;
    bool ended;
};

static void take_line(struct summary *s, const char *line)
{
    uint64_t t = strtoull(line + strlen("{\"t\":"), NULL, 10);
    const char *dropped = strstr(line, "\"event\":\"dropped\",\"text\":\"");
    if (strncmp(line, "{\"hakmem_timeline\":1,", 21) == 0) {
        s->nheaders++;
        return;
    }
    if (strncmp(line, "{\"box\":", 7) == 0) {
        s->nnames++;
        return;
    }
    EXPECT_GE(t, s->last_t);
    s->last_t = t;
    if (strstr(line, ",\"span_ms\":") != NULL) {
        EXPECT(timeline_read_point(line, &point));
        s->npoints++;
        s->nsingle += point.of[TIMELINE_span_ms] == PERIOD_MS;
        s->span_ms += s->last_span = point.of[TIMELINE_span_ms];
        s->purged += point.of[TIMELINE_purged];
        for (uint32_t i = 0; i < point.nboxes; i++)
            s->allocs += point.box[i].of[TIMELINE_allocs];
    } else if (dropped != NULL) {
        s->dropped += strtoull(strchr(dropped + 25, '"') + 1, NULL, 10);
    } else if (strstr(line, "\"event\":") != NULL) {
        s->nevents++;
    } else {
        EXPECT_CONTAINS(line, "\"end\":\"exit\"}");
        s->ended = true;
    }
}

static const char *read_file(const char *name)
{
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, file_bytes, sizeof file_bytes - 1);
    EXPECT_GT(n, 0);
    file_bytes[n] = 0;
    close(fd);
    return file_bytes;
}

static struct summary summary(void)
{
    static char copy[sizeof file_bytes];
    struct summary s = {0};
    snprintf(copy, sizeof copy, "%s", read_file(path));
    EXPECT_EQ(copy[strlen(copy) - 1], '\n');
    for (char *line = strtok(copy, "\n"); line != NULL;
         line = strtok(NULL, "\n"))
        take_line(&s, line);
    EXPECT_EQ(s.nheaders, 1);
    return s;
}

/* ---- lines --------------------------------------------------------------- */

static const char whole_line[] =
    "{\"t\":200,\"span_ms\":100,\"rss\":7,\"file\":6,\"minflt\":5,\"majflt\":4,"
    "\"libc_allocs\":3,\"meta\":2,\"window\":{\"used\":10,\"free\":20,\"dirty\""
    ":30,\"delay_ms\":40,\"resident\":50},\"purged\":1,\"purges\":2,\"maps\":3,"
    "\"unmaps\":4,\"boxes\":[{\"live\":1,\"live_count\":2,\"mapped\":3,"
    "\"cached\":4,\"allocs\":5,\"frees\":6,\"classes\":[[1,2,3,4,5,6,7],[8,9,10"
    ",11,12,13,14]]},{\"live\":100,\"live_count\":0,\"mapped\":0,\"cached\":0,"
    "\"allocs\":18446744073709551614,\"frees\":0}],\"most\":{\"rss\":9,\"live\""
    ":8,\"mapped\":7}}\n";

static const char *line_of(const struct timeline_point *p)
{
    static char bytes[TIMELINE_LINE_BYTES + 1];
    struct timeline_text t = {.bytes = bytes, .room = sizeof bytes - 1};
    timeline_add_point(&t, p);
    EXPECT(!t.full);
    bytes[t.used] = 0;
    return bytes;
}

TEST(a_line_is_read_as_it_was_written)
{
    EXPECT(timeline_read_point(whole_line, &point));
    EXPECT_EQ(point.nboxes, 2);
    EXPECT_EQ(point.nrows, 2);
    EXPECT_EQ(point.of[TIMELINE_resident], 50);
    EXPECT_EQ(point.of[TIMELINE_most_mapped], 7);
    EXPECT_EQ(point.row[1][6], 14);
    EXPECT(timeline_read_point(line_of(&point), &point));
    EXPECT_STR(line_of(&point),
               "{\"t\":200,\"span_ms\":100,\"rss\":7,\"file\":6,\"minflt\":5,"
               "\"majflt\":4,\"libc_allocs\":3,\"meta\":2,\"window\":{\"used\":"
               "10,\"free\":20,\"dirty\":30,\"delay_ms\":40,\"resident\":50},"
               "\"purged\":1,\"purges\":2,\"maps\":3,\"unmaps\":4,\"most\":{"
               "\"rss\":9,\"live\":8,\"mapped\":7},\"boxes\":[{\"live\":1,"
               "\"live_count\":2,\"mapped\":3,\"cached\":4,\"allocs\":5,"
               "\"frees\":6,\"classes\":[[1,2,3,4,5,6,7],[8,9,10,11,12,13,14]]}"
               ",{\"live\":100,\"live_count\":0,\"mapped\":0,\"cached\":0,"
               "\"allocs\":18446744073709551614,\"frees\":0}]}\n");
}

TEST(a_part_of_a_line_is_no_point)
{
    static char part[sizeof whole_line];
    for (size_t n = 0; n < strlen(whole_line) - 1; n++) {
        snprintf(part, sizeof part, "%.*s", (int)n, whole_line);
        EXPECT(!timeline_read_point(part, &point));
    }
    EXPECT(!timeline_read_point("{\"t\":1,\"event\":\"x\",\"text\":\"\"}",
                                &point));
    EXPECT(!timeline_read_point("{\"t\":1,\"end\":\"exit\"}", &point));
}

/* Each number that was not measured is left out, with its object. */
TEST(what_was_not_measured_is_left_out)
{
    timeline_clear(&point);
    point.of[TIMELINE_t] = 5;
    point.of[TIMELINE_span_ms] = 3;
    EXPECT_STR(line_of(&point), "{\"t\":5,\"span_ms\":3,\"boxes\":[]}\n");
    EXPECT(timeline_read_point(line_of(&point), &point));
    EXPECT(point.of[TIMELINE_rss] == TIMELINE_UNKNOWN);
}

TEST(without_room_the_classes_go_first)
{
    static char bytes[sizeof whole_line];
    struct timeline_text t = {.bytes = bytes, .room = strlen(whole_line) - 1};
    EXPECT(timeline_read_point(whole_line, &point));
    timeline_add_point(&t, &point);
    EXPECT(!t.full);
    bytes[t.used] = 0;
    EXPECT(strstr(bytes, "classes") == NULL);
    EXPECT(timeline_read_point(bytes, &point));
    t.used = 0;
    t.room = 100;
    timeline_add_point(&t, &point);
    EXPECT(t.full);
    EXPECT_EQ(t.used, 0);
}

TEST(texts_become_json)
{
    char bytes[128] = "";
    struct timeline_text t = {.bytes = bytes, .room = sizeof bytes - 1};
    timeline_add_quoted(&t, "a\"b\\c\n\x01 \xc3\xa9 \xff\xc3");
    EXPECT_STR(bytes, "\"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9 \\ufffd\\ufffd\"");
}

/* ---- merging ------------------------------------------------------------- */

static struct timeline_point late;

TEST(two_points_become_one)
{
    EXPECT(timeline_read_point(whole_line, &point));
    EXPECT(timeline_read_point(whole_line, &late));
    point.of[TIMELINE_most_rss] = TIMELINE_UNKNOWN; /* it was never merged */
    late.of[TIMELINE_t] = 300;
    late.of[TIMELINE_rss] = 3;
    late.of[TIMELINE_resident] = TIMELINE_UNKNOWN;
    late.of[TIMELINE_majflt] = 40;
    late.box[0].of[TIMELINE_live] = 11;
    late.nrows = late.box[0].nrows = 0;
    late.nboxes = 3; /* one came */
    late.box[2].of[TIMELINE_allocs] = 5;
    timeline_merge_points(&point, &late);
    EXPECT_EQ(point.of[TIMELINE_t], 300);
    EXPECT_EQ(point.of[TIMELINE_span_ms], 200);
    EXPECT_EQ(point.of[TIMELINE_rss], 3);
    EXPECT_EQ(point.of[TIMELINE_resident], 50);
    EXPECT_EQ(point.of[TIMELINE_majflt], 44);
    EXPECT_EQ(point.of[TIMELINE_most_rss], 9);
    EXPECT_EQ(point.of[TIMELINE_most_live], 101);
    EXPECT_EQ(point.of[TIMELINE_most_mapped], 30);
    EXPECT_EQ(point.nboxes, 3);
    EXPECT_EQ(point.box[0].of[TIMELINE_live], 11);
    EXPECT_EQ(point.box[0].of[TIMELINE_allocs], 10);
    EXPECT_EQ(point.box[2].of[TIMELINE_allocs], 5);
    EXPECT_EQ(point.box[0].nrows, 2); /* those of the earlier stay */
}

/* Nothing that was counted is lost, the latest points stay as they are, and
 * the file has an end. */
TEST(a_hundred_thousand_periods_fit)
{
    enum { PERIODS = 100000 };
    struct stat f;
    start(TIMELINE_POINTS_MOST);
    uint64_t before = world.calls;
    for (uint32_t i = 0; i < PERIODS; i++) {
        write_point(i % 8 == 0, false);
        EXPECT_LT(timeline.file.npoints, TIMELINE_POINTS_MOST);
    }
    struct summary s = summary();
    EXPECT_EQ(s.npoints, timeline.file.npoints);

    EXPECT_GT(s.npoints, TIMELINE_POINTS_MOST / 2);
    EXPECT_EQ(s.span_ms, (uint64_t)PERIODS * PERIOD_MS);
    EXPECT_EQ(s.last_t, (uint64_t)PERIODS * PERIOD_MS);
    EXPECT_EQ(s.last_span, PERIOD_MS);
    EXPECT_GE(s.nsingle, TIMELINE_POINTS_MOST / 2);
    EXPECT_EQ(s.purged, (world.calls - before) * 3);
    EXPECT_EQ(s.allocs, (world.calls - before) * (2 + 3));
    EXPECT_EQ(stat(path, &f), 0);
    EXPECT_EQ((uint64_t)f.st_size, timeline.file.size_bytes);
    EXPECT_LT(f.st_size, 4 << 20);
    EXPECT_EQ(nsaid, 0);
    clean();
}

TEST(the_oldest_events_are_counted_only)
{
    start_by_clock(200);
    for (uint32_t i = 0; i < TIMELINE_EVENTS_MOST * 2; i++) {
        note("event");
        if (i % 16 == 15)
            write_by_clock(clock_ms());
    }
    struct summary s = summary();
    EXPECT_EQ(s.nevents + s.dropped, TIMELINE_EVENTS_MOST * 2);
    EXPECT_GE(s.nevents, TIMELINE_EVENTS_KEPT);
    EXPECT_LT(s.nevents, TIMELINE_EVENTS_MOST);
    clean();
}

TEST(an_event_that_comes_meanwhile_is_for_the_next_point)
{
    start_by_clock(1000);
    note("early");
    usleep(2000);
    uint64_t between_ms = clock_ms();
    usleep(2000);
    note("late");
    write_by_clock(between_ms);
    EXPECT_EQ(summary().nevents, 1);
    write_by_clock(clock_ms());
    EXPECT_EQ(summary().nevents, 2);
    clean();
}

/* ---- points -------------------------------------------------------------- */

TEST(events_that_do_not_fit_are_counted)
{
    start_by_clock(1000);
    for (int i = 0; i < 100; i++)
        note("many \"events\"");
    write_by_clock(clock_ms());
    note("one more");
    write_by_clock(clock_ms());
    struct summary s = summary();
    EXPECT_EQ(s.nevents, 65);
    EXPECT_EQ(s.dropped, 36);
    EXPECT_CONTAINS(read_file(path), "\"text\":\"many \\\"events\\\"\"}\n");
    clean();
}

TEST(boxes_come_and_count_anew)
{
    start(1000);
    write_point(true, false);
    snprintf(world.name[2], sizeof world.name[2], "th\"ree");
    world.nboxes = 3;
    write_point(true, false);
    world.calls = 0; /* as if the boxes were others of their names */
    write_point(false, true);
    struct summary s = summary();
    EXPECT_EQ(s.nnames, 1);
    EXPECT(s.ended);
    EXPECT_CONTAINS(read_file(path), "\"boxes\":[\"one\",\"two\"]}\n");
    EXPECT_CONTAINS(file_bytes, "{\"box\":\"th\\\"ree\",\"t\":200}\n{\"t\":");
    EXPECT_CONTAINS(file_bytes, "\"resident\":20480");
    EXPECT_CONTAINS(file_bytes, ",\"classes\":[[16,3,16,900,2,3,1],"
                                "[48,5,4,3,2,7,6]]");
    EXPECT_EQ(point.nboxes, 3);
    EXPECT_EQ(point.box[1].of[TIMELINE_allocs], 3);
    clean();
}

TEST(more_boxes_than_names)
{
    start(1000);
    for (int i = 0; i < 100; i++) {
        snprintf(world.name[1], sizeof world.name[1], "box%d", i);
        write_point(true, false);
    }
    struct summary s = summary();
    EXPECT_EQ(s.npoints, 100);
    EXPECT_EQ(point.nboxes, TIMELINE_NAMES);
    EXPECT_EQ(point.box[TIMELINE_NAMES - 1].of[TIMELINE_mapped], 1000);
    EXPECT_CONTAINS(read_file(path), "{\"box\":\"(others)\",");
    clean();
}

TEST(during_a_fork_there_is_no_point)
{
    start(1000);
    write_point(false, false);
    world.forking = true;
    write_point(false, false);
    world.forking = false;
    write_point(false, false);
    struct summary s = summary();
    EXPECT_EQ(s.npoints, 2);
    EXPECT_EQ(s.last_span, 2 * PERIOD_MS);
    clean();
}

/* ---- the file ------------------------------------------------------------ */

static void put(const char *text)
{
    make_folder();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

TEST(the_file_of_an_earlier_run_is_replaced)
{
    put("{\"hakmem_timeline\":1,\"pid\":1}\nold\n");
    int reader = open(path, O_RDONLY);
    start(1000);
    write_point(false, true);
    EXPECT(summary().ended);
    char bytes[8] = "";
    EXPECT_EQ(pread(reader, bytes, 3, 30), 3); /* who reads it still can */
    EXPECT_STR(bytes, "old");
    clean();
}

TEST(another_file_is_left_alone)
{
    put("precious\n");
    start(1000);
    write_point(false, false);
    EXPECT_STR(read_file(path), "precious\n");
    EXPECT_CONTAINS(said, "/t.timeline cannot be opened: exists and is no "
                          "timeline; remove it, or choose another name");
    EXPECT_EQ(nsaid, 1);
    unlink(path);
    write_point(false, false);
    EXPECT_EQ(summary().npoints, 1);
    clean();
}

TEST(a_link_is_not_followed)
{
    make_folder();
    EXPECT_EQ(symlink("elsewhere", path), 0);
    start(1000);
    EXPECT_CONTAINS(said, "cannot be opened: is a link");
    clean();
}

TEST(the_file_of_a_running_process_is_left_alone)
{
    static const char old[] = "{\"hakmem_timeline\":1,\"pid\":1}\n";
    char own[128];
    put(old);
    int fd = open(path, O_RDONLY);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    start(1000);
    write_point(false, true);
    EXPECT_STR(read_file(path), old);
    snprintf(own, sizeof own, "%s/t.%d.timeline", folder, (int)getpid());
    EXPECT_STR(timeline.file.path, own);
    EXPECT_CONTAINS(read_file(own), "\"end\":\"exit\"}\n");
    EXPECT_EQ(nsaid, 0);
    clean();
}

TEST(names_with_and_without_a_process_id)
{
    static const struct {
        const char *name, *wanted;
        bool child;
    } cases[] = {
        {"a", "a", false},
        {"a", "a.PID", true},
        {"a.b/c", "a.b/c.PID", true},
        {"a.b.c", "a.b.PID.c", true},
        {"%p-x", "PID-x", false},
        {"x/%p.t", "x/PID.t", true},
    };
    char name[128], wanted[128], pid[16];
    make_folder();
    snprintf(name, sizeof name, "%s/a.b", folder);
    EXPECT_EQ(mkdir(name, 0700), 0);
    snprintf(name, sizeof name, "%s/x", folder);
    EXPECT_EQ(mkdir(name, 0700), 0);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *mark = strstr(cases[i].wanted, "PID");
        size_t n = mark != NULL ? (size_t)(mark - cases[i].wanted)
                                : strlen(cases[i].wanted);
        snprintf(name, sizeof name, "%s/%s", folder, cases[i].name);
        snprintf(wanted, sizeof wanted, "%s/%.*s%s%s", folder, (int)n,
                 cases[i].wanted, mark != NULL ? pid : "",
                 mark != NULL ? mark + 3 : "");
        timeline.file.name = name;
        timeline.file.is_child = cases[i].child;
        timeline.host = &host;
        timeline.tell = tell;
        timeline_log_start(&timeline);
        EXPECT_STR(timeline.file.path, wanted);
        EXPECT_EQ(unlink(wanted), 0);
        timeline_file_close(&timeline.file);
    }
    snprintf(name, sizeof name, "%s/a.b", folder);
    rmdir(name);
    snprintf(name, sizeof name, "%s/x", folder);
    rmdir(name);
    clean();
}

/* Whole lines only, and what was counted meanwhile is in the next point. */
TEST(a_full_disk_costs_points_only)
{
    struct rlimit all, few;
    start(1000);
    write_point(false, false);
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &all), 0);
    few = (struct rlimit){timeline.file.size_bytes + 100, all.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &few), 0);
    for (int i = 0; i < 5; i++)
        write_point(false, false);
    EXPECT_EQ(summary().npoints, 1);
    EXPECT_CONTAINS(said, "cannot be written: File too large");
    EXPECT_EQ(nsaid, 1);
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &all), 0);
    write_point(false, false);
    struct summary s = summary();
    EXPECT_EQ(s.npoints, 2);
    EXPECT_EQ(s.last_span, 6 * PERIOD_MS);
    EXPECT_EQ(s.span_ms, 7 * PERIOD_MS);
    clean();
}

/* The old file stays whole, no other is left, and points do not end. */
TEST(a_merge_that_fails_changes_nothing)
{
    start(100);
    for (int i = 0; i < 99; i++)
        write_point(false, false);
    EXPECT_EQ(chmod(folder, 0500), 0);
    if (geteuid() == 0) /* it may write there all the same */
        EXPECT_EQ(seteuid(65534), 0);
    for (int i = 0; i < 500; i++)
        write_point(false, false);
    seteuid(0);
    EXPECT_EQ(chmod(folder, 0700), 0);
    EXPECT_CONTAINS(said, "cannot be made shorter: Permission denied");
    EXPECT_EQ(nsaid, 1);
    struct summary s = summary();
    EXPECT_EQ(s.npoints, 200);
    for (int i = 0; i < 100; i++)
        write_point(false, false);
    s = summary();
    EXPECT_LT(s.npoints, 200);
    EXPECT_EQ(s.span_ms, (99 + 500 + 100) * PERIOD_MS);
    clean();
}

TEST(a_file_that_was_removed_begins_anew)
{
    start(1000);
    write_point(false, false);
    EXPECT_EQ(unlink(path), 0);
    write_point(false, false);
    EXPECT_EQ(summary().npoints, 1);
    EXPECT_EQ(truncate(path, 0), 0);
    write_point(false, false);
    EXPECT_EQ(summary().npoints, 1);
    EXPECT_EQ(nsaid, 0);
    clean();
}

TEST_MAIN()
