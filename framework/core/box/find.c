/* SPDX-License-Identifier: MIT
 * find.c - where box files and modules are: beside the library or the tool.
 */
#include <core/box/find.h>

#include <base/meta.h>
#include <base/os.h>
#include <base/text.h>
#include <core/state/boxes.h>

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>
#include <string.h>

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
