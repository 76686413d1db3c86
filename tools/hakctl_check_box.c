/* SPDX-License-Identifier: MIT
 * hakctl_check_box.c - hakctl check-box: runs the conformance suite on a box.
 *
 * The suite is a program of its own beside hakctl. It has a host that is
 * stricter than the core, and one process cannot have both.
 */
#include "hakctl.h"

#include <conf/conf.h>
#include <core/box/find.h>
#include <core/state/core.h>

#include <errno.h>
#include <limits.h>

/* ---- file and parameters from an INI ------------------------------------- */

enum { WORDS = 64 };

static void add_word(char **words, int *n, char *word)
{
    if (word == NULL || *n == WORDS - 1)
        ctl_die("too many words, or no memory for them");
    words[(*n)++] = word;
}

/* Add the parameters of [box NAME] as KEY=VALUE, without keys of the core. */
static void add_params(const struct hak_conf_box *box, char **words, int *n)
{
    static const char *const own[] = {"type", "path", "priority", "lanes"};
    char path[PATH_MAX], *word = NULL;
    for (uint32_t i = 0; i < hak_conf.nentries; i++) {
        const struct hak_conf_entry *e = &hak_conf.entry[i];
        bool core = strncmp(e->section, "box ", 4) != 0 ||
                    strcmp(e->section + 4, box->name) != 0;
        for (size_t k = 0; k < sizeof own / sizeof own[0]; k++)
            core |= strcmp(e->key, own[k]) == 0;
        if (!core && asprintf(&word, "%s=%s", e->key, e->value) > 0)
            add_word(words, n, word);
    }
    if (box->type == NULL || box->path == NULL)
        return;
    snprintf(path, sizeof path, "%s", box->path);
    if (strchr(box->path, '/') != NULL)
        hak_box_path(box->path, box->name, hak_conf.file, path, sizeof path);
    if (asprintf(&word, "path=%s", path) > 0)
        add_word(words, n, word);
}

/* argv with "-c INI BOX" replaced by the box's file and parameters. NULL, after
 * a message: there is an error. */
static char **expand_ini_box(int argc, char **argv)
{
    static char *words[WORDS];
    static char path[PATH_MAX];
    const char *names[HAK_MAX_BOXES] = {NULL};
    char mean[128];
    int n = 0;
    if (argc < 4) {
        ctl_say("check-box: -c takes an INI and a box, as in -c "
                "conf/foreign/jemalloc.ini jemalloc");
        return NULL;
    }
    if (hak_conf_read(&hak_conf, argv[2], -1, environ, NULL, NULL, NULL) != 0) {
        ctl_say("%s has errors; hakctl lint shows them", argv[2]);
        return NULL;
    }
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        const struct hak_conf_box *box = &hak_conf.box[i];
        names[i] = box->name;
        if (strcmp(box->name, argv[3]) != 0)
            continue;
        hak_box_path(box->type != NULL ? NULL : box->path,
                     box->type != NULL ? box->type : box->name, hak_conf.file,
                     path, sizeof path);
        add_word(words, &n, argv[0]);
        add_word(words, &n, path);
        add_params(box, words, &n);
        for (int k = 4; k < argc; k++)
            add_word(words, &n, argv[k]);
        return words;
    }
    ctl_did_you_mean(mean, sizeof mean, argv[3], names, hak_conf.nboxes);
    ctl_say("check-box: no [box %s] in %s%s", argv[3], argv[2], mean);
    return NULL;
}

int ctl_check_box(int argc, char **argv)
{
    char dir[PATH_MAX], path[PATH_MAX + 32];
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return ctl_help(argv[0]);
    if (argc > 1 && strcmp(argv[1], "-c") == 0 &&
        (argv = expand_ini_box(argc, argv)) == NULL)
        return CTL_BAD;
    if (!ctl_own_dir(dir, sizeof dir))
        return CTL_BAD;
    snprintf(path, sizeof path, "%s/hakctl-check-box", dir);
    ctl_foreign_tls_for_next();
    execv(path, argv);
    ctl_say("cannot run %s: %s; make builds it, make install puts it there",
            path, strerror(errno));
    return CTL_BAD;
}
