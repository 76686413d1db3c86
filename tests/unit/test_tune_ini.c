/* SPDX-License-Identifier: MIT
 * test_tune_ini.c - what hakctl tune writes: the base with other lines.
 */
#include "random.h"
#include "test.h"

#include <base/text.h>
#include <hakctl.h>
#include <trace/tune.h>

#include <sys/stat.h>

/* What tools/hakctl.c has. */
void ctl_die(const char *format, ...)
{
    fprintf(stderr, "%s\n", format);
    exit(1);
}

/* ---- a base -------------------------------------------------------------- */

static const char base_text[] = "; A base.\n"
                                "[core]\n"
                                "purge_delay_ms = 100   ; a while\n"
                                "[box ultra]\n"
                                "warm = 2M\n"
                                "; Its own comment.\n"
                                "[box midmt]\n"
                                "[box own]\n"
                                "path = boxes/own.so\n"
                                "[policy]\n"
                                "C0-C5,C7 = ultra  ; most\n"
                                "C6 = own\n"
                                "1025-256k = midmt\n"
                                "; Sets of keys.\n"
                                "[profile some]\n"
                                "core.purge_delay_ms = 1\n";

static char folder[] = "/tmp/test_tune_ini-XXXXXX";
static struct hak_conf conf, again;
static struct tune_base_ini base;
static struct tune_space space;

static void write_file(const char *name, const char *text)
{
    FILE *out = fopen(name, "w");
    EXPECT(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0);
}

static void say(void *context, enum hak_diag_level level, const char *file,
                int line, const char *text)
{
    (void)context;
    (void)level;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
}

static void add_values(struct tune_knob *k, size_t n, const char *const *values)
{
    k->n = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        k->value[i] = strdup(values[i]);
}

static void add_key(const char *section, const char *key, const char *usual,
                    const char *other)
{
    struct tune_knob *k = &space.knob[space.n++];
    k->section = strdup(section);
    k->key = strdup(key);
    add_values(k, 2, (const char *const[]){usual, other});
}

static void add_route(uint32_t first, uint32_t last, const char *usual,
                      const char *a, const char *b)
{
    struct tune_knob *k = &space.knob[space.n++];
    k->route = true;
    k->first = first;
    k->last = last;
    add_values(k, 3, (const char *const[]){usual, a, b});
}

enum { PURGE, WARM, CARVE, C0, C1, C5, C6, C7, ABOVE, MID, NEW };

static void make_base(void)
{
    EXPECT(mkdtemp(folder) != NULL && chdir(folder) == 0);
    EXPECT(mkdir("boxes", 0700) == 0);
    write_file("boxes/own.so", "");
    write_file("base.ini", base_text);
    EXPECT_EQ(hak_conf_read(&conf, "base.ini", -1, NULL, NULL, say, NULL), 0);
    EXPECT_EQ(tune_base_read(&base, &conf), 0);
    add_key("core", "purge_delay_ms", "100", "1600");
    add_key("box ultra", "warm", "2M", "0");
    add_key("box ultra", "carve", "4k", "16k");
    add_route(0, 1, "ultra", "tiny", "own");
    add_route(2, 2, "ultra", "tiny", "own");
    add_route(17, 24, "ultra", "own", "midmt");
    add_route(25, 32, "own", "ultra", "midmt");
    add_route(33, 64, "ultra", "own", "midmt");
    add_route(65, 72, "midmt", "ultra", "own");
    add_route(73, 128, "midmt", "ultra", "own");
    add_key("box tiny", "carve", "4k", "1k");
}

static void clean_up(void)
{
    unlink("boxes/own.so");
    unlink("base.ini");
    unlink("new.ini");
    rmdir("boxes");
    rmdir(folder);
}

static void expect_text(const struct tune_choice *c, const char *head,
                        char *const *comment, const char *want)
{
    char *text = tune_ini_text(&base, &space, c, head, comment);
    char short_text[4096];
    hak_text_replace(short_text, sizeof short_text, text, folder, "FOLDER");
    EXPECT_STR(short_text, want);
    free(text);
}

/* ---- texts --------------------------------------------------------------- */

TEST(the_base_stays_as_it_is_but_for_profiles_and_relative_paths)
{
    make_base();
    struct tune_choice c = tune_base(&space);
    expect_text(&c, NULL, NULL,
                "; A base.\n"
                "[core]\n"
                "purge_delay_ms = 100   ; a while\n"
                "[box ultra]\n"
                "warm = 2M\n"
                "; Its own comment.\n"
                "[box midmt]\n"
                "[box own]\n"
                "path = FOLDER/boxes/own.so\n"
                "[policy]\n"
                "C0-C5,C7 = ultra  ; most\n"
                "C6 = own\n"
                "1025-256k = midmt\n");
    clean_up();
}

TEST(changed_lines_stand_where_they_were_with_what_they_gain_above)
{
    make_base();
    struct tune_choice c = tune_base(&space);
    c.at[PURGE] = c.at[WARM] = c.at[CARVE] = 1;
    c.at[C0] = c.at[C1] = 1;
    c.at[NEW] = 1;
    char *gains[] = {"gain 1", "gain 2", "gain 3", "gain 4",
                     "a gain that needs a good many words and many more of "
                     "them than go on a single line"};
    expect_text(&c, "; head\n", gains,
                "; head\n"
                "; A base.\n"
                "[core]\n"
                "; gain 1\n"
                "purge_delay_ms = 1600  ; a while\n"
                "[box ultra]\n"
                "; gain 3\n"
                "carve = 16k\n"
                "; gain 2\n"
                "warm = 0\n"
                "; Its own comment.\n"
                "[box midmt]\n"
                "[box own]\n"
                "path = FOLDER/boxes/own.so\n"
                "[policy]\n"
                "C2-C5,C7 = ultra  ; most\n"
                "; gain 4\n"
                "C0-C1 = tiny\n"
                "C6 = own\n"
                "1025-256k = midmt\n"
                "\n"
                "[box tiny]\n"
                "; a gain that needs a good many words and many more of them "
                "than go on a single\n"
                "; line\n"
                "carve = 1k\n");
    clean_up();
}

TEST(a_box_that_nothing_leads_to_goes_with_its_lines)
{
    make_base();
    struct tune_choice c = tune_base(&space);
    c.at[C6] = 1;
    expect_text(&c, NULL, NULL,
                "; A base.\n"
                "[core]\n"
                "purge_delay_ms = 100   ; a while\n"
                "[box ultra]\n"
                "warm = 2M\n"
                "; Its own comment.\n"
                "[box midmt]\n"
                "[policy]\n"
                "C0-C5,C7 = ultra  ; most\n"
                "C6 = ultra\n"
                "1025-256k = midmt\n");
    clean_up();
}

/* ---- any choice ---------------------------------------------------------- */

static const char *route_now(uint32_t index)
{
    return again.route[again.rule[again.index_rule[index]].route].name;
}

static void expect_routes(const struct tune_choice *c)
{
    for (size_t i = 0; i < space.n; i++) {
        const struct tune_knob *k = &space.knob[i];
        for (uint32_t x = k->first; k->route && x <= k->last; x++)
            EXPECT_STR(route_now(x), k->value[c->at[i]]);
    }
}

static void expect_keys(const struct tune_choice *c)
{
    for (size_t i = 0; i < space.n; i++) {
        const struct tune_knob *k = &space.knob[i];
        if (k->route || c->at[i] == k->usual)
            continue;
        const struct hak_conf_entry *e =
            hak_conf_find(&again, k->section, k->key);
        EXPECT(e != NULL);
        EXPECT_STR(e->value, k->value[c->at[i]]);
    }
}

TEST(any_choice_is_read_back_as_it_was)
{
    uint64_t random = 1;
    make_base();
    for (int turn = 0; turn < 300; turn++) {
        struct tune_choice c = tune_base(&space);
        for (size_t i = 0; i < space.n; i++)
            c.at[i] = (uint8_t)random_below(&random, space.knob[i].n);
        char *text = tune_ini_text(&base, &space, &c, NULL, NULL);
        write_file("new.ini", text);
        free(text);
        EXPECT_EQ(hak_conf_read(&again, "new.ini", -1, NULL, NULL, say, NULL),
                  0);
        expect_routes(&c);
        expect_keys(&c);
        /* Sizes that no knob has stay where they are. */
        EXPECT_STR(route_now(9), "ultra");
        EXPECT_EQ(again.index_rule[HAK_INDEX_LARGE], -1);
    }
    clean_up();
}

TEST_MAIN()
