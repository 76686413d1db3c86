/* SPDX-License-Identifier: MIT
 * start.c - the start of the core in a process.
 *
 * Everything starts in the library's constructor, where dlopen is legal. The
 * boot arena serves requests that come earlier. Nothing is ever torn down,
 * since destructors of other libraries may still free.
 */
#include <start/start.h>

#include <base/log.h>
#include <base/os.h>
#include <base/seal.h>
#include <core/box/modules.h>
#include <core/malloc/slow.h>
#include <core/malloc/verify.h>
#include <core/memory/libc.h>
#include <core/memory/other.h>
#include <core/memory/space.h>
#include <core/route/lanes.h>
#include <core/route/tap.h>
#include <core/state/op_calls.h>
#include <core/state/directory.h>
#include <core/thread/mailbox.h>
#include <core/thread/thread.h>
#include <report/report.h>
#include <start/change.h>

#include <errno.h>

/* ---- findings ---- */

enum { TELL_MOST = 3 };
static uint32_t told;

/*
 * Print one finding about the configuration. Only the first TELL_MOST errors
 * are printed; run_on_libc_alone prints how many more there are. Warnings about
 * the INI are left to hakctl lint. Warnings about the environment (line 0) are
 * printed, since no tool shows them.
 */
static void tell_finding(void *context, enum hak_diag_level level,
                         const char *file, int line, const char *text)
{
    (void)context;
    if (level == HAK_DIAG_NOTE)
        return;
    if (level == HAK_DIAG_WARNING ? line != 0 : told++ >= TELL_MOST)
        return;
    if (file == NULL)
        hak_say("%s", text);
    else if (line == 0)
        hak_say("%s: %s", file, text);
    else
        hak_say("%s:%d: %s", file, line, text);
}

static void run_on_libc_alone(void)
{
    const char *path = hak_conf.file != NULL ? hak_conf.file : "FILE";
    if (told > TELL_MOST)
        hak_say("%u more errors; hakctl lint %s shows them", told - TELL_MOST,
                path);
    if (hak_conf.strict)
        hak_die("strict = yes: giving up");
    hak_say("running on libc alone");
    if (hak_blames())
        hak_crash_stop();
    /* If the process has another allocator, free must still be able to tell
     * which blocks are libc's. */
    if (!hak_other_is_there())
        hak_libc_forget();
    hak_core.mode = HAK_MODE_LIBC;
}

/* ---- start ---- */

static int set_up(char *const *envp)
{
    int error = hak_setup_conf(envp, tell_finding);
    if (error != 0)
        return error;
    hak_core.blame = hak_conf.blame || hak_conf.verify;
    if (hak_blames())
        hak_crash_start();
    error = hak_space_start(
        hak_os_window_bytes(hak_conf.fallback == HAK_FALLBACK_NONE),
        hak_conf.purge_delay_ms);
    if (error == 0 && hak_conf.verify)
        hak_verify_start();
    if (error == 0)
        error = hak_thread_start();
    if (error != 0) {
        tell_finding(NULL, HAK_DIAG_ERROR, NULL, 0,
                     "no address space to start with");
        return error;
    }
    error = hak_setup_modules();
    if (error == 0)
        error = hak_setup_boxes();
    if (error == 0)
        hak_lanes_group();
    if (error == 0 && told != 0 && hak_conf.strict)
        error = -EINVAL;
    return error;
}

static void run_on_boxes(void)
{
    hak_core.free_route = hak_conf.free_route;
    hak_core.verify = hak_conf.verify;
    hak_libc_bound(hak_boxes.residual != NULL);
    hak_tap_free_inline();
    __atomic_store_n(&hak_core.mode, HAK_MODE_BOXES, __ATOMIC_RELEASE);
    hak_modules_run();
    hak_fork_register();
    hak_report_start();
}

/* Folders that stand above core/malloc/ and start/ in README's list call these
 * functions by pointers, since they must not include the headers. */
void hak_start_links(void)
{
    hak_core.extension = hak_setup_extension;
    hak_core.fork_recover = hak_fork_recover;
    hak_core.age = hak_age_all;
    hak_core.changes = &hak_changes;
    hak_core.report = hak_report_copy;
    hak_core.figures = hak_figures;
    hak_core.classes = hak_classes;
    hak_core.libc_allocs = hak_libc_allocs;
    hak_core.write_report = hak_report_to_target;
    hak_mailbox_start(hak_free_parcel);
}

void hak_start(char *const *envp)
{
    hak_start_links();
    hak_libc_start();
    hak_other_start();
    if (set_up(envp) != 0)
        run_on_libc_alone();
    else
        run_on_boxes();
    hak_other_started();
    hak_conf.diag = NULL; /* there are no findings after the start */
    hak_seal();
}
