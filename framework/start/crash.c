/* SPDX-License-Identifier: MIT
 * crash.c - [core] verify: reports a crash inside of a box, with the box and
 * the operation.
 *
 * The slow paths note which operation of which box they call (hak_call_begins
 * in core/malloc/box_calls.h). The handlers are installed at start, for signals
 * that have no handler yet. Each handler runs once (SA_RESETHAND): then the
 * fault happens again and ends the process as it would without us. If the
 * program installs its own handlers later, they replace these.
 */
#include <start/start.h>

#include <base/log.h>
#include <core/state/thread.h>

#include <signal.h>
#include <string.h>

static void tell_crash(int number, siginfo_t *info, void *context)
{
    const struct hak_thread *t = hak_self;
    (void)context;
    if (hak_is_attached(t) && t->call.box != NULL)
        hak_say("verify: SIG%s in box %s: %s(%zu)", sigabbrev_np(number),
                t->call.box->box.name, t->call.operation, t->call.size);
    if (info->si_code <= 0)
        raise(number); /* kill() sent it, so no instruction will repeat it */
}

void hak_crash_start(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction there;
    struct sigaction ours = {.sa_sigaction = tell_crash,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER |
                                         (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sigaction(numbers[i], NULL, &there) == 0 &&
            (there.sa_flags & SA_SIGINFO) == 0 && there.sa_handler == SIG_DFL)
            sigaction(numbers[i], &ours, NULL);
}
