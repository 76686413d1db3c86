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
           strcmp(word, "dump") == 0 || strcmp(word, "state") == 0;
}

/* "PID VERB ..." asks a process: the word behind the first one that is no
 * option is a verb. */
static bool is_live(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-' || argv[i][1] == 0)
            return i + 1 < argc && is_verb(argv[i + 1]);
    return false;
}

/* ---- the request --------------------------------------------------------- */

static void print_dumped(const json_t *ok)
{
    const char *file = ctl_text(ok, "file");
    printf("%s\nread it by: hakctl profile %s\n", file, file);
}

static void print_state(const json_t *ok)
{
    if (!json_is_true(json_object_get(ok, "sampling"))) {
        printf("nothing is sampled\n");
        return;
    }
    printf("one sample every %.0f bytes on average: %.0f samples; about %.0f "
           "bytes in use, %.0f at the peak\n",
           ctl_number(ok, "every"), ctl_number(ok, "samples"),
           ctl_number(ok, "live_bytes"), ctl_number(ok, "peak_bytes"));
    if (ctl_number(ok, "lost_blocks") > 0)
        printf("%.0f blocks had no room: a larger `most` of [heap_profile] "
               "mends that\n",
               ctl_number(ok, "lost_blocks"));
}

/* Ask, and print the answer by `print`. Returns the exit status. */
static int ask(pid_t pid, const char *verb, const char *word,
               void (*print)(const json_t *ok))
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
    if (print != NULL)
        print(ok);
    json_decref(ok);
    return CTL_OK;
}

static int ask_and_tell(pid_t pid, const char *verb, const char *word)
{
    if (strcmp(verb, "dump") == 0)
        return ask(pid, verb, word, print_dumped);
    if (strcmp(verb, "state") == 0)
        return ask(pid, verb, word, print_state);
    int status = ask(pid, verb, word, NULL);
    if (status == CTL_OK && strcmp(verb, "start") == 0)
        status = ask(pid, "state", NULL, print_state);
    else if (status == CTL_OK)
        printf("stopped; what is recorded stays until it is freed\n");
    return status;
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
    if (words > (dump ? 3 : 2) ||
        (every != NULL && strcmp(verb, "start") != 0)) {
        ctl_say("profile: %s is not wanted here; see hakctl help profile",
                words > (dump ? 3 : 2) ? argv[argc - 1] : "--every");
        return CTL_BAD;
    }
    pid_t pid = ctl_find(argv[optind]);
    if (pid == 0)
        return CTL_SOME;
    /* The process writes the file, and may have another working directory. */
    char *file = words == 3 ? ctl_absolute(argv[optind + 2]) : NULL;
    const char *word = dump ? file : every;
    int status = json ? ask(pid, verb, word, ctl_print_json)
                      : ask_and_tell(pid, verb, word);
    free(file);
    return status;
}

/* ---- the command --------------------------------------------------------- */

/* A number that is no file is the process of somebody who has forgotten the
 * verb. */
static bool lacks_verb(int argc, char **argv)
{
    const char *word = argc == 2 ? argv[1] : "";
    if (word[0] == 0 || strspn(word, "0123456789") != strlen(word) ||
        access(word, F_OK) == 0)
        return false;
    ctl_say(
        "profile: there is no file %s; hakctl profile %s dump writes one of "
        "the process %s",
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
