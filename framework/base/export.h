/* SPDX-License-Identifier: MIT
 * export.h - what the library exports, in place of libc's or of its own.
 */
#ifndef HAKMEM_BASE_EXPORT_H
#define HAKMEM_BASE_EXPORT_H

#define HAK_EXPORT __attribute__((visibility("default")))

/* The declaration of a second name for a function of this file, with the
 * attributes of the first where the compiler can copy them. */
#if __has_attribute(copy)
#define HAK_SECOND_NAME(name) __attribute__((alias(#name), copy(name)))
#else
#define HAK_SECOND_NAME(name) __attribute__((alias(#name)))
#endif

#endif
