/* SPDX-License-Identifier: MIT
 * open.c - checks and opens the shared objects of boxes and modules.
 *
 * A file is checked on an open descriptor before dlopen gets it, because
 * dlopen's messages ("invalid ELF header") do not say what to do.
 */
#include <core/box/open.h>

#include <base/elf_file.h>
#include <base/os.h>
#include <base/seal.h>
#include <base/text.h>
#include <base/trust.h>
#include <base/why.h>
#include <core/box/check.h>
#include <core/box/find.h>
#include <core/state/boxes.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>
#include <string.h>

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

/* Open a file that passes the checks for a box. Returns a descriptor, or -errno
 * with the reason in why. */
static int open_checked(const char *path, char *why, size_t why_bytes)
{
    int fd = hak_os_secure() ? hak_trust_open(path, false, why, why_bytes)
                             : open_any(path, why, why_bytes);
    int error = fd < 0 ? fd : hak_elf_check(fd, why, why_bytes);
    if (error == 0)
        return fd;
    if (fd >= 0 && !is_regular(fd)) /* a clearer reason than that of the ELF */
        error = hak_refuse(-EINVAL, why, why_bytes, "is not a regular file");
    if (fd >= 0)
        close(fd);
    return error;
}

/*
 * Make a path that leads to the open file itself: /proc/thread-self/fd/./N,
 * since a thread may have descriptors of its own. The loader remembers the
 * names of the files that it opened, and takes an equal name for the same file.
 * So each path gets another N, for which *fd may be replaced, and the "./"
 * makes it differ from paths that programs use. Returns false: there is no
 * /proc, or no free descriptor.
 */
static bool make_descriptor_path(int *fd, char name[64])
{
    static int next = 3;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, next);
    if (higher < 0)
        return false;
    close(*fd);
    *fd = higher;
    next = higher + 1;
    char digits[24];
    hak_text_join(name, 64, "/proc/thread-self/fd/./",
                  hak_text_number(digits, (unsigned long)higher));
    return access(name, F_OK) == 0;
}

static bool is_same_file(const char *path, int fd)
{
    struct stat now, checked;
    return stat(path, &now) == 0 && hak_os_fstat(fd, &checked) == 0 &&
           now.st_dev == checked.st_dev && now.st_ino == checked.st_ino;
}

/* Is `object` loaded from the file of that name, as the loader sees it? */
static bool is_loaded_from(void *object, const char *name)
{
    void *same = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    if (same != NULL)
        dlclose(same);
    return same == object;
}

/* The last object in the loader's list. A newly loaded object is added behind
 * it. */
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
 * Load the file that was checked on *fd.
 *
 * It is loaded by its path, so that debuggers and dladdr show that name.
 * Afterwards it is tested whether the path still led to the file that was
 * checked. The loader may also have returned an object that it had loaded
 * before by the same name, from a file that has been replaced since. In that
 * case the loader is asked whether *fd leads to that object's file.
 *
 * With raised rights it is loaded by the descriptor, so that constructors of no
 * other file run.
 */
static void *open_object(const char *path, int *fd, char *why, size_t n)
{
    char name[64];
    const struct link_map *last = last_object();
    bool by_name = hak_os_secure() && make_descriptor_path(fd, name);
    void *object = dlopen(by_name ? name : path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        hak_refuse(-EINVAL, why, n, "cannot be loaded: %s", dlerror());
        return NULL;
    }
    bool is_new = last != NULL && last->l_next == object;
    bool is_checked = by_name;
    if (!by_name)
        is_checked = !is_new && make_descriptor_path(fd, name)
                         ? is_loaded_from(object, name)
                         : is_same_file(path, *fd);
    if (is_checked)
        return object;
    dlclose(object);
    hak_refuse(-EINVAL, why, n,
               "is another file than a moment ago; is it just being replaced? "
               "Start again");
    return NULL;
}

void *hak_object_open(const char *path, char *why, size_t why_bytes)
{
    int fd = open_checked(path, why, why_bytes);
    if (fd < 0)
        return NULL;
    void *object = open_object(path, &fd, why, why_bytes);
    close(fd);
    return object;
}

const struct hak_box_entry *hak_box_file(const char *path, void **handle,
                                         char *why, size_t why_bytes)
{
    *handle = hak_object_open(path, why, why_bytes);
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
        error = hak_entry_read(theirs, e, why, why_bytes);
    if (error == 0)
        return e;
    dlclose(*handle);
    return NULL;
}

int hak_module_file(const char *name, const struct hak_module_entry **out,
                    char *why, size_t n)
{
    char path[HAK_PLACE_BYTES], installed[HAK_PLACE_BYTES], symbol[64];
    const char *const places[] = {path, installed, NULL};
    hak_text_join(path, sizeof path, "modules/", name, ".so");
    hak_text_join(installed, sizeof installed, "hakmem/modules/", name, ".so");
    const char *file = hak_beside(places);
    if (file == NULL)
        return hak_refuse(-ENOENT, why, n,
                          "there is no %s beside the library; is hakmem "
                          "installed whole?",
                          path);
    void *object = hak_object_open(file, why, n);
    if (object == NULL)
        return -EINVAL;
    hak_text_join(symbol, sizeof symbol, HAK_MODULE_PREFIX, name);
    *out = dlsym(object, symbol);
    if (*out != NULL)
        return 0;
    dlclose(object);
    return hak_refuse(-EINVAL, why, n, "%s does not export %s", file, symbol);
}
