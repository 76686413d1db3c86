/* SPDX-License-Identifier: MIT
 * values.h - one text to one value: sizes, ranges, classes, parameters, names.
 * Knows no struct hak_conf. None of it allocates or changes errno.
 */
#ifndef HAKMEM_CONF_VALUES_H
#define HAKMEM_CONF_VALUES_H

#include <hakmem/box.h>

/*
 * What parses one call of HAK_PARAM_CALL: as hak_call_parse of
 * modules/foreign/, which not every process has. Set it before a configuration
 * is read.
 */
struct hak_call;
typedef int hak_parse_call(const char **text, struct hak_call *out, char *why,
                           size_t why_bytes);
extern hak_parse_call *hak_conf_parse_call;

/* hak_conf_param - parse one text by one parameter. 0 or -EINVAL; *out kept
 * on failure; why (may be NULL) gets the reason. */
int hak_conf_param(const struct hak_param *param, const char *text,
                   union hak_value *out, char *why, size_t why_bytes);

/* hak_conf_bytes - "64", "4k", "4KiB", "1M", "2GiB"; decimal or 0x. 0/-EINVAL
 * (not a size) or -ERANGE. k and KiB are both 1024. */
int hak_conf_bytes(const char *text, uint64_t *out);

/*
 * hak_conf_range - "C4", "C4-C7", "257-1024", "262145-", "17": one item.
 * Sets first and last size index. A size alone stands for the index that it
 * is in, the start 1 for index 0 too (requests of 0 bytes). A bound that is
 * no index boundary is -EINVAL, with the nearest ones in why; sizes above
 * HAK_LANE_MAX_BYTES are one index, so 262145- is the only range there.
 * Returns 0, -EINVAL or -ERANGE (class or number too large); why as above.
 */
int hak_conf_range(const char *text, uint32_t *first, uint32_t *last, char *why,
                   size_t why_bytes);

/*
 * hak_conf_classes - "C5,C6", "C4-C7" or a mask as in 0x60: bit n = class Cn.
 * Returns 0, -EINVAL or -ERANGE; *mask kept on failure; why as above.
 */
int hak_conf_classes(const char *text, uint8_t *mask, char *why,
                     size_t why_bytes);

/* hak_conf_nearest - the candidate nearest to word, or NULL when none is near
 * (edit distance at most 2, and less than half of the word). Two neighbours
 * swapped count 1, case does not count; NULL candidates are passed over. */
const char *hak_conf_nearest(const char *word, const char *const *candidates,
                             size_t n);

#endif
