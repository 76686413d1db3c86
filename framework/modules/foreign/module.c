/* SPDX-License-Identifier: MIT
 * module.c - the module "foreign": calls of other libraries, for foreign boxes.
 */
#include <modules/foreign/foreign.h>

#include <hakmem/module.h>

#include <string.h>

static const struct hak_module_host *host;

/* The name of the box's nth [call NAME] that has poll = yes. */
static const char *polled(const struct hak_box *box, uint32_t n,
                          const char **text)
{
    const char *name;
    bool poll;
    for (uint32_t i = 0;
         (name = host->call_of(box->name, i, text, &poll)) != NULL; i++)
        if (poll && n-- == 0)
            return name;
    return NULL;
}

static void *sealed(size_t size_bytes)
{
    return host->sealed(size_bytes);
}

static const struct hak_foreign_host_1 table = {
    HAK_FFI_FUNCTIONS,
    .polled = polled,
    .sealed = sealed,
};

static int start(const struct hak_module_host *of_core)
{
    host = of_core;
    return 0;
}

static const void *extension(const char *id)
{
    return strcmp(id, HAK_FOREIGN_1) == 0 ? &table : NULL;
}

HAK_MODULE(foreign) = {
    HAK_MODULE_HEADER("foreign"),
    .start = start,
    .extension = extension,
};
