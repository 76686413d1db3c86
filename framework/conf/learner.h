/* SPDX-License-Identifier: MIT
 * learner.h - the values of [learner] and [rule NAME], for module "learner".
 */
#ifndef HAKMEM_CONF_LEARNER_H
#define HAKMEM_CONF_LEARNER_H

#include <conf/limits.h>
#include <hakmem/box.h>

enum hak_learn_mode { HAK_LEARN_OFF, HAK_LEARN_OBSERVE, HAK_LEARN_APPLY };

/* Figures of a size class that a condition can compare; docs/learner.md defines
 * them. */
enum hak_learn_figure {
    HAK_LEARN_SHARE,
    HAK_LEARN_RETIRE,
    HAK_LEARN_UTILISATION,
    HAK_LEARN_FREE_HIT,
    HAK_LEARN_FIGURES,
};

enum hak_learn_compare {
    HAK_LEARN_BELOW,
    HAK_LEARN_AT_MOST,
    HAK_LEARN_ABOVE,
    HAK_LEARN_AT_LEAST,
};

struct hak_conf_condition {
    uint8_t figure;  /* enum hak_learn_figure */
    uint8_t compare; /* enum hak_learn_compare */
    uint16_t bps;    /* limit in basis points, 0..10000 */
};

/* A [rule NAME]: its classes take its route while all its conditions hold. */
struct hak_conf_learn_rule {
    const char *name;
    uint8_t classes; /* bit n = class Cn */
    uint8_t nwhen;   /* number of conditions; 0: the rule always holds */
    struct hak_conf_condition when[HAK_CONF_CONDITIONS];
    uint32_t route;           /* position in conf->route */
    struct hak_origin origin; /* of the [rule NAME] line */
};

struct hak_conf_learner {
    enum hak_learn_mode mode; /* default: off */
    uint32_t every;           /* retires between evaluations; default: 256 */
    uint32_t settle;          /* evaluations that must agree; default: 3 */
    uint32_t margin_bps;      /* in favour of what stands; default: 500 */
    const char *log;          /* none | stderr | file name; default: none */
    uint32_t nrules;          /* length of hak_conf.learn_rule */
};

#endif
