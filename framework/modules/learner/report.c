/* SPDX-License-Identifier: MIT
 * report.c - the learner's lines in reports.
 */
#include <modules/learner/learner.h>

#include <inttypes.h>

/* Add a word of the INI. Such words have no characters that JSON must escape.
 */
static void add_quoted(const struct hak_report_part *to, const char *word)
{
    to->add(to->report, "\"%s\"", word);
}

static void add_percent(const struct hak_report_part *to, const char *name,
                        uint32_t bps)
{
    to->add(to->report, "%s%3u.%02u%%", name, bps / 100, bps % 100);
}

/* Classes without retires since start are left out. */
static void write_as_text(const struct hak_report_part *to,
                          const struct hak_learner_figures *f)
{
    to->add(to->report,
            "learner %s, %" PRIu64 " evaluations, %" PRIu64
            " decisions; last interval: %" PRIu64 " retires",
            f->mode, f->evaluations, f->decisions, f->interval_retires);
    add_percent(to, ", utilisation ", f->utilisation_bps);
    add_percent(to, ", free hit ", f->free_hit_bps);
    to->add(to->report, "\n");
    for (uint32_t c = 0; c < HAK_CLASSES; c++) {
        const struct hak_learner_class_figures *k = &f->classes[c];
        if (k->retires == 0)
            continue;
        to->add(to->report, "learner C%u %-10s", c, k->route);
        add_percent(to, " share ", k->share_bps);
        add_percent(to, "  retire ", k->retire_bps);
        add_percent(to, "  utilisation ", k->utilisation_bps);
        add_percent(to, "  free hit ", k->free_hit_bps);
        to->add(to->report, "  %" PRIu64 " switches, rule %s\n", k->switches,
                k->rule != NULL ? k->rule : "none");
    }
}

static void json_class(const struct hak_report_part *to, uint32_t c,
                       const struct hak_learner_class_figures *k)
{
    to->add(to->report, "%s{\"class\":\"C%u\",\"route\":", c == 0 ? "" : ",",
            c);
    add_quoted(to, k->route);
    to->add(to->report, ",\"rule\":");
    if (k->rule != NULL)
        add_quoted(to, k->rule);
    else
        to->add(to->report, "null");
    to->add(to->report,
            ",\"retires\":%" PRIu64 ",\"allocations\":%" PRIu64
            ",\"switches\":%" PRIu64
            ",\"share_bps\":%u,\"retire_bps\":%u,\"utilisation_bps\":%u,"
            "\"free_hit_bps\":%u}",
            k->retires, k->allocations, k->switches, k->share_bps,
            k->retire_bps, k->utilisation_bps, k->free_hit_bps);
}

static void write_as_json(const struct hak_report_part *to,
                          const struct hak_learner_figures *f)
{
    to->add(to->report,
            ",\"learner\":{\"mode\":\"%s\",\"evaluations\":%" PRIu64
            ",\"decisions\":%" PRIu64 ",\"interval_retires\":%" PRIu64
            ",\"utilisation_bps\":%u,\"free_hit_bps\":%u,\"classes\":[",
            f->mode, f->evaluations, f->decisions, f->interval_retires,
            f->utilisation_bps, f->free_hit_bps);
    for (uint32_t c = 0; c < HAK_CLASSES; c++)
        json_class(to, c, &f->classes[c]);
    to->add(to->report, "]}");
}

void hak_learner_report(const struct hak_report_part *to)
{
    struct hak_learner_figures f;
    if (hak_learner_read(&f) != 0)
        return;
    if (to->json)
        write_as_json(to, &f);
    else
        write_as_text(to, &f);
}
