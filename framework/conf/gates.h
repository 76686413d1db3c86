/* SPDX-License-Identifier: MIT
 * gates.h - the names of routes and boxes that the framework knows.
 *
 * The framework names routes and boxes only in this file. To add a gate or to
 * change the order of claims, change the tables here.
 */
#ifndef HAKMEM_CONF_GATES_H
#define HAKMEM_CONF_GATES_H

/*
 * The order of routes that claim the same size class: first these names, then
 * all other names in the order of the file, then HAK_ROUTE_LAST.
 */
#define HAK_ROUTES_FIRST "ULTRA", "MID_V35", "V7", "MID_V3"
#define HAK_ROUTE_LAST "LEGACY"

/*
 * Gates: environment variables that are short names for keys.
 *
 *     X(variable less HAKMEM_, section, key, value)
 *
 * value  "": the key gets the variable's value. Otherwise the key gets this
 *        value if the variable is on, and stays as it is if not.
 *
 * A variable may have several rows; rows whose section is not in the file are
 * passed over. If the section of the first row is not there, hakctl prints a
 * note.
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
