/* SPDX-License-Identifier: MIT
 * atfork.c - pthread_atfork, so that our fork handlers are registered first.
 *
 * libc runs prepare handlers last registered first, and the others in order. So
 * a handler that is registered before ours runs while we hold all locks. If it
 * waits for a lock of its own, whose holder waits in malloc for one of ours, it
 * waits for ever. So any registration makes us register first.
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

/* Each program and library has its own pthread_atfork from libc_nonshared.a,
 * which calls this function. */
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
 * libc's own pthread_atfork, for callers that look it up by name or that are
 * linked with libpthread (tcmalloc). It is not the default version of the
 * symbol: programs that are linked with us must get __register_atfork above,
 * since libc then forgets the handlers of a library that is closed.
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
