/* SPDX-License-Identifier: MIT
 * known.c - a program whose live blocks are known, in functions that are found
 * by their names.
 *
 *     known live       500 blocks of 100 bytes of keep_small, 30 of 50000 of
 *                      keep_large, 7 of 3000 of keep_grown; 1000 that are freed
 *     known thread     exit in a thread that is not the first
 *     known threads    64 threads with 100 blocks of 200 bytes each
 *     known fork       the child keeps 10 more
 *     known exec       as live, then becomes /bin/true
 *     known signal     SIGUSR2 to itself, then waits for FILE
 *     known jit        calls malloc from code in no file, without unwind tables
 *     known handler    a signal handler allocates, on a small stack of its own
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

static void *volatile kept[20000];
static unsigned nkept;

static void keep(void *p)
{
    if (p == NULL)
        abort();
    kept[__atomic_fetch_add(&nkept, 1, __ATOMIC_RELAXED)] = p;
}

APART void keep_small(unsigned n)
{
    while (n-- != 0)
        keep(malloc(100));
}

APART void keep_large(unsigned n)
{
    while (n-- != 0)
        keep(calloc(1, 50000));
}

APART void keep_grown(unsigned n)
{
    while (n-- != 0)
        keep(realloc(malloc(10), 3000));
}

APART void free_again(unsigned n)
{
    void *volatile p;
    while (n-- != 0) {
        p = malloc(n + 1);
        free(p);
    }
}

static void live(void)
{
    keep_small(500);
    keep_large(30);
    keep_grown(7);
    free_again(1000);
}

static void *leave(void *unused)
{
    live();
    exit(3);
    return unused;
}

APART void *keep_of_thread(void *name)
{
    pthread_setname_np(pthread_self(), name);
    for (int i = 0; i < 100; i++)
        keep(malloc(200));
    return NULL;
}

static void threads(void)
{
    static char name[64][16];
    pthread_t t[64];
    for (int i = 0; i < 64; i++) {
        snprintf(name[i], sizeof name[i], "worker-%d", i);
        if (pthread_create(&t[i], NULL, keep_of_thread, name[i]) != 0)
            abort();
    }
    for (int i = 0; i < 64; i++)
        pthread_join(t[i], NULL);
}

/* When the main thread is gone, /proc/self has no mappings. */
static void *outlive(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    live();
    return NULL;
}

static void forked(void)
{
    keep_small(5);
    if (fork() == 0) {
        keep_small(10);
        exit(0);
    }
    wait(NULL);
}

static void on_alarm(int number)
{
    (void)number;
    keep_small(20);
}

static void handler(void)
{
    static char room[16384];
    stack_t on = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
    sigaltstack(&on, NULL);
    sigaction(SIGALRM, &a, NULL);
    raise(SIGALRM);
}

/* sub $8, %rsp; mov $24, %edi; call *%rax; add $8, %rsp; ret - with a jump to
 * malloc through rax, which the caller sets. */
static void jit(void)
{
    static const unsigned char code[] = {
        0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0xf8, 0xbf, 0x18, 0x00,
        0x00, 0x00, 0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0xc3};
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *(*function)(void *(*)(size_t));
    memcpy(at, code, sizeof code);
    memcpy(&function, &at, sizeof at);
    for (int i = 0; i < 50; i++)
        keep(function(malloc));
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static pthread_t t, self;
    self = pthread_self();
    if (strcmp(what, "live") == 0)
        live();
    else if (strcmp(what, "thread") == 0) {
        pthread_create(&t, NULL, leave, NULL);
        pthread_join(t, NULL);
    } else if (strcmp(what, "last") == 0) {
        pthread_create(&t, NULL, outlive, &self);
        pthread_exit(NULL);
    } else if (strcmp(what, "threads") == 0)
        threads();
    else if (strcmp(what, "fork") == 0)
        forked();
    else if (strcmp(what, "jit") == 0)
        jit();
    else if (strcmp(what, "handler") == 0)
        handler();
    else if (strcmp(what, "exec") == 0) {
        live();
        execl("/bin/true", "true", (char *)NULL);
    } else if (strcmp(what, "signal") == 0) {
        live();
        raise(SIGUSR2);
        keep_small(500); /* a slow path starts the thread */
        while (access(argv[2], F_OK) != 0)
            usleep(1000);
        _exit(0);
    } else
        return 2;
    return 0;
}
