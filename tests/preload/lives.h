/* SPDX-License-Identifier: MIT
 * lives.h - what tests share that start their own program again, in an empty
 * directory, and then look at what it has left there. Included once.
 */
#ifndef HAK_TESTS_PRELOAD_LIVES_H
#define HAK_TESTS_PRELOAD_LIVES_H

#include "calls.h"

#include <dirent.h>

static char dir[] = "/tmp/hakmem-lives.XXXXXX";

static inline void start_in_empty_directory(void)
{
    EXPECT(mkdtemp(dir) != NULL);
    EXPECT_EQ(chdir(dir), 0);
}

static inline void remove_directory(void)
{
    DIR *all = opendir(".");
    struct dirent *one;
    EXPECT(all != NULL);
    while ((one = readdir(all)) != NULL)
        if (one->d_name[0] != '.')
            EXPECT_EQ(remove(one->d_name), 0);
    closedir(all);
    EXPECT_EQ(rmdir(dir), 0);
}

static inline const char *in(const char *name)
{
    return text_of(open(name, O_RDONLY | O_CLOEXEC));
}

static inline int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

/* A report begins with such a line. */
static inline int reports_in(const char *name)
{
    const char *text = in(name);
    int n = count(text, ".ini, ");
    EXPECT_EQ(n, count(text, " boxes, free_route "));
    return n;
}

#endif
