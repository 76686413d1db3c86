/* SPDX-License-Identifier: MIT
 * hakctl_compare_contenders.c - the contenders of hakctl compare: their names,
 * and the environment that puts a program on them.
 *
 * The environment is asked for and not made: env(1) is started as the program
 * will be, on hakmem by hakctl run, and prints what it got. So a configuration
 * with errors and a library that cannot be loaded are told before the first
 * round.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- names --------------------------------------------------------------- */

static char *copy_of(const char *text, size_t n)
{
    char *copy = strndup(text, n);
    if (copy == NULL)
        ctl_die("no memory");
    return copy;
}

/* "jemalloc" of /usr/lib/libjemalloc.so.2, "my" of conf/my.ini. */
static char *make_name(enum compare_kind kind, const char *given)
{
    if (kind == COMPARE_LIBC)
        return copy_of("libc", 4);
    const char *slash = strrchr(given, '/');
    const char *name = slash != NULL ? slash + 1 : given;
    const char *end = name + strlen(name), *mark;
    if (kind == COMPARE_INI && end - name > 4 && strcmp(end - 4, ".ini") == 0)
        end -= 4;
    if (kind == COMPARE_LIBRARY && (mark = strstr(name, ".so")) != NULL &&
        mark != name)
        end = mark;
    if (kind == COMPARE_LIBRARY && strncmp(name, "lib", 3) == 0 &&
        end - name > 4) /* libc stays */
        name += 3;
    return copy_of(name, (size_t)(end - name));
}

bool compare_add(struct compare *c, enum compare_kind kind, const char *given)
{
    if (c->n == COMPARE_MAX_CONTENDERS) {
        ctl_say("%s: more than %d contenders", c->command,
                COMPARE_MAX_CONTENDERS);
        return false;
    }
    c->at[c->n++] = (struct compare_contender){
        .name = make_name(kind, given),
        .kind = kind,
        .given = given != NULL ? copy_of(given, strlen(given)) : NULL,
    };
    return true;
}

static bool is_name_taken(const struct compare *c, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(c->at[i].name, name) == 0)
            return true;
    return false;
}

void compare_name_apart(struct compare *c)
{
    for (size_t i = 1; i < c->n; i++) {
        char *plain = c->at[i].name, *name = copy_of(plain, strlen(plain));
        for (int number = 2; is_name_taken(c, i, name); number++) {
            free(name);
            if (asprintf(&name, "%s#%d", plain, number) < 0)
                ctl_die("no memory");
        }
        free(plain);
        c->at[i].name = name;
    }
}

bool compare_take_count(const struct compare *c, const char *option,
                        const char *text, size_t least, size_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 &&
        n >= least && n <= COMPARE_MAX_ROUNDS) {
        *out = n;
        return true;
    }
    ctl_say("%s: %s \"%s\" is no number from %zu to %d", c->command, option,
            text, least, COMPARE_MAX_ROUNDS);
    return false;
}

/* ---- environments -------------------------------------------------------- */

static int memory_file(void)
{
    int fd = memfd_create("hakctl compare", MFD_CLOEXEC);
    if (fd < 0)
        ctl_die("memfd_create: %s", strerror(errno));
    return fd;
}

/* All of a file, with a 0 behind it; free it. */
static char *read_all(int fd, size_t *bytes)
{
    struct stat s = {0};
    if (fstat(fd, &s) != 0)
        ctl_die("fstat: %s", strerror(errno));
    char *text = calloc(1, (size_t)s.st_size + 1);
    if (text == NULL)
        ctl_die("no memory");
    ssize_t n = pread(fd, text, (size_t)s.st_size, 0);
    *bytes = n > 0 ? (size_t)n : 0;
    return text;
}

/* The strings of `env -0`, as an environment that points into the text. */
static char **split(char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += text[i] == 0;
    char **environment = calloc(n + 1, sizeof *environment);
    if (environment == NULL)
        ctl_die("no memory");
    for (size_t i = 0; i < n; i++, text += strlen(text) + 1)
        environment[i] = text;
    return environment;
}

/* Pass on the messages in what was said: the INI may ask for a report too. */
static void pass_on(const char *said)
{
    while (*said != 0) {
        const char *end = strchrnul(said, '\n');
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)(end - said), said);
        if (strncmp(line, "hakctl: ", 8) == 0 || strstr(line, "warning: ") ||
            strstr(line, "error: ") || strstr(line, "ERROR: "))
            fprintf(stderr, "%s\n", line);
        said = *end != 0 ? end + 1 : end;
    }
}

/* Judge how the start of a contender went. Returns false, after a message. */
static bool judge(const struct compare *c,
                  const struct compare_contender *contender, int error,
                  int status, const char *said)
{
    pass_on(said);
    if (error != 0)
        ctl_say("%s: cannot run env: %s", c->command, strerror(-error));
    else if (strstr(said, "cannot be preloaded") != NULL)
        ctl_say("%s: %s cannot be preloaded", c->command, contender->given);
    else if (WIFSIGNALED(status))
        ctl_say("%s: on %s even env is ended by signal %d (%s)", c->command,
                contender->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        ctl_say("%s: %s cannot be used", c->command, contender->name);
    else
        return true;
    return false;
}

/* Start env on the contender, by these words. */
static bool ask(const struct compare *c, struct compare_contender *contender,
                char *const *argv, char *const *environment)
{
    struct compare_child child;
    size_t bytes;
    const struct compare_start how = {argv, environment, -1, memory_file(),
                                      memory_file()};
    int error = compare_run_to_end(&child, &how);
    char *said = read_all(how.err, &bytes);
    bool good = !compare_interrupted() &&
                judge(c, contender, error, child.status, said);
    free(said);
    if (good) {
        char *text = read_all(how.out, &bytes);
        contender->environment = split(text, bytes);
    }
    close(how.out);
    close(how.err);
    return good;
}

/* What LD_PRELOAD needs for a library. NULL, after a message: it cannot stand
 * there. A name without a slash is searched for by ld.so, if it is not in this
 * folder. */
static const char *find_library(const struct compare *c, const char *library,
                                char whole[PATH_MAX])
{
    if (strchr(library, '/') != NULL || access(library, R_OK) == 0) {
        if (realpath(library, whole) == NULL) {
            ctl_say("%s: --lib %s: %s", c->command, library, strerror(errno));
            return NULL;
        }
        library = whole;
    }
    if (strpbrk(library, " :") == NULL)
        return library;
    ctl_say("%s: %s cannot be preloaded: blank and \":\" separate names in "
            "LD_PRELOAD",
            c->command, library);
    return NULL;
}

/* The environment with a library in front of LD_PRELOAD. NULL, after a message.
 */
static char **preloading(const struct compare *c, const char *library)
{
    size_t n = 0, used = 0;
    const char *old = "";
    char *variable = NULL, whole[PATH_MAX];
    library = find_library(c, library, whole);
    if (library == NULL)
        return NULL;
    while (environ[n] != NULL)
        n++;
    char **all = calloc(n + 2, sizeof *all);
    for (size_t i = 0; all != NULL && i < n; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) == 0)
            old = environ[i] + 11;
        else
            all[used++] = environ[i];
    if (all == NULL || asprintf(&variable, "LD_PRELOAD=%s%s%s", library,
                                *old != 0 ? ":" : "", old) < 0)
        ctl_die("no memory");
    all[used] = variable;
    return all;
}

static bool prepare_one(const struct compare *c,
                        struct compare_contender *contender)
{
    char *on_hakmem[] = {"/proc/self/exe",
                         "run",
                         "-c",
                         contender->given,
                         "--",
                         "env",
                         "-0",
                         NULL};
    char *plain[] = {"env", "-0", NULL};
    if (contender->kind == COMPARE_INI)
        return ask(c, contender, on_hakmem, environ);
    if (contender->kind == COMPARE_LIBC)
        return ask(c, contender, plain, environ);
    char **environment = preloading(c, contender->given);
    if (environment == NULL)
        return false;
    bool good = ask(c, contender, plain, environment);
    for (size_t i = 0; environment[i] != NULL; i++)
        if (environment[i + 1] == NULL)
            free(environment[i]); /* LD_PRELOAD */
    free(environment);
    return good;
}

bool compare_prepare(struct compare *c)
{
    const char *why = ctl_why_not_preloadable(c->program[0]);
    for (size_t i = 0; i < c->n; i++)
        if (why != NULL && c->at[i].kind != COMPARE_LIBC) {
            ctl_say("%s: %s %s", c->command, c->program[0], why);
            return false;
        }
    for (size_t i = 0; i < c->n; i++)
        if (!prepare_one(c, &c->at[i]))
            return false;
    return true;
}
