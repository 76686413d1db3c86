/* SPDX-License-Identifier: MIT
 * hakctl_run_heap.c - hakctl run --heap-profile: the program writes a heap
 * profile when it ends.
 */
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_file[] = "hakmem-heap.%p.pb.gz";

/* The file with an absolute path, since the program may change its folder. */
static bool make_absolute(const char *file, char *out, size_t bytes)
{
    char cwd[PATH_MAX] = "";
    const char *slash = "";
    if (file[0] != '/') {
        slash = "/";
        if (getcwd(cwd, sizeof cwd) == NULL)
            ctl_die("cannot tell the working directory: %s", strerror(errno));
    }
    int n = snprintf(out, bytes, "%s%s%s", cwd, slash, file);
    if (n > 0 && (size_t)n < bytes)
        return true;
    ctl_say("run: --heap-profile: the file's name is too long");
    return false;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Can the file be made? Otherwise says so: the program itself would say it only
 * when it ends. */
static bool can_write(const char *path)
{
    char dir[PATH_MAX];
    struct stat s;
    if (ends_in(path, ".folded") || ends_in(path, ".txt")) {
        ctl_say("run: --heap-profile=%s: profiles are written as pprof's "
                ".pb.gz; hakctl profile FILE --collapsed or --text makes this "
                "of one",
                path);
        return false;
    }
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    slash[slash == dir] = 0;
    if (access(dir, W_OK | X_OK) != 0) {
        ctl_say("run: --heap-profile=%s: %s: %s", path, dir, strerror(errno));
        return false;
    }
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        ctl_say("run: --heap-profile=%s: is a folder; name a file in it", path);
        return false;
    }
    return true;
}

/* exec keeps the process id. */
void ctl_heap_profile_tell(void)
{
    char name[PATH_MAX + 16];
    const char *path = getenv("HAKMEM_HEAP_PROFILE_FILE");
    const char *p = path != NULL ? strstr(path, "%p") : NULL;
    if (path == NULL)
        return;
    if (p != NULL)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(p - path), path,
                 (int)getpid(), p + 2);
    else
        snprintf(name, sizeof name, "%s", path);
    ctl_say("heap profile at exit; read it by: hakctl profile %s", name);
}

int ctl_heap_profile(const char *file, const char *every, bool all)
{
    char path[PATH_MAX], pid[16];
    snprintf(pid, sizeof pid, "%d", all ? 0 : (int)getpid());
    if (!make_absolute(file != NULL ? file : default_file, path, sizeof path) ||
        !can_write(path))
        return CTL_BAD;
    if (all && strstr(path, "%p") == NULL) {
        ctl_say(
            "run: --heap-profile-all=%s: each process writes a file, so the "
            "name needs a %%p, the process id",
            file);
        return CTL_BAD;
    }
    if (setenv("HAKMEM_HEAP_PROFILE_FILE", path, 1) != 0 ||
        setenv("HAKMEM_HEAP_PROFILE_ONLY_PID", pid, 1) != 0 ||
        (every != NULL && setenv("HAKMEM_HEAP_PROFILE_EVERY", every, 1) != 0))
        ctl_die("no memory");
    return CTL_OK;
}
