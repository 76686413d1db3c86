/* SPDX-License-Identifier: MIT
 * victim.c - makes the core call one operation of the box faulty
 * (tests/boxes/faulty.c), for test_blame.sh.
 *
 * usage: victim OPERATION [HANDLER]
 *
 * HANDLER is what the program has for fatal signals:
 *     none     nothing
 *     own      a handler, which says so and exits with 3
 *     chain    a handler, which says so and calls the handler it found
 *     small    chain, on an alternate stack of 8 KiB
 *     back     it puts the handler that it found back
 *     asked    it prints which handlers it finds, and ends
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARMS = 300001, LARGE = 400000, NUMBERS = 5 };
static const int numbers[NUMBERS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct sigaction found[NUMBERS];

/* ---- handlers ------------------------------------------------------------ */

static void say(const char *text)
{
    (void)!write(2, text, strlen(text));
}

static void own(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    say("own handler\n");
    _exit(3);
}

static void chain(int number, siginfo_t *info, void *context)
{
    say("own handler\n");
    for (int i = 0; i < NUMBERS; i++) {
        if (numbers[i] != number)
            continue;
        if (found[i].sa_flags & SA_SIGINFO) {
            found[i].sa_sigaction(number, info, context);
        } else { /* as programs do that found SIG_DFL */
            sigaction(number, &found[i], NULL);
            if (info->si_code <= 0)
                raise(number);
        }
    }
}

static void install(const char *how)
{
    struct sigaction mine = {.sa_sigaction = own, .sa_flags = SA_SIGINFO};
    static char small[8192];
    if (strcmp(how, "small") == 0) {
        stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
        sigaltstack(&stack, NULL);
        mine.sa_flags |= SA_ONSTACK;
    }
    if (strcmp(how, "own") != 0)
        mine.sa_sigaction = chain;
    for (int i = 0; i < NUMBERS; i++) {
        sigaction(numbers[i], &mine, &found[i]);
        if (strcmp(how, "back") == 0)
            sigaction(numbers[i], &found[i], NULL);
    }
}

static int ask(void)
{
    for (int i = 0; i < NUMBERS; i++) {
        sigaction(numbers[i], NULL, &found[i]);
        puts(found[i].sa_flags & SA_SIGINFO   ? "handler"
             : found[i].sa_handler == SIG_DFL ? "default"
             : found[i].sa_handler == SIG_IGN ? "ignored"
                                              : "handler");
    }
    return 0;
}

/* ---- operations ---------------------------------------------------------- */

static void *volatile blocks[4096];

static void *other_thread(void *p)
{
    if (p != NULL)
        free(p);
    else
        blocks[0] = malloc(100);
    return NULL;
}

static void run_thread(void *p)
{
    pthread_t thread;
    pthread_create(&thread, NULL, other_thread, p);
    pthread_join(thread, NULL);
}

static void many_small(void)
{
    for (int turn = 0; turn < 64; turn++) {
        for (int i = 0; i < 4096; i++)
            blocks[i] = malloc(100 + (size_t)turn * 16);
        for (int i = 0; i < 4096; i++)
            free(blocks[i]);
    }
}

/* Ever more memory is in use, in a pattern that leaves much of it free. */
static void grow(void)
{
    for (size_t size = LARGE; size < 64u << 20; size += size / 2) {
        free(malloc(size));
        many_small();
    }
}

static void tick_for_long(void)
{
    for (int i = 0; i < 200; i++) {
        usleep(20000);
        for (int k = 0; k < 16; k++)
            free(malloc(LARGE + (size_t)k * 65536));
        many_small();
    }
}

static void do_operation(const char *name)
{
    void *large = malloc(LARGE), *other = malloc(LARGE);
    void *lane = malloc(60000);
    free(malloc(ARMS));
    blocks[1] = other;
    if (strcmp(name, "alloc") == 0)
        blocks[0] = malloc(LARGE);
    else if (strcmp(name, "zalloc") == 0)
        blocks[0] = calloc(1, LARGE);
    else if (strcmp(name, "aligned_alloc") == 0)
        blocks[0] = memalign(4096, LARGE);
    else if (strcmp(name, "resize") == 0)
        blocks[0] = realloc(large, 4 * LARGE);
    else if (strcmp(name, "free") == 0 || strcmp(name, "owns") == 0)
        free(large);
    else if (strcmp(name, "usable_size") == 0)
        blocks[0] = (void *)malloc_usable_size(large);
    else if (strcmp(name, "remote_free") == 0)
        run_thread(lane);
    else if (strcmp(name, "heap_open") == 0 || strcmp(name, "heap_park") == 0)
        run_thread(NULL);
    else if (strcmp(name, "heap_close") == 0)
        run_thread(NULL), malloc_trim(0);
    else if (strcmp(name, "fork") == 0)
        _exit(fork() < 0);
    else if (strcmp(name, "stats") == 0)
        malloc_stats();
    else if (strcmp(name, "trim") == 0)
        malloc_trim(0);
    else if (strcmp(name, "shrink") == 0)
        grow();
    else if (strcmp(name, "age") == 0)
        tick_for_long();
    else /* refill, triggered */
        many_small();
}

int main(int argc, char **argv)
{
    const char *handler = argc > 2 ? argv[2] : "none";
    if (argc < 2)
        return 2;
    if (strcmp(handler, "asked") == 0)
        return ask();
    if (strcmp(handler, "none") != 0)
        install(handler);
    if (strcmp(argv[1], "own") == 0) /* a crash of the program's own */
        *(volatile int *)16 = 0;
    if (strcmp(argv[1], "sent") == 0)
        raise(SIGABRT);
    do_operation(argv[1]);
    return 0;
}
