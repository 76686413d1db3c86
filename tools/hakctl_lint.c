/* SPDX-License-Identifier: MIT
 * hakctl_lint.c - hakctl lint: prints the findings in configurations.
 */
#include "hakctl.h"

#include <conf/conf.h>
#include <core/state/core.h>

/* ---- what to check ---- */

/* Add the findings with a profile that are not among those without it. */
static void check_profile(struct ctl_findings *all, const char *path,
                          const char *profile)
{
    struct ctl_findings own = {0};
    ctl_check(&own, path, profile);
    for (size_t i = 0; i < own.n; i++) {
        struct ctl_finding f = own.at[i];
        char text[1024];
        if (ctl_has_finding(all, &f))
            continue;
        snprintf(text, sizeof text, "%s (with profile %s)", f.text, profile);
        f.text = text;
        ctl_add_finding(all, &f);
    }
}

/* Sort the findings of one file, from `first` on, by line. The order of
 * findings of one line stays. */
static void sort_findings(struct ctl_findings *all, size_t first)
{
    for (size_t i = first + 1; i < all->n; i++) {
        struct ctl_finding f = all->at[i];
        size_t at = i;
        for (; at > first && all->at[at - 1].line > f.line; at--)
            all->at[at] = all->at[at - 1];
        all->at[at] = f;
    }
}

void ctl_lint_file(struct ctl_findings *all, const char *path,
                   const char *profile)
{
    const char *chosen = getenv("HAKMEM_PROFILE");
    ctl_check(all, path, profile);
    if (profile != NULL || (chosen != NULL && chosen[0] != 0))
        return;
    static struct hak_conf own;
    if (hak_conf_read(&own, path, -1, NULL, NULL, NULL, NULL) != 0)
        return; /* its errors are to be corrected before its profiles */
    for (uint32_t i = 0; i < own.nsections; i++)
        if (strncmp(own.section[i].name, "profile ", 8) == 0)
            check_profile(all, path, own.section[i].name + 8);
}

/* ---- output ---- */

static void print_text(const struct ctl_findings *all)
{
    for (size_t i = 0; i < all->n; i++)
        ctl_print_finding(stdout, &all->at[i]);
}

static void print_json(const struct ctl_findings *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct ctl_finding *f = &all->at[i];
        fputs(i == 0 ? "[\n" : ",\n", stdout);
        fputs("{\"file\":", stdout);
        ctl_json(stdout, f->file);
        if (f->line > 0)
            printf(",\"line\":%d", f->line);
        else
            fputs(",\"line\":null", stdout);
        printf(",\"level\":\"%s\",\"text\":",
               f->level == HAK_DIAG_ERROR ? "error" : "warning");
        ctl_json(stdout, f->text);
        fputc('}', stdout);
    }
    fputs(all->n == 0 ? "[]\n" : "\n]\n", stdout);
}

int ctl_lint(int argc, char **argv)
{
    static const struct option longs[] = {
        {"profile", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {CTL_HELP},
        {NULL, 0, NULL, 0}};
    struct ctl_findings all = {0};
    const char *profile = NULL;
    bool json = false;
    int option;
    while ((option = ctl_option(argc, argv, ":p:jh", longs)) != -1) {
        if (option == 'p')
            profile = optarg;
        else if (option == 'j')
            json = true;
        else
            return CTL_BAD;
    }
    if (optind == argc) {
        ctl_say("lint: no INI given, as in hakctl lint conf/default.ini");
        return CTL_BAD;
    }
    for (int i = optind; i < argc; i++) {
        size_t first = all.n;
        ctl_lint_file(&all, argv[i], profile);
        sort_findings(&all, first);
    }
    (json ? print_json : print_text)(&all);
    return all.nerrors > 0 ? CTL_BAD : all.nwarnings > 0 ? CTL_SOME : CTL_OK;
}
