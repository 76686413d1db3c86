/* SPDX-License-Identifier: MIT
 * init.c - the library's constructor and destructor. Tools are linked without
 * it.
 */
#include <core/box/modules.h>
#include <report/report.h>
#include <start/start.h>

__attribute__((constructor)) static void on_load(int argc, char **argv,
                                                 char **envp)
{
    (void)argc;
    (void)argv;
    hak_start(envp);
}

/* Runs after the program's own exit handlers. It tears nothing down, since
 * destructors of other libraries may still free. */
__attribute__((destructor)) static void on_unload(void)
{
    hak_report_at_exit();
    hak_modules_stop();
}
