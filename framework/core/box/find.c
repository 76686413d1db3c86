/* SPDX-License-Identifier: MIT
 * find.c - finds box files and modules, beside the library or the tool.
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

/* The directory of the library or tool that contains this code, without links
 * in it and without a slash at its end; "." if it cannot be found. */
static const char *own_dir(void)
{
    static const char *dir;
    struct dl_find_object own;
    char path[PATH_MAX];
    if (dir != NULL)
        return dir;
    if (_dl_find_object(&hak_boxes, &own) != 0)
        return ".";
    /* l_name is empty for the program itself. argv[0] is not used, since it may
     * be any text. */
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

/* DIR is own_dir(). Boxes are in DIR/boxes in the build tree, in DIR/hakmem for
 * a library in PREFIX/lib, in DIR/../lib/hakmem for a tool in PREFIX/bin. */
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
 * Without a path, it is NAME.so in hak_boxes_dir(). A path without a slash is a
 * file name in that directory. An absolute path is taken as it is. A relative
 * path is relative to the INI's directory; if there is no such file, it is
 * relative to the working directory.
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
