/* SPDX-License-Identifier: MIT
 * atfork.c - pthread_atfork, so that our handlers are the first.
 *
 * Fork handlers that are registered before ours would run between ours, where
 * we hold all locks: one that waits for a lock of its own, whose holder is in
 * malloc, would wait for good. So ours come first.
 */
#include <base/export.h>
#include <start/start.h>

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int register_handlers(const struct hak_fork_handlers *h, void *library)
{
    int (*next)(hak_fork_handler *, hak_fork_handler *, hak_fork_handler *,
                void *);
    if (hak_fork_keep(h))
        return 0;
    hak_fork_register();
    void *symbol = dlsym(RTLD_NEXT, "__register_atfork");
    memcpy(&next, &symbol, sizeof next);
    return next != NULL ? next(h->prepare, h->parent, h->child, library)
                        : ENOSYS;
}

/* What the pthread_atfork in each program and library calls, which the linker
 * takes from libc_nonshared.a. */
int __register_atfork(hak_fork_handler *prepare, hak_fork_handler *parent,
                      hak_fork_handler *child, void *library);
HAK_EXPORT int __register_atfork(hak_fork_handler *prepare,
                                 hak_fork_handler *parent,
                                 hak_fork_handler *child, void *library)
{
    const struct hak_fork_handlers h = {prepare, parent, child};
    return register_handlers(&h, library);
}

/*
 * And libc's own, for who asks for it by name or knows libpthread only
 * (tcmalloc). Not the default version: who is linked with us gets what is
 * above, which forgets the handlers of a library that is closed.
 */
#if __has_attribute(symver)
int hak_pthread_atfork(hak_fork_handler *prepare, hak_fork_handler *parent,
                       hak_fork_handler *child);
__attribute__((symver("pthread_atfork@HAKMEM_COMPAT"))) HAK_EXPORT int
hak_pthread_atfork(hak_fork_handler *prepare, hak_fork_handler *parent,
                   hak_fork_handler *child)
{
    return __register_atfork(prepare, parent, child, NULL);
}
#endif
