/* SPDX-License-Identifier: MIT
 * values.h - parses single values: sizes, ranges, classes, parameters; finds
 * near names.
 *
 * None of it needs a struct hak_conf, allocates, or changes errno. `why`, which
 * may be NULL, is a buffer that gets the reason of a failure in words.
 */
#ifndef HAKMEM_CONF_VALUES_H
#define HAKMEM_CONF_VALUES_H

#include <hakmem/box.h>

/*
 * A function that parses one call of a HAK_PARAM_CALL value. It is a pointer,
 * because only processes with module "foreign" have hak_call_parse(). Set
 * hak_conf_parse_call before a configuration is read.
 */
struct hak_call;
typedef int hak_parse_call(const char **text, struct hak_call *out, char *why,
                           size_t why_bytes);
extern hak_parse_call *hak_conf_parse_call;

/* hak_conf_param - parse text as a value of param. Returns 0 or -EINVAL; *out
 * stays as it was on failure. A text value points to text itself. */
int hak_conf_param(const struct hak_param *param, const char *text,
                   union hak_value *out, char *why, size_t why_bytes);

/* hak_conf_bytes - parse a size as "64", "4k", "4KiB", "1M", "2GiB", "0x40"; k
 * and KiB are both 1024. Returns 0, -EINVAL (not a size) or -ERANGE (too
 * large). */
int hak_conf_bytes(const char *text, uint64_t *out);

/*
 * hak_conf_range - parse one range as "C4", "C4-C7", "257-1024", "262145-",
 * "17" and set the first and last size index of it.
 *
 * A size alone stands for the index that serves it. A start of 0 or 1 stands
 * for index 0, which serves requests of 0 bytes too. A bound that is not the
 * bound of an index is -EINVAL, and why names the nearest ones. All sizes above
 * HAK_LANE_MAX_BYTES are one index, so 262145- is the only range there.
 * Returns 0, -EINVAL or -ERANGE (class or number too large).
 */
int hak_conf_range(const char *text, uint32_t *first, uint32_t *last, char *why,
                   size_t why_bytes);

/*
 * hak_conf_classes - parse classes as "C5,C6", "C4-C7" or a mask such as 0x60,
 * in which bit n is class Cn. Returns 0, -EINVAL or -ERANGE; *mask stays as it
 * was on failure.
 */
int hak_conf_classes(const char *text, uint8_t *mask, char *why,
                     size_t why_bytes);

/*
 * hak_conf_signal - parse a signal as "USR2", "SIGUSR2", "12", or "none", which
 * is 0. Refused are signals that cannot be handled, and those of faults.
 * Returns 0, -EINVAL or -ERANGE; *number stays as it was on failure.
 */
int hak_conf_signal(const char *text, int *number, char *why, size_t why_bytes);

/* hak_conf_nearest - the candidate nearest to word, or NULL if none is near.
 * Near means an edit distance of at most 2 and below half of word's length. A
 * swap of two neighbours counts 1, and case does not count. Candidates may be
 * NULL. */
const char *hak_conf_nearest(const char *word, const char *const *candidates,
                             size_t n);

#endif
