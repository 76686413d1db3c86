/* SPDX-License-Identifier: MIT
 * crash.c - [core] blame: names the box and the operation in which a fatal
 * signal comes.
 *
 * The handlers are installed at start, before boxes are loaded, where the
 * disposition is the default one. A handler writes a line if the thread is in
 * an operation of a box (core/state/op_calls.h). Then the default action
 * follows: the exit status and the core dump are those of the fault itself.
 *
 * A handler that the program installs later replaces ours. If it calls the one
 * that it found, which is ours, the line is written, and the disposition is
 * reset to the default one, so that the program ends and does not go round.
 *
 * The handlers run on the program's alternate stack if there is one, which may
 * be small. So they use few hundred bytes, and none of printf.
 */
#include <start/start.h>

#include <base/log.h>
#include <base/os.h>
#include <base/text.h>
#include <core/state/op_calls.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

/* Does the kernel send the signal again when the instruction is repeated? A
 * signal that was sent does not come back, nor does one that tells of broken
 * memory which nobody has read yet. */
static bool comes_again(int number, const siginfo_t *info)
{
    return info->si_code > 0 &&
           !(number == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

static void tell_crash(int number, const siginfo_t *info,
                       const struct hak_op_call *call)
{
    char line[320], operation[64], address[24] = "";
    hak_op_text(call, operation);
    if (comes_again(number, info))
        hak_text_pointer(address, info->si_addr);
    hak_text_join(line, sizeof line - 1, "hakmem: box ", call->box->box.name,
                  ": SIG", sigabbrev_np(number), " in ", operation,
                  address[0] != 0 ? ", address " : "", address);
    size_t n = strlen(line);
    line[n++] = '\n';
    (void)!hak_os_write(STDERR_FILENO, line, n);
}

/* An abort() after a message of hak_die, or after an error that the box has
 * logged, is no second fault. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    int kept = errno;
    const struct hak_op_call *call = hak_op_record();
    struct sigaction normal = {.sa_handler = SIG_DFL};
    (void)context;
    if (call->box != NULL &&
        !(number == SIGABRT && (call->told || hak_is_dying())))
        tell_crash(number, info, call);
    sigaction(number, &normal, NULL);
    /* The signal is blocked until this handler, or the program's that has
     * called it, returns. */
    if (!comes_again(number, info))
        raise(number);
    errno = kept;
}

static bool is_ours(const struct sigaction *a)
{
    return (a->sa_flags & SA_SIGINFO) != 0 && a->sa_sigaction == on_crash;
}

void hak_crash_start(void)
{
    struct sigaction there;
    struct sigaction ours = {.sa_sigaction = on_crash,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (size_t i = 0; i < NUMBERS; i++)
        if (sigaction(numbers[i], NULL, &there) == 0 &&
            (there.sa_flags & SA_SIGINFO) == 0 && there.sa_handler == SIG_DFL)
            sigaction(numbers[i], &ours, NULL);
}

void hak_crash_stop(void)
{
    struct sigaction there, normal = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < NUMBERS; i++)
        if (sigaction(numbers[i], NULL, &there) == 0 && is_ours(&there))
            sigaction(numbers[i], &normal, NULL);
}
