/* SPDX-License-Identifier: MIT
 * hakctl_profile.c - hakctl profile: starts, stops and asks for the heap
 * profile of a running process. The profile of a file is read by
 * hakctl-profile.
 */
#include "hakctl_profile.h"
#include "hakctl.h"
#include "hakctl_control.h"

#include <base/text.h>
#include <conf/conf.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_verb(const char *word)
{
    return strcmp(word, "start") == 0 || strcmp(word, "stop") == 0 ||
           strcmp(word, "dump") == 0;
}

/* The words "PID VERB ..." ask a process. A file is never followed by a verb.
 */
static bool is_live(int argc, char **argv)
{
    int words = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != 0)
            continue;
        if (++words == 2)
            return is_verb(argv[i]);
    }
    return false;
}

/* ---- the request ----------------------------------------------------------
 */

/* The process writes the file, and may have another working directory. */
static const char *absolute(const char *file)
{
    static char path[2 * PATH_MAX];
    char cwd[PATH_MAX];
    if (file[0] == '/')
        return file;
    if (getcwd(cwd, sizeof cwd) == NULL)
        ctl_die("cannot tell the working directory: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/%s", cwd, file);
    return path;
}

static void print_started(const json_t *ok)
{
    double every = ctl_number(ok, "every");
    if (every == 0)
        every = ctl_number(ok, "every_bytes");
    printf("sampling");
    if (every > 0)
        printf(" one in %.0f bytes", every);
    printf(": hakctl profile PID dump writes a profile\n");
}

static void print_dumped(const json_t *ok)
{
    const char *file = ctl_text(ok, "file");
    if (file[0] == 0) {
        ctl_print_json(ok);
        return;
    }
    printf("%s\nread it by: hakctl profile %s\n", file, file);
}

static void print_reply(const char *verb, const json_t *ok)
{
    if (strcmp(verb, "start") == 0)
        print_started(ok);
    else if (strcmp(verb, "dump") == 0)
        print_dumped(ok);
    else
        printf("stopped; what is recorded stays until it is freed\n");
}

static int ask(pid_t pid, const char *verb, const char *word, bool json)
{
    char *request = NULL, why[1024];
    ctl_word(&request, "profile");
    ctl_word(&request, verb);
    if (word != NULL)
        ctl_word(&request, word);
    json_t *ok = ctl_ask_ok(pid, request, why, sizeof why);
    free(request);
    if (ok == NULL) {
        ctl_say("profile: %s", why);
        return CTL_SOME;
    }
    if (json)
        ctl_print_json(ok);
    else
        print_reply(verb, ok);
    json_decref(ok);
    return CTL_OK;
}

static int live(int argc, char **argv)
{
    static const struct option longs[] = {
        {"every", required_argument, NULL, 'e'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    const char *every = NULL;
    bool json = false;
    int option;
    while ((option = ctl_option(argc, argv, ":e:jh", longs)) != -1) {
        if (option == 'e')
            every = optarg;
        else if (option == 'j')
            json = true;
        else
            return CTL_BAD;
    }
    const int words = argc - optind;
    const char *verb = argv[optind + 1];
    const bool dump = strcmp(verb, "dump") == 0;
    if (words > (dump ? 3 : 2) || (every != NULL && strcmp(verb, "start"))) {
        ctl_say("profile: %s is not wanted here; see hakctl help profile",
                words > (dump ? 3 : 2) ? argv[argc - 1] : "--every");
        return CTL_BAD;
    }
    pid_t pid = ctl_find(argv[optind]);
    if (pid == 0)
        return CTL_SOME;
    const char *file = words == 3 ? absolute(argv[optind + 2]) : NULL;
    return ask(pid, verb, dump ? file : every, json);
}

/* ---- the command ----------------------------------------------------------
 */

/* A number that is no file is the process of somebody who has forgotten the
 * verb. */
static bool lacks_verb(int argc, char **argv)
{
    const char *word = argc == 2 ? argv[1] : "";
    if (word[0] == 0 || strspn(word, "0123456789") != strlen(word) ||
        access(word, F_OK) == 0)
        return false;
    ctl_say("profile: there is no file %s; of the process %s, hakctl profile "
            "%s dump writes one",
            word, word, word);
    return true;
}

int ctl_profile(int argc, char **argv)
{
    if (lacks_verb(argc, argv))
        return CTL_BAD;
    return is_live(argc, argv) ? live(argc, argv)
                               : ctl_profile_file(argc, argv);
}
