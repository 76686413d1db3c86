/* SPDX-License-Identifier: MIT
 * gates.h - names that every INI may use without a declaration.
 *
 * This is the one place of the framework where routes and boxes have names. A
 * new gate, or another order, is a row here.
 */
#ifndef HAKMEM_CONF_GATES_H
#define HAKMEM_CONF_GATES_H

/*
 * Routes that claim one size class go by their names in this order; any other
 * name comes behind them, in the order of the file, and LAST behind all.
 */
#define HAK_ROUTES_FIRST "ULTRA", "MID_V35", "V7", "MID_V3"
#define HAK_ROUTE_LAST "LEGACY"

/*
 * Gates: environment variables that are short names for keys.
 *
 *     X(variable less HAKMEM_, section, key, value)
 *
 * value  "": the variable's own; else this one, when the variable is "on"
 * The first row of a variable names the section that the file must have.
 */
/* clang-format off */
#define HAK_GATES(X) \
    X("MID_V35_ENABLED", "route MID_V35", "enabled", "") \
    X("MID_V35_CLASSES", "route MID_V35", "classes", "") \
    X("SMALLMID_ENABLE", "route SMALLMID", "enabled", "") \
    X("TINY_HEAP_V2", "box tiny", "magazine", "") \
    X("TINY_HEAP_V2", "box tiny", "lanes", "off") \
    X("TINY_HEAP_V2", "route TINY", "enabled", "on") \
    X("TINY_HEAP_V2_CLASS_MASK", "box tiny", "magazine_classes", "") \
    X("TINY_HEAP_V2_STATS", "stats", "at_exit", "stderr")
/* clang-format on */

#endif
