/* SPDX-License-Identifier: MIT
 * hakctl_run_heap.c - hakctl run --heap-profile: the program writes a heap
 * profile when it ends.
 */
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_file[] = "hakmem-heap.%p.pb.gz";

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
    if (strlen(path) >= sizeof dir) {
        ctl_say("run: --heap-profile: the file's name is too long");
        return false;
    }
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
    const char *path = getenv("HAKMEM_HEAP_PROFILE_FILE");
    if (path == NULL)
        return;
    char *name = ctl_with_pid(path, getpid());
    ctl_say("heap profile at exit; read it by: hakctl profile %s", name);
    free(name);
}

int ctl_heap_profile(const char *file, const char *every, bool all)
{
    char pid[16];
    char *path = ctl_absolute(file != NULL ? file : default_file);
    bool good = can_write(path);
    snprintf(pid, sizeof pid, "%d", all ? 0 : (int)getpid());
    if (good && all && strstr(path, "%p") == NULL) {
        ctl_say(
            "run: --heap-profile-all=%s: each process writes a file, so the "
            "name needs a %%p, the process id",
            file);
        good = false;
    }
    if (good &&
        (setenv("HAKMEM_HEAP_PROFILE_FILE", path, 1) != 0 ||
         setenv("HAKMEM_HEAP_PROFILE_ONLY_PID", pid, 1) != 0 ||
         (every != NULL && setenv("HAKMEM_HEAP_PROFILE_EVERY", every, 1) != 0)))
        ctl_die("no memory");
    free(path);
    return good ? CTL_OK : CTL_BAD;
}
