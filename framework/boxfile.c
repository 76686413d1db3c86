/* SPDX-License-Identifier: MIT
 * boxfile.c - box files: found, checked, opened.
 *
 * A file is checked on an open descriptor before dlopen sees it, since
 * dlopen's own words ("invalid ELF header") help nobody.
 */
#include "abi.h"
#include "core.h"
#include "elf_file.h"
#include "text.h"
#include <why.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- where boxes are ---------------------------------------------------- */

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* The directory of the library (or tool) that holds this code, less the last
 * slash, no links in it; "." if that cannot be told. */
static const char *own_dir(void)
{
    static const char *dir;
    struct dl_find_object own;
    char path[PATH_MAX];
    if (dir != NULL)
        return dir;
    if (_dl_find_object(&hak_boxes, &own) != 0)
        return ".";
    /* The program itself has no name there; its argv[0] may be any text. */
    const char *name = own.dlfo_link_map->l_name;
    if (!hak_os_real_path(name[0] != 0 ? name : "/proc/self/exe", path))
        return ".";
    *strrchr(path, '/') = 0;
    dir = hak_meta_text(path);
    return dir != NULL ? dir : ".";
}

const char *hak_beside(const char *const *places)
{
    const char *dir = own_dir(), *slash = strrchr(dir, '/');
    size_t bytes = strlen(dir) + HAK_PLACE_BYTES + 2;
    char *path = hak_meta(bytes);
    for (; path != NULL && *places != NULL; places++) {
        bool up = slash != NULL && strncmp(*places, "../", 3) == 0;
        hak_text_copy(path, bytes, dir,
                      up ? (size_t)(slash - dir) : strlen(dir));
        hak_text_join(path, bytes, path, up ? "" : "/", *places + (up ? 2 : 0));
        if (access(path, F_OK) == 0)
            return path;
    }
    return NULL;
}

/* DIR/boxes in the build tree, DIR/hakmem installed as PREFIX/lib,
 * DIR/../lib/hakmem for PREFIX/bin. */
const char *hak_boxes_dir(void)
{
    static const char *const places[] = {"boxes", "hakmem", "../lib/hakmem",
                                         NULL};
    static const char *dir;
    if (dir == NULL)
        dir = hak_beside(places);
    return dir != NULL ? dir : own_dir();
}

/*
 * No path: NAME.so among our boxes. With a slash: as it is when absolute,
 * else relative to the INI, or failing that to the working directory.
 * Without a slash: among our boxes.
 */
void hak_box_path(const char *given, const char *name, const char *conf_file,
                  char *out, size_t out_bytes)
{
    if (given == NULL) {
        hak_text_join(out, out_bytes, hak_boxes_dir(), "/", name, ".so");
        return;
    }
    if (strchr(given, '/') == NULL) {
        hak_text_join(out, out_bytes, hak_boxes_dir(), "/", given);
        return;
    }
    const char *slash = conf_file ? strrchr(conf_file, '/') : NULL;
    if (given[0] != '/' && slash != NULL) {
        hak_text_copy(out, out_bytes, conf_file, (size_t)(slash - conf_file));
        hak_text_join(out, out_bytes, out, "/", given);
        if (is_file(out))
            return;
    }
    hak_text_join(out, out_bytes, given);
}

/* ---- checks -------------------------------------------------------------- */

static int open_any(const char *path, char *why, size_t why_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hak_refuse(-EINVAL, why, why_bytes, "cannot be opened: %s",
                          strerror(errno));
    return fd;
}

static bool is_regular(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

/* Returns a descriptor of a file that may be opened as a box, or -errno. */
static int open_checked(const char *path, char *why, size_t why_bytes)
{
    int fd = hak_os_secure() ? hak_trust_open(path, false, why, why_bytes)
                             : open_any(path, why, why_bytes);
    int error = fd < 0 ? fd : hak_elf_check(fd, why, why_bytes);
    if (error == 0)
        return fd;
    if (fd >= 0 && !is_regular(fd)) /* which says more */
        error = hak_refuse(-EINVAL, why, why_bytes, "is not a regular file");
    if (fd >= 0)
        close(fd);
    return error;
}

/* What another version could have laid out otherwise comes first. */
static int check_version(const struct hak_box_entry *e, char *why, size_t n)
{
    if (e->magic != HAK_BOX_MAGIC)
        return hak_refuse(-EINVAL, why, n,
                          "does not begin its hak_box_entry with the magic "
                          "of a box; fill it with HAK_BOX_HEADER of "
                          "hakmem/box.h");
    if (e->abi_major != HAK_ABI_MAJOR)
        return hak_refuse(-EINVAL, why, n,
                          "is for box ABI %u, this core speaks %u; "
                          "rebuild it with this core's hakmem/box.h",
                          e->abi_major, HAK_ABI_MAJOR);
    if (e->host_minor_min > HAK_ABI_MINOR)
        return hak_refuse(-EINVAL, why, n,
                          "needs a core of box ABI %u.%u or later, this "
                          "one is %u.%u",
                          e->abi_major, e->host_minor_min, HAK_ABI_MAJOR,
                          HAK_ABI_MINOR);
    if (!hak_abi_is_entry(e))
        return hak_refuse(-EINVAL, why, n,
                          "says that its entry has %u bytes and operations "
                          "from byte %zu on, which leaves no room for "
                          "alloc, free and owns; begin its entry with "
                          "HAK_BOX_HEADER",
                          e->struct_size, hak_abi_ops_at(e));
    if (e->struct_size > hak_abi_symbol_bytes(e))
        return hak_refuse(
            -EINVAL, why, n,
            "says that its entry has %u bytes, but its symbol " HAK_BOX_SYMBOL
            " has %zu; begin its entry with "
            "HAK_BOX_HEADER",
            e->struct_size, hak_abi_symbol_bytes(e));
    return 0;
}

static const char *missing_word(const struct hak_box_entry *e)
{
    if (e->id == NULL || e->id[0] == 0)
        return "no id";
    if (e->version == NULL || e->version[0] == 0)
        return "no version";
    return e->nparams != 0 && e->params == NULL ? "no table of parameters"
                                                : NULL;
}

static int check_entry(const struct hak_box_entry *e, char *why, size_t n)
{
    enum { PARAMS_MOST = 256 };
    const char *missing = missing_word(e);
    if (missing != NULL)
        return hak_refuse(-EINVAL, why, n, "has %s in its entry", missing);
    if (e->nparams > PARAMS_MOST)
        return hak_refuse(-EINVAL, why, n, "has %u parameters, at most %d fit",
                          e->nparams, PARAMS_MOST);
    if (e->nparams != 0 && !hak_abi_has_params(e))
        return hak_refuse(-EINVAL, why, n,
                          "has parameters of %u bytes each, %zu are needed; "
                          "begin its entry with HAK_BOX_HEADER",
                          e->param_bytes, HAK_ABI_PARAM_LEAST);
    if (e->granule_bytes != HAK_GRANULE_BYTES)
        return hak_refuse(-EINVAL, why, n,
                          "was built for granules of %u bytes, this core has "
                          "%zu; rebuild it with this core's hakmem/box.h",
                          e->granule_bytes, HAK_GRANULE_BYTES);
    return 0;
}

static int check_required(const struct hak_box_ops *ops, char *why, size_t n)
{
    const char *missing = ops->alloc == NULL  ? "alloc"
                          : ops->free == NULL ? "free"
                          : ops->owns == NULL ? "owns"
                                              : NULL;
    if (missing != NULL)
        return hak_refuse(-EINVAL, why, n,
                          "gives no %s; a box has alloc, free and owns",
                          missing);
    return 0;
}

static int check_lanes(const struct hak_box_ops *ops, char *why, size_t n)
{
    if (ops->refill == NULL)
        return 0;
    if (ops->drained == NULL || ops->remote_free == NULL ||
        ops->heap_open == NULL || ops->usable_size == NULL)
        return hak_refuse(-EINVAL, why, n,
                          "gives refill but not all of drained, "
                          "remote_free, heap_open and usable_size, which "
                          "go with it");
    return 0;
}

/* ---- opening --------------------------------------------------------------
 */

/*
 * A name of the open file itself. The loader keeps the names that it opened a
 * file by and takes an equal one for the same file, so no two are alike, and
 * none is as a program would write it. False: there is none (no /proc, no free
 * descriptor).
 */
static bool name_of(int *fd, char name[64])
{
    static int next = 3;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, next);
    if (higher < 0)
        return false;
    close(*fd);
    *fd = higher;
    next = higher + 1;
    char digits[24];
    hak_text_join(name, 64, "/proc/self/fd/./",
                  hak_text_number(digits, (unsigned long)higher));
    return access(name, F_OK) == 0;
}

static bool is_same_file(const char *path, int fd)
{
    struct stat now, checked;
    return stat(path, &now) == 0 && hak_os_fstat(fd, &checked) == 0 &&
           now.st_dev == checked.st_dev && now.st_ino == checked.st_ino;
}

/* By what the loader itself knows of its files. */
static bool is_object_of(void *object, const char *name)
{
    void *same = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    if (same != NULL)
        dlclose(same);
    return same == object;
}

/* The last of the loader's objects: the next that it opens comes behind. */
static const struct link_map *last_object(void)
{
    struct dl_find_object own;
    const struct link_map *object = NULL;
    if (_dl_find_object(&hak_boxes, &own) == 0)
        object = own.dlfo_link_map;
    while (object != NULL && object->l_next != NULL)
        object = object->l_next;
    return object;
}

/*
 * By its path, so that debuggers and dladdr have that name, and then it is
 * looked at whether that was the file that was checked. An object that the
 * loader had before, by that name, may be of a file that was there before; so
 * the loader is asked. With raised rights by the descriptor, so that no other
 * file runs its constructors (that nobody but root could put one there was
 * checked as well).
 */
static void *open_object(const char *path, int *fd, char *why, size_t n)
{
    char name[64];
    const struct link_map *last = last_object();
    bool by_name = hak_os_secure() && name_of(fd, name);
    void *object = dlopen(by_name ? name : path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        hak_refuse(-EINVAL, why, n, "cannot be loaded: %s", dlerror());
        return NULL;
    }
    bool is_new = last != NULL && last->l_next == object;
    bool is_checked = by_name;
    if (!by_name)
        is_checked = !is_new && name_of(fd, name) ? is_object_of(object, name)
                                                  : is_same_file(path, *fd);
    if (is_checked)
        return object;
    dlclose(object);
    hak_refuse(-EINVAL, why, n,
               "is another file than a moment ago; is it just being replaced? "
               "Start again");
    return NULL;
}

static const struct hak_param *read_params(const struct hak_box_entry *theirs)
{
    struct hak_param *params = hak_meta(theirs->nparams * sizeof *params);
    for (uint32_t i = 0; params != NULL && i < theirs->nparams; i++)
        params[i] = hak_abi_param(theirs, i);
    return params;
}

static int read_entry(const struct hak_box_entry *theirs,
                      struct hak_box_entry *e, char *why, size_t n)
{
    int error = check_version(theirs, why, n);
    if (error != 0)
        return error;
    hak_abi_entry(e, theirs);
    error = check_entry(e, why, n);
    if (error == 0)
        error = check_required(&e->ops, why, n);
    if (error == 0)
        error = check_lanes(&e->ops, why, n);
    if (error != 0 || e->nparams == 0 || e->param_bytes == sizeof *e->params)
        return error;
    e->params = read_params(theirs);
    e->param_bytes = sizeof *e->params;
    return e->params != NULL ? 0 : hak_refuse(-ENOMEM, why, n, "no memory");
}

const struct hak_box_entry *hak_box_file(const char *path, void **handle,
                                         char *why, size_t why_bytes)
{
    int fd = open_checked(path, why, why_bytes);
    if (fd < 0)
        return NULL;
    *handle = open_object(path, &fd, why, why_bytes);
    close(fd);
    if (*handle == NULL)
        return NULL;
    const struct hak_box_entry *theirs = dlsym(*handle, HAK_BOX_SYMBOL);
    struct hak_box_entry *e =
        theirs != NULL ? hak_sealed_memory(sizeof *e) : NULL;
    int error = 0;
    if (theirs == NULL)
        error = hak_refuse(-EINVAL, why, why_bytes,
                           "does not export " HAK_BOX_SYMBOL
                           ": is it a box? Put HAK_BOX_EXPORT before its "
                           "entry, so that -fvisibility cannot hide it");
    else if (e == NULL)
        error = hak_refuse(-ENOMEM, why, why_bytes, "no memory");
    else
        error = read_entry(theirs, e, why, why_bytes);
    if (error == 0)
        return e;
    dlclose(*handle);
    return NULL;
}

/* ---- loading ---- */

/* With `type`, `path` is the box's own; relative ones are so to the INI. */
static int place_library(const struct hak_conf *c,
                         const struct hak_conf_box *conf,
                         const struct hak_param *params, uint32_t n,
                         union hak_value *values)
{
    char path[PATH_MAX];
    if (conf->type == NULL || conf->path == NULL ||
        strchr(conf->path, '/') == NULL)
        return 0;
    hak_box_path(conf->path, conf->name, c->file, path, sizeof path);
    const char *kept = hak_meta_text(path);
    if (kept == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(params[i].name, "path") == 0)
            values[i].text = kept;
    return 0;
}

/* A box without init may set its box->state at any time. */
static struct hak_loaded *loaded_memory(const struct hak_box_entry *e)
{
    return e->ops.init != NULL ? hak_sealed_memory(sizeof(struct hak_loaded))
                               : hak_meta(sizeof(struct hak_loaded));
}

struct hak_loaded *hak_box_load(struct hak_conf *c,
                                const struct hak_conf_box *conf)
{
    char path[PATH_MAX], why[256];
    void *handle;
    struct hak_origin where = conf->path != NULL || conf->type != NULL
                                  ? conf->path_origin
                                  : conf->origin;
    hak_box_path(conf->type != NULL ? NULL : conf->path,
                 conf->type != NULL ? conf->type : conf->name, c->file, path,
                 sizeof path);
    const struct hak_box_entry *e =
        hak_box_file(path, &handle, why, sizeof why);
    if (e == NULL) {
        hak_conf_tell(c, HAK_DIAG_ERROR, where, "box %s: %s %s", conf->name,
                      path, why);
        return NULL;
    }
    struct hak_loaded *b = loaded_memory(e);
    union hak_value *values =
        hak_sealed_memory(sizeof *values * (e->nparams == 0 ? 1 : e->nparams));
    if (b == NULL || values == NULL ||
        (b->path = hak_meta_text(path)) == NULL) {
        hak_conf_tell(c, HAK_DIAG_ERROR, where, "box %s: no memory",
                      conf->name);
        return NULL;
    }
    b->values = values;
    if (hak_conf_params(c, conf, e->params, e->nparams, values) != 0 &&
        conf->type != NULL)
        return NULL; /* without what it was told it is no box at all */
    int error = place_library(c, conf, e->params, e->nparams, values);
    if (error == 0)
        error = hak_box_begin(b, conf, e);
    if (error > 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, where,
                      "box %s: its init returned %d; it may return 0, or "
                      "-errno for what failed",
                      conf->name, error);
    else if (error != 0)
        hak_conf_tell(c, HAK_DIAG_ERROR, where,
                      b->said[0] != 0 ? "box %s: %s"
                                      : "box %s: init failed: %s",
                      conf->name, b->said[0] != 0 ? b->said : strerror(-error));
    if (error != 0)
        return NULL;
    return b;
}
