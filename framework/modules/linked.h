/* SPDX-License-Identifier: MIT
 * linked.h - all modules, for programs that have them linked in.
 */
#ifndef HAKMEM_MODULES_LINKED_H
#define HAKMEM_MODULES_LINKED_H

/* Connect the folders of the core (start/start.h) and give the core all
 * modules. A program that loads boxes by itself calls this first. */
void hak_modules_link(void);

#endif
