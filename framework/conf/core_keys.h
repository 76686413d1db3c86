/* SPDX-License-Identifier: MIT
 * core_keys.h - the keys of [core] as one table, a row for each key.
 *
 * A row defines its key completely: the member of struct hak_conf and of struct
 * hak_fused, the type and bounds that a value is checked against, the default,
 * and the constant that `hakctl fuse` writes. conf/default.ini and docs/ini.md
 * explain the keys to users. Two keys are not in the table, since they are
 * texts: `sample`, the name of a box, and `pressure_file`, a path.
 *
 *     X(key, C type, parameter type, default, least, most, choices)
 *
 * choices   for HAK_PARAM_ENUM only, in the order of the C enumeration
 *
 * Only hakctl uses trial_s, sized_delete and match_delete.
 */
#ifndef HAKMEM_CONF_CORE_KEYS_H
#define HAKMEM_CONF_CORE_KEYS_H

enum hak_fallback { HAK_FALLBACK_LIBC, HAK_FALLBACK_NONE };
enum hak_free_route { HAK_FREE_DIRECTORY, HAK_FREE_OWNS };
enum hak_on_pressure { HAK_PRESSURE_NONE, HAK_PRESSURE_TRIM };

/* clang-format off */
#define HAK_CORE_KEYS(X) \
    X(fallback, enum hak_fallback, HAK_PARAM_ENUM, HAK_FALLBACK_LIBC, 0, 0, \
      "libc|none") \
    X(free_route, enum hak_free_route, HAK_PARAM_ENUM, HAK_FREE_DIRECTORY, \
      0, 0, "directory|owns") \
    X(verify, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(blame, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(strict, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(background, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(on_pressure, enum hak_on_pressure, HAK_PARAM_ENUM, HAK_PRESSURE_NONE, \
      0, 0, "none|trim") \
    X(purge_delay_ms, uint64_t, HAK_PARAM_MS, 100, 0, 3600000, NULL) \
    X(sample_every, uint32_t, HAK_PARAM_INT, 5000, 1, 1000000000, NULL) \
    X(sized_delete, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(match_delete, bool, HAK_PARAM_BOOL, false, 0, 0, NULL) \
    X(trial_s, uint32_t, HAK_PARAM_INT, 10, 1, 3600, NULL)
/* clang-format on */

/* Expands a row to a member of a struct. */
#define HAK_CORE_MEMBER(key, type, ...) type key;

#endif
