/* SPDX-License-Identifier: MIT
 * hakctl_report_advice.h - what the advice of the page is made of.
 */
#ifndef HAKMEM_HAKCTL_REPORT_ADVICE_H
#define HAKMEM_HAKCTL_REPORT_ADVICE_H

#include "hakctl_report.h"

/* The advice so far. */
struct advice {
    const struct report_process *process;
    const json_t *page;
    json_t *out;
    int64_t bound; /* of bytes that matter */
    bool conf;     /* hak_conf holds the INI of the process */
};

/* Bytes at the peak of RSS, or at the only moment that there is, and their mean
 * over time. What is there at the end alone does not count: then most programs
 * have freed what they had. */
struct advice_bytes {
    int64_t peak, mean;
};

/* A key that would help, and a value for it. */
struct ini_line {
    const char *key, *value;
};

enum { WHEN_BYTES = 200, SIZE_BYTES = 64 };

/*
 * advice_add - add a piece of advice.
 * ini   lines for the INI, or ""
 * then  what the lines do; if there are none, because the INI has them, the
 *       advice says that instead. NULL: nothing is added to the text
 */
void advice_add(struct advice *a, const char *title, int64_t bytes,
                const char *ini, const char *then, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* A text by a format, which the caller frees. */
char *advice_format(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* The lines of one section that the INI of the process does not have; "" if it
 * has all. The caller frees the text. */
char *advice_lines(const struct advice *a, const char *section,
                   const struct ini_line *line, size_t n);

/* The bytes of a cause, and the larger one of the two figures. */
struct advice_bytes advice_cause(const struct advice *a, const char *cause);
int64_t advice_most(struct advice_bytes b);

/* The moment and the point of the peak of RSS. */
const json_t *advice_peak_moment(const struct advice *a);
const json_t *advice_peak_point(const struct advice *a);

/* Bytes in words: "3.00 MiB". Returns out. */
const char *advice_size(char out[SIZE_BYTES], int64_t bytes);
/* "It was 3 MiB at the peak of RSS and 2 MiB in the mean over time." */
const char *advice_when(const struct advice *a, char out[WHEN_BYTES],
                        struct advice_bytes b);

/* Add all advice, hakctl_report_rules.c. */
void advise(struct advice *a);

#endif
