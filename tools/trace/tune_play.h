/* SPDX-License-Identifier: MIT
 * tune_play.h - measures a choice by playing traces on its INI.
 *
 *     struct tune_play play = {.space = &t.space, .base = &base, .seed = 1};
 *     tune_play_open(&play, paths, n, why, sizeof why);
 *     t.measure = tune_play_measure;
 *     t.context = &play;
 *     ...
 *     tune_play_close(&play);
 */
#ifndef HAKMEM_TUNE_PLAY_H
#define HAKMEM_TUNE_PLAY_H

#include "replay.h"
#include "tune.h"

#include "../hakctl.h"

struct tune_play {
    const struct tune_space *space;
    const struct tune_base_ini *base;
    uint64_t seed;
    double fault_ns; /* what a page fault costs; 0: measure it */

    /* for tune_play.c */
    struct replay_plan *plan[TUNE_TRACES];
    size_t nplans;
    struct compare as_base; /* for its environment */
    char **environment;
    char folder[64], *conf; /* of the INI that is played; conf is HAKMEM_CONF=
                               and its path */
    char *written;          /* the choice in it; allocated; NULL: none */
    char **good;            /* choices that passed the check; allocated */
    size_t ngood;
    struct ctl_findings findings; /* about the base */
};

/* Open the traces, and find the environment that puts a program on the base.
 * Returns false, after a message. */
bool tune_play_open(struct tune_play *p, char *const *traces, size_t n);
/* A tune_measure_fn. */
int tune_play_measure(void *context, const struct tune_choice *choice,
                      size_t trace, double from, double to,
                      struct tune_figures *out, char *why, size_t n);
void tune_play_close(struct tune_play *p);

#endif
