/* SPDX-License-Identifier: MIT
 * hakctl_boxes.c - hakctl boxes: describes box files by their entries.
 *
 * A file is opened as the core opens it. No operation is called (option -c,
 * hakctl_instances.c, calls init), so only constructors of the file run. Each
 * file is opened in a child first, in case a constructor crashes.
 */
#include "hakctl.h"

#include <core/box/find.h>
#include <core/box/open.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- names of things ---- */

/* The optional operations, in the order of box.h. */
#define OPERATION(op) .name = #op, .offset = offsetof(struct hak_box_ops, op)
static const struct {
    const char *name;
    size_t offset;
} operations[] = {
    {OPERATION(init)},          {OPERATION(usable_size)},
    {OPERATION(slot_size)},     {OPERATION(aligned_alloc)},
    {OPERATION(zalloc)},        {OPERATION(resize)},
    {OPERATION(heap_open)},     {OPERATION(heap_close)},
    {OPERATION(refill)},        {OPERATION(triggered)},
    {OPERATION(remote_free)},   {OPERATION(fork)},
    {OPERATION(trim)},          {OPERATION(stats)},
    {OPERATION(visit_slots)},   {OPERATION(set_param)},
    {OPERATION(state_changed)}, {OPERATION(get_extension)},
    {OPERATION(alloc_none)},    {OPERATION(heap_lost)},
    {OPERATION(heap_park)},     {OPERATION(shrink)},
    {OPERATION(age)},
};
enum { NOPERATIONS = sizeof operations / sizeof operations[0] };

static bool has_operation(const struct hak_box_ops *ops, size_t i)
{
    void (*operation)(void);
    memcpy(&operation, (const char *)ops + operations[i].offset,
           sizeof operation);
    return operation != NULL;
}

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {
        [HAK_PARAM_BOOL] = "bool", [HAK_PARAM_INT] = "int",
        [HAK_PARAM_SIZE] = "size", [HAK_PARAM_MS] = "ms",
        [HAK_PARAM_ENUM] = "enum", [HAK_PARAM_TEXT] = "text",
        [HAK_PARAM_CALL] = "call",
    };
    return type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

static bool is_text(const struct hak_param *p)
{
    return p->type == HAK_PARAM_TEXT || p->type == HAK_PARAM_CALL;
}

/* Format a size as in an INI: 4096 is 4k. */
static void size_text(char out[32], int64_t bytes)
{
    static const char units[] = " kMGT";
    size_t u = 0;
    while (bytes != 0 && bytes % 1024 == 0 && u < sizeof units - 2) {
        bytes /= 1024;
        u++;
    }
    snprintf(out, 32, u == 0 ? "%lld" : "%lld%c", (long long)bytes, units[u]);
}

/* The choice at a position of "a|b|c", or "?". */
static void choice_text(char out[32], const char *choices, int64_t position)
{
    const char *at = choices != NULL ? choices : "";
    while (position-- > 0 && *at != 0) {
        at += strcspn(at, "|");
        at += *at == '|';
    }
    int n = (int)strcspn(at, "|");
    snprintf(out, 32, "%.*s", n > 0 ? n : 1, n > 0 ? at : "?");
}

void ctl_value_text(char out[32], const struct hak_param *p, int64_t value)
{
    switch (p->type) {
    case HAK_PARAM_BOOL:
        snprintf(out, 32, "%s", value != 0 ? "yes" : "no");
        break;
    case HAK_PARAM_SIZE:
        size_text(out, value);
        break;
    case HAK_PARAM_ENUM:
        choice_text(out, p->choices, value);
        break;
    default:
        snprintf(out, 32, "%lld", (long long)value);
    }
}

static bool has_bounds(const struct hak_param *p)
{
    return p->type == HAK_PARAM_INT || p->type == HAK_PARAM_SIZE ||
           p->type == HAK_PARAM_MS;
}

/* ---- text ---- */

static void print_sizes(const struct hak_box_entry *e)
{
    if (e->min_bytes == 0 && e->max_bytes == 0)
        printf("any");
    else if (e->max_bytes == 0 || e->max_bytes >= PTRDIFF_MAX)
        printf("%zu-", e->min_bytes);
    else
        printf("%zu-%zu", e->min_bytes, e->max_bytes);
}

static void print_operations(const struct hak_box_ops *ops)
{
    int column = printf("  operations  alloc free owns");
    for (size_t i = 0; i < NOPERATIONS; i++) {
        if (!has_operation(ops, i))
            continue;
        if (column + 1 + (int)strlen(operations[i].name) > 79)
            column = printf("\n             ") - 1;
        column += printf(" %s", operations[i].name);
    }
    printf("\n");
}

static void print_param(const struct hak_param *p)
{
    char def[32], min[32], max[32];
    ctl_value_text(def, p, p->def);
    ctl_value_text(min, p, p->min);
    ctl_value_text(max, p, p->max);
    printf("  %-18s %-5s ", p->name, type_name(p->type));
    if (is_text(p))
        printf("default %s", p->def_text != NULL ? p->def_text : "none");
    else
        printf("default %s", def);
    if (has_bounds(p))
        printf(", %s to %s", min, max);
    if (p->type == HAK_PARAM_ENUM)
        printf(", one of %s", p->choices != NULL ? p->choices : "nothing");
    if (p->flags & HAK_PARAM_MUTABLE)
        printf(", may change at run time");
    printf("\n%21s%s\n", "", p->help != NULL ? p->help : "(no help)");
}

static void print_text(const char *file, const struct hak_box_entry *e)
{
    printf("%s %s  %s\n", e->id, e->version, file);
    if (e->summary != NULL)
        printf("  %s\n", e->summary);
    printf("  sizes       ");
    print_sizes(e);
    printf("\n  served by   %s\n", e->ops.refill != NULL ? "lanes" : "calls");
    printf("  ABI         %u.%u\n", e->abi_major, e->abi_minor);
    if (e->kit_version != 0)
        printf("  kit         %u\n", e->kit_version);
    print_operations(&e->ops);
    if (e->ops.usable_size == NULL)
        printf("  no usable_size: the core adds a header of 16 bytes to each "
               "request\n");
    for (uint32_t i = 0; i < e->nparams; i++)
        print_param(&e->params[i]);
}

/* ---- JSON ---- */

static void json_param(const struct hak_param *p)
{
    char def[32];
    fputs("{\"name\":", stdout);
    ctl_json(stdout, p->name);
    printf(",\"type\":\"%s\",\"mutable\":%s,\"default\":", type_name(p->type),
           p->flags & HAK_PARAM_MUTABLE ? "true" : "false");
    ctl_value_text(def, p, p->def);
    if (is_text(p))
        ctl_json(stdout, p->def_text);
    else if (p->type == HAK_PARAM_ENUM)
        ctl_json(stdout, def);
    else if (p->type == HAK_PARAM_BOOL)
        fputs(p->def != 0 ? "true" : "false", stdout);
    else
        printf("%lld", (long long)p->def);
    if (has_bounds(p))
        printf(",\"min\":%lld,\"max\":%lld", (long long)p->min,
               (long long)p->max);
    if (p->type == HAK_PARAM_ENUM) {
        fputs(",\"choices\":", stdout);
        ctl_json(stdout, p->choices);
    }
    fputs(",\"help\":", stdout);
    ctl_json(stdout, p->help);
    fputc('}', stdout);
}

static void json_lists(const struct hak_box_entry *e)
{
    const char *comma = "";
    fputs(",\"operations\":[", stdout);
    for (size_t i = 0; i < NOPERATIONS; i++) {
        if (!has_operation(&e->ops, i))
            continue;
        printf("%s\"%s\"", comma, operations[i].name);
        comma = ",";
    }
    fputs("],\"parameters\":[", stdout);
    for (uint32_t i = 0; i < e->nparams; i++) {
        fputs(i == 0 ? "" : ",", stdout);
        json_param(&e->params[i]);
    }
    fputc(']', stdout);
}

static void print_json(const char *file, const struct hak_box_entry *e)
{
    fputs("{\"file\":", stdout);
    ctl_json(stdout, file);
    fputs(",\"id\":", stdout);
    ctl_json(stdout, e->id);
    fputs(",\"version\":", stdout);
    ctl_json(stdout, e->version);
    fputs(",\"summary\":", stdout);
    ctl_json(stdout, e->summary);
    printf(",\"abi\":\"%u.%u\",\"kit\":%u,\"min_bytes\":%zu,"
           "\"max_bytes\":%zu,\"lanes\":%s,\"header_bytes\":%d",
           e->abi_major, e->abi_minor, e->kit_version, e->min_bytes,
           e->max_bytes, e->ops.refill != NULL ? "true" : "false",
           e->ops.usable_size == NULL ? 16 : 0);
    json_lists(e);
    fputc('}', stdout);
}

/* ---- files ---- */

static int is_box_name(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 3 && strcmp(d->d_name + n - 3, ".so") == 0;
}

/* The output so far. Between two boxes JSON has a comma, text a blank line. */
struct output {
    bool json;
    uint32_t n;
};

static void print_separator(struct output *out)
{
    const char *between = out->json ? ",\n" : "\n";
    const char *before = out->json ? "[\n" : "";
    fputs(out->n++ == 0 ? before : between, stdout);
}

/* The signal that ends a process that loads the file; 0: none. */
static int crash_of(const char *path)
{
    enum { SECONDS = 10 };
    char why[256];
    void *handle;
    int ends[2], status = 0;
    pid_t pid = ctl_fork(ends);
    if (pid == 0) {
        alarm(SECONDS);
        hak_box_file(path, &handle, why, sizeof why);
        _exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Describe one file. Returns false, after a message: it is no box. */
static bool show_file(const char *file, struct output *out)
{
    char why[256], whole[PATH_MAX];
    void *handle;
    /* dlopen would search for a name without a slash in library folders. */
    const char *path = realpath(file, whole) != NULL ? whole : file;
    const struct hak_box_entry *e = NULL;
    char *library = ctl_library_text(path);
    int crash = library == NULL ? crash_of(path) : 0;
    if (library != NULL) /* do not load it: that would start an allocator */
        snprintf(why, sizeof why,
                 "is a library of hakmem, no box; hakctl "
                 "version FILE says what is in it");
    else if (crash != 0)
        snprintf(why, sizeof why, "is no box that can be loaded: %s",
                 crash == SIGALRM ? "does not come to an end"
                                  : strsignal(crash));
    else
        e = hak_box_file(path, &handle, why, sizeof why);
    free(library);
    if (e != NULL) {
        print_separator(out);
        (out->json ? print_json : print_text)(file, e);
        return true;
    }
    if (out->json) {
        print_separator(out);
        fputs("{\"file\":", stdout);
        ctl_json(stdout, file);
        fputs(",\"error\":", stdout);
        ctl_json(stdout, why);
        fputc('}', stdout);
    }
    ctl_say("%s %s", file, why);
    return false;
}

static void tell_no_box(const char *name, struct dirent **files, size_t n)
{
    const char **names = calloc(n + 1, sizeof *names);
    char mean[300];
    if (names == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < n; i++) {
        files[i]->d_name[strlen(files[i]->d_name) - 3] = 0;
        names[i] = files[i]->d_name;
    }
    ctl_did_you_mean(mean, sizeof mean, name, names, n);
    ctl_say("no box \"%s\" in %s%s", name, hak_boxes_dir(),
            mean[0] != 0 ? mean : "; for a file elsewhere give its path");
    free(names);
}

/* Find the file of a box from FILE.so, or from NAME of a box of hakmem. Returns
 * false, after a message: word is neither. */
static bool locate_box(const char *word, char *path, size_t bytes)
{
    size_t n = strlen(word);
    struct dirent **files;
    if (strchr(word, '/') != NULL ||
        (n > 3 && strcmp(word + n - 3, ".so") == 0)) {
        snprintf(path, bytes, "%s", word);
        return true;
    }
    snprintf(path, bytes, "%s/%s.so", hak_boxes_dir(), word);
    if (access(path, F_OK) == 0)
        return true;
    int count = scandir(hak_boxes_dir(), &files, is_box_name, alphasort);
    tell_no_box(word, files, count > 0 ? (size_t)count : 0);
    for (int i = 0; i < count; i++)
        free(files[i]);
    if (count >= 0)
        free(files);
    return false;
}

static bool show_all(struct output *out)
{
    struct dirent **files;
    char path[PATH_MAX + 256];
    int n = scandir(hak_boxes_dir(), &files, is_box_name, alphasort);
    bool good = n > 0;
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", hak_boxes_dir(), files[i]->d_name);
        good &= show_file(path, out);
        free(files[i]);
    }
    if (n >= 0)
        free(files);
    if (n <= 0)
        ctl_say("no boxes in %s; give FILE.so", hak_boxes_dir());
    return good;
}

int ctl_boxes(int argc, char **argv)
{
    static const struct option longs[] = {
        {"conf", required_argument, NULL, 'c'},
        {"profile", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    struct output out = {false, 0};
    const char *conf = NULL, *profile = NULL;
    char path[PATH_MAX + 256];
    int option;
    while ((option = ctl_option(argc, argv, ":c:p:jh", longs)) != -1) {
        if (option == 'c')
            conf = optarg;
        else if (option == 'p')
            profile = optarg;
        else if (option == 'j')
            out.json = true;
        else
            return CTL_BAD;
    }
    if (conf != NULL && optind < argc) {
        ctl_say("boxes: with -c the INI says which; see hakctl help boxes");
        return CTL_BAD;
    }
    if (conf != NULL)
        return ctl_instances(conf, profile, out.json);
    int status = optind < argc || show_all(&out) ? CTL_OK : CTL_SOME;
    for (int i = optind; i < argc; i++) {
        bool found = locate_box(argv[i], path, sizeof path);
        if (found && show_file(path, &out))
            continue;
        if (!found || access(path, F_OK) != 0)
            status = CTL_BAD;
        else if (status == CTL_OK)
            status = CTL_SOME;
    }
    if (out.json)
        fputs(out.n == 0 ? "[]\n" : "\n]\n", stdout);
    return status;
}
