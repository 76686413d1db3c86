/* SPDX-License-Identifier: MIT
 * crash.c - [core] verify: a crash inside of a box is told with the box and the
 * operation.
 *
 * The slow paths note which operation of which box they call (call_begins in
 * route.c). The handlers are installed at start, where nobody has installed
 * others, and go when a signal comes: the fault then happens again, and ends
 * the process as it would have. A program that installs its own later takes
 * their place.
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
        raise(number); /* it was sent: it does not come again by itself */
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
