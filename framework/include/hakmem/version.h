/* SPDX-License-Identifier: MIT
 * version.h - the version of hakmem, in this one place. */
#ifndef HAKMEM_VERSION_H
#define HAKMEM_VERSION_H

#define HAK_VERSION "0.2.0"

#endif
