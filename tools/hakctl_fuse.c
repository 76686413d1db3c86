/* SPDX-License-Identifier: MIT
 * hakctl_fuse.c - hakctl fuse: writes an INI as sources, for `make fused`.
 *
 * It reads and checks the INI as the core does, loads its boxes, and writes the
 * result as constants (core/state/fused.h). Files whose text has not changed
 * are left alone, so that make builds no more than it must.
 */
#include "hakctl.h"

#include <conf/conf.h>
#include <core/box/find.h>
#include <core/state/core.h>
#include <hakmem/version.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

struct fuse {
    const char *path, *profile, *dir;
    struct ctl_core core;
    char kind[HAK_MAX_BOXES][64]; /* name of the plugin, by position */
    bool failed;
};

/* The position of a box among the used ones. The others are left out. */
static uint32_t used_index(uint32_t box)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < box; i++)
        n += hak_conf.box[i].used;
    return n;
}

/* ---- can it be fused? ---------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
refuse(struct fuse *f, struct hak_origin where, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    ctl_print_finding(stderr, &(struct ctl_finding){HAK_DIAG_ERROR, where.file,
                                                    where.line, text});
    f->failed = true;
}

/* Set kind[i] to NAME of NAME.so. Refuses a box that is not of this tree, since
 * its sources are not here. */
static void check_box(struct fuse *f, uint32_t i)
{
    const struct hak_conf_box *conf = &hak_conf.box[i];
    const char *path = f->core.box[i]->path;
    char whole[PATH_MAX];
    if (f->core.box[i]->foreign) {
        refuse(f, conf->origin,
               "box %s cannot be fused: its library is opened when the "
               "program starts; run it with the library that opens boxes",
               conf->name);
        return;
    }
    char *slash = realpath(path, whole) != NULL ? strrchr(whole, '/') : NULL;
    size_t n = slash != NULL ? strcspn(slash + 1, ".") : 0;
    bool ours = slash != NULL && strcmp(slash + 1 + n, ".so") == 0 &&
                n < sizeof f->kind[i];
    if (ours) {
        memcpy(f->kind[i], slash + 1, n);
        *slash = 0;
        ours = strcmp(whole, hak_boxes_dir()) == 0;
    }
    if (!ours)
        refuse(f, conf->path != NULL ? conf->path_origin : conf->origin,
               "box %s: %s cannot be fused: only boxes of plugins/ have "
               "sources here; make fused OTHER_BOXES=FOLDER knows one more",
               conf->name, path);
}

/* Does a fused library have a constant for this key? Other keys are refused. */
#define NAME_OF(key, ...) " " #key
static bool has_constant(const char *section, const char *key)
{
    static const struct {
        const char *kind, *keys;
    } known[] = {
        {"core", HAK_CORE_KEYS(NAME_OF) " pressure_file "},
        {"stats",
         " at_exit at_start format only_pid on_signal on_term timeline "
         "every_ms "},
        {"route", " box fallback enabled classes "},
        {"learner", " every settle margin log "}, /* mode must be off */
        {"rule", NULL},
        {"box", NULL},
        {"policy", NULL},
        {"profile", NULL},
    };
    char word[HAK_CONF_LINE_BYTES + 3];
    size_t n = strcspn(section, " ");
    snprintf(word, sizeof word, " %s ", key);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].kind) == n &&
            strncmp(known[i].kind, section, n) == 0)
            return known[i].keys == NULL || strstr(known[i].keys, word);
    return false;
}

static void check_keys(struct fuse *f)
{
    static const char *const off[] = {"off", "no", "none", "false", "0"};
    for (uint32_t i = 0; i < hak_conf.nentries; i++) {
        const struct hak_conf_entry *e = &hak_conf.entry[i];
        bool fine = has_constant(e->section, e->key);
        for (size_t k = 0; k < sizeof off / sizeof off[0]; k++)
            fine |= strcmp(e->value, off[k]) == 0;
        if (!fine)
            refuse(f, e->origin,
                   "\"%s\" in [%s] cannot be fused: it decides while programs "
                   "run",
                   e->key, e->section);
    }
}

/* Can the INI be fused? Prints every obstacle. */
static bool check_fusable(struct fuse *f)
{
    struct ctl_findings all = {0};
    ctl_check(&all, f->path, f->profile);
    for (size_t i = 0; i < all.n; i++)
        ctl_print_finding(stderr, &all.at[i]);
    if (all.nerrors == 0 &&
        ctl_load(&f->core, f->path, f->profile, NULL, NULL, NULL) == 0) {
        check_keys(f);
        for (uint32_t i = 0; i < hak_conf.nboxes; i++)
            if (hak_conf.box[i].used)
                check_box(f, i);
    } else {
        f->failed = true;
    }
    if (f->failed)
        ctl_say("%s: nothing was fused", f->path);
    return !f->failed;
}

/* ---- the files ----------------------------------------------------------- */

static const char *bool_text(bool b)
{
    return b ? "true" : "false";
}

/* Write text as a C string, or NULL. */
static void write_string(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (; *text != 0; text++)
        fprintf(out, strchr("\"\\?", *text) != NULL ? "\\%c" : "%c", *text);
    fputc('"', out);
}

/* Is this the first used box of its kind? */
static bool is_first_of_kind(const struct fuse *f, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (hak_conf.box[k].used && strcmp(f->kind[k], f->kind[i]) == 0)
            return false;
    return hak_conf.box[i].used;
}

/* The modules that the library needs, each with text before and behind its
 * name. */
static void list_modules(char *out, size_t bytes, const char *before,
                         const char *behind)
{
    const struct {
        const char *name;
        bool needed;
    } modules[] = {
        {"background", hak_conf.background},
        {"pressure", hak_conf.on_pressure != HAK_PRESSURE_NONE},
        {"signals", hak_conf.stats_on_signal != 0 || hak_conf.stats_on_term},
        {"timeline", strcmp(hak_conf.timeline, "none") != 0},
    };
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        if (modules[i].needed)
            used += (size_t)snprintf(out + used, bytes - used, "%s%s%s", before,
                                     modules[i].name, behind);
}

static void write_mk(FILE *out, const struct fuse *f)
{
    fputs("FUSED_BOXES :=", out);
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (is_first_of_kind(f, i))
            fprintf(out, " %s", f->kind[i]);
    char modules[128];
    list_modules(modules, sizeof modules, " ", "");
    fprintf(out, "\nFUSED_MODULES :=%s\nFUSED_CXX :=%s\n", modules,
            hak_conf.match_delete   ? " libhakmem-match.so"
            : hak_conf.sized_delete ? " libhakmem-cxx.so"
                                    : "");
}

static void write_header(FILE *out, const struct fuse *f)
{
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (is_first_of_kind(f, i))
            fprintf(out,
                    "extern const struct hak_box_entry hak_box_entry_%s;\n",
                    f->kind[i]);
    fputs("#define HAK_FUSED_BOXES(X, ...)", out);
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            fprintf(out, " \\\n    X(%u, %s, __VA_ARGS__)", used_index(i),
                    f->kind[i]);
    fputc('\n', out);
}

static void write_values(FILE *out, const struct fuse *f, uint32_t i)
{
    const struct hak_loaded *b = f->core.box[i];
    const struct hak_param *params = b->entry->params;
    fprintf(out, "static union hak_value values_%u[] = {\n", used_index(i));
    for (uint32_t k = 0; k < b->entry->nparams; k++) {
        fputs("    {", out);
        if (params[k].type == HAK_PARAM_TEXT) {
            fputs(".text = ", out);
            write_string(out, b->values[k].text);
        } else {
            fprintf(out, ".i = %lld", (long long)b->values[k].i);
        }
        fprintf(out, "}, /* %s */\n", params[k].name);
    }
    if (b->entry->nparams == 0)
        fputs("    {.i = 0},\n", out);
    fputs("};\n", out);
}

static void write_box(FILE *out, const struct fuse *f, uint32_t i)
{
    const struct hak_conf_box *conf = &hak_conf.box[i];
    fprintf(out,
            "        {{.name = \"%s\", .priority = %d, .lanes = %s},\n"
            "         &hak_box_entry_%s, values_%u, %u},\n",
            conf->name, conf->priority, bool_text(conf->lanes), f->kind[i],
            used_index(i), f->core.box[i]->entry->nparams);
}

static void write_chain(FILE *out, const char *name,
                        const struct hak_conf_route *route,
                        enum hak_fallback last)
{
    fprintf(out, "        {.route = \"%s\", .last = %s", name,
            last == HAK_FALLBACK_LIBC ? "HAK_FALLBACK_LIBC"
                                      : "HAK_FALLBACK_NONE");
    for (uint32_t k = 0; route != NULL && k < route->nchain; k++)
        fprintf(out, "%s&hak_fused_boxes.loaded[%u]",
                k == 0 ? ", .box = {" : ", ", used_index(route->chain[k]));
    fprintf(out, "%s},\n", route != NULL && route->nchain > 0 ? "}" : "");
}

static void write_routes(FILE *out)
{
    bool libc = hak_conf.fallback == HAK_FALLBACK_LIBC;
    fputs("    .chain = {\n", out);
    for (uint32_t i = 0; i < hak_conf.nroutes; i++)
        write_chain(out, hak_conf.route[i].name, &hak_conf.route[i],
                    hak_conf.route[i].last);
    write_chain(out, libc ? "libc" : "none", NULL, hak_conf.fallback);
    fputs("    },\n    .route = {", out);
    for (uint32_t i = 0; i <= HAK_LANES; i++) {
        int rule = hak_conf.index_rule[i];
        fprintf(out, "%s%u,", i % 16 == 0 ? "\n        " : " ",
                rule >= 0 ? hak_conf.rule[rule].route : hak_conf.nroutes);
    }
    fputs("\n    },\n", out);
}

#define WRITE_KEY(key, ...) \
    fprintf(out, "    .%s = %lld,\n", #key, (long long)hak_conf.key);

static void write_core(FILE *out)
{
    fputs("    .file = ", out);
    write_string(out, hak_conf.file);
    fputs(",\n    .profile = ", out);
    write_string(out, hak_conf.profile);
    fputs(",\n", out);
    HAK_CORE_KEYS(WRITE_KEY)
    fputs("    .pressure_file = ", out);
    write_string(out, hak_conf.pressure_file);
    fputs(",\n    .stats_at_exit = ", out);
    write_string(out, hak_conf.stats_at_exit);
    fputs(",\n    .stats_at_start = ", out);
    write_string(out, hak_conf.stats_at_start);
    fprintf(out, ",\n    .stats_json = %s,\n", bool_text(hak_conf.stats_json));
    fprintf(out, "    .stats_on_signal = %d,\n    .stats_on_term = %s,\n",
            hak_conf.stats_on_signal, bool_text(hak_conf.stats_on_term));
    fputs("    .timeline = ", out);
    write_string(out, hak_conf.timeline);
    fprintf(out, ",\n    .stats_every_ms = %u,\n", hak_conf.stats_every_ms);
}

static void write_note(FILE *out, const struct fuse *f)
{
    fputs("const char hak_fused_note[]\n"
          "    __attribute__((section(HAK_NOTE_SECTION), used, retain)) =\n"
          "        \"hakmem \" HAK_VERSION \", fused from \"\n        ",
          out);
    write_string(out, hak_conf.file);
    if (hak_conf.profile != NULL)
        fprintf(out, " \" profile %s\"", hak_conf.profile);
    fputs("\n        \"\\n\"\n", out);
    if (hak_conf.match_delete)
        fputs("        HAK_NOTE_MATCH_DELETE\n", out);
    else if (hak_conf.sized_delete)
        fputs("        HAK_NOTE_SIZED_DELETE\n", out);
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            fprintf(out, "        \"  box %s: %s %s%s\\n\"\n",
                    hak_conf.box[i].name, f->kind[i],
                    f->core.box[i]->entry->version,
                    hak_conf.box[i].lanes ? "" : ", lanes off");
    fputs("        ;\n", out);
}

static void write_source(FILE *out, const struct fuse *f)
{
    fputs("#include <core/state/build.h>\n"
          "#include <hakmem/version.h>\n\n",
          out);
    char text[1024];
    list_modules(text, sizeof text,
                 "extern const struct hak_module_entry HAK_MODULE_ENTRY(",
                 ");\n");
    fprintf(out, "%s\n", text);
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            write_values(out, f, i);
    fputs("\nconst struct hak_fused hak_fused = {\n", out);
    write_core(out);
    fprintf(out, "    .nboxes = %u,\n    .box = {\n",
            used_index(hak_conf.nboxes));
    for (uint32_t i = 0; i < hak_conf.nboxes; i++)
        if (hak_conf.box[i].used)
            write_box(out, f, i);
    fputs("    },\n", out);
    write_routes(out);
    list_modules(text, sizeof text, "&HAK_MODULE_ENTRY(", "), ");
    fprintf(out, "    .modules = {%sNULL},\n};\n\n", text);
    write_note(out, f);
}

/* ---- output -------------------------------------------------------------- */

/* Does the file consist of these bytes? */
static bool file_has(const char *path, const char *text, size_t n)
{
    FILE *in = fopen(path, "re");
    bool same = true;
    if (in == NULL)
        return false;
    for (size_t i = 0; same && i < n; i++) {
        int c = fgetc(in);
        same = c != EOF && c == (unsigned char)text[i];
    }
    same = same && fgetc(in) == EOF;
    fclose(in);
    return same;
}

static void write_file(const struct fuse *f, const char *name,
                       void (*write_text)(FILE *, const struct fuse *))
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (memory == NULL)
        ctl_die("no memory");
    fprintf(memory, "%s made by hakctl fuse of %s%s\n",
            strstr(name, ".mk") != NULL ? "#" : "/*", f->path,
            strstr(name, ".mk") != NULL ? "" : " */");
    write_text(memory, f);
    if (fclose(memory) != 0)
        ctl_die("no memory");
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    if (!file_has(path, text, n)) {
        FILE *out = fopen(path, "we");
        bool good = out != NULL && fwrite(text, 1, n, out) == n;
        if (out == NULL || fclose(out) != 0 || !good)
            ctl_die("cannot write %s: %s", path, strerror(errno));
    }
    free(text);
}

static void make_dir(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (char *at = path + 1; *at != 0; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        mkdir(path, 0777);
        *at = '/';
    }
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        ctl_die("cannot make %s: %s", path, strerror(errno));
}

/* Remove the variables of hakmem, as the built library must not depend on the
 * environment of who builds it. */
static void forget_environment(void)
{
    for (char **at = environ; *at != NULL;) {
        char name[256];
        if (strncmp(*at, "HAKMEM_", 7) != 0) {
            at++;
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        unsetenv(name);
        at = environ;
    }
}

int ctl_fuse(int argc, char **argv)
{
    static const struct option longs[] = {
        {"conf", required_argument, NULL, 'c'},
        {"profile", required_argument, NULL, 'p'},
        {"output", required_argument, NULL, 'o'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    static struct fuse f;
    int option;
    while ((option = ctl_option(argc, argv, ":c:p:o:h", longs)) != -1) {
        if (option == 'c')
            f.path = optarg;
        else if (option == 'p')
            f.profile = optarg;
        else if (option == 'o')
            f.dir = optarg;
        else
            return CTL_BAD;
    }
    if (f.path == NULL || f.dir == NULL || optind != argc) {
        ctl_say("fuse: takes -c INI and -o DIR; see hakctl help fuse");
        return CTL_BAD;
    }
    forget_environment();
    if (!check_fusable(&f))
        return CTL_BAD;
    make_dir(f.dir);
    write_file(&f, "boxes.mk", write_mk);
    write_file(&f, "fused_boxes.h", write_header);
    write_file(&f, "fused_conf.c", write_source);
    return CTL_OK;
}
