/* SPDX-License-Identifier: MIT
 * linked.h - the modules as objects, for programs that are linked with them.
 */
#ifndef HAKMEM_MODULES_LINKED_H
#define HAKMEM_MODULES_LINKED_H

/* For a program that loads boxes by itself, as its first step: links the
 * folders of the core (start/start.h), and gives them all modules. */
void hak_modules_link(void);

#endif
