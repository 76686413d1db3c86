/* SPDX-License-Identifier: MIT
 * conf_reading.h - read an INI text or file and note what is told of it.
 *
 * For one test program: it defines the static conf and told.
 */
#ifndef HAK_TESTS_CONF_READING_H
#define HAK_TESTS_CONF_READING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memfd_create */
#endif
#include "../lib/test.h"

#include <conf/conf.h>
#include <hakmem/foreign.h>

#ifndef TEST_TOP
#define TEST_TOP "." /* top of the tree: tests run there */
#endif

static struct hak_conf conf;
static char told[65536]; /* "error 3: text\n" for each finding */

/* Findings of the file by line, others by where they are. */
static inline void take(void *context, enum hak_diag_level level,
                        const char *file, int line, const char *text)
{
    size_t n = strlen(told);
    char *at = told + n;
    size_t left = sizeof told - n;
    const char *word = level == HAK_DIAG_ERROR ? "error" : "warning";
    EXPECT(context == &conf);
    if (strncmp(file, "environment ", 12) == 0)
        snprintf(at, left, "%s %s: %s\n", word, file, text);
    else
        snprintf(at, left, "%s %d: %s\n", word, line, text);
    EXPECT(line == 0 || strcmp(file, conf.file) == 0);
}

static inline int read_file(const char *path, char *const *envp,
                            const char *profile)
{
    told[0] = 0;
    hak_conf_parse_call = hak_call_parse;
    return hak_conf_read(&conf, path, -1, envp, profile, take, &conf);
}

static inline int read_bytes(const char *bytes, size_t n, char *const *envp,
                             const char *profile)
{
    int fd = memfd_create("test.ini", 0);
    EXPECT_EQ(write(fd, bytes, n), n);
    lseek(fd, 0, SEEK_SET);
    told[0] = 0;
    hak_conf_parse_call = hak_call_parse;
    int rc = hak_conf_read(&conf, "t.ini", fd, envp, profile, take, &conf);
    EXPECT_EQ(close(fd), 0); /* still ours */
    return rc;
}

static inline int read_text(const char *text)
{
    return read_bytes(text, strlen(text), NULL, NULL);
}

#define BOOLS "is none of yes, no, on, off, true, false, 1, 0"
#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})
#define BOXES "[box ultra]\n[box midmt]\n[box large]\n"
#define POLICY "[policy]\nC0-C7 = ultra\n1025-32k = midmt\n32769- = large\n"

/* Read TEXT above the usual boxes and policy in an environment. */
static inline int read_env(const char *text, char *const *envp,
                           const char *profile)
{
    char all[4096];
    int n = snprintf(all, sizeof all, BOXES POLICY "%s", text);
    return read_bytes(all, (size_t)n, envp, profile);
}

/* Name of the route that serves a size, "" = none. */
static inline const char *route_at(size_t size_bytes)
{
    int rule = conf.index_rule[hak_index_of(size_bytes)];
    return rule < 0 ? "" : conf.route[conf.rule[rule].route].name;
}

/* "ultra midmt > libc": a route's chain and what comes last. */
static inline const char *chain_of(const char *name)
{
    static char text[512];
    text[0] = 0;
    for (uint32_t i = 0; i < conf.nroutes; i++) {
        const struct hak_conf_route *r = &conf.route[i];
        if (strcmp(r->name, name) != 0)
            continue;
        for (uint32_t k = 0; k < r->nchain; k++) {
            strcat(text, conf.box[r->chain[k]].name);
            strcat(text, " ");
        }
        strcat(text, r->last == HAK_FALLBACK_LIBC ? "> libc" : "> none");
    }
    return text;
}

static inline void expect_origin(struct hak_origin origin, const char *file,
                                 int line)
{
    EXPECT_STR(origin.file, file);
    EXPECT_EQ(origin.line, line);
}

#endif
