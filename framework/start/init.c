/* SPDX-License-Identifier: MIT
 * init.c - the library's constructor and destructor. Tools leave it out. */
#include <report/report.h>
#include <start/start.h>

__attribute__((constructor)) static void begin(int argc, char **argv,
                                               char **envp)
{
    (void)argc;
    (void)argv;
    hak_start(envp);
}

/* Runs after the program's own exit handlers; tears nothing down. */
__attribute__((destructor)) static void end(void)
{
    hak_report_at_exit();
}
