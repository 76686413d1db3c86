/* SPDX-License-Identifier: MIT
 * test_stack.c - module "stack": its own walk finds the same frames as libgcc.
 */
#include "test.h"

#include <modules/stack/cfi.h>
#include <modules/stack/walk.h>

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

enum { MOST = 256 };

static uintptr_t ours[MOST], theirs[MOST];
static uint32_t nours, ntheirs;
static bool walked;

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context,
                                     void *unused)
{
    int exact = 0;
    uintptr_t at = _Unwind_GetIPInfo(context, &exact);
    (void)unused;
    if (ntheirs == MOST || at == 0)
        return _URC_NORMAL_STOP;
    theirs[ntheirs++] = at - (exact == 0);
    return _URC_NO_REASON;
}

static volatile int sink; /* added to behind calls that must not be jumps */

/* Take both stacks. They differ in the first frame, the line of the call. */
__attribute__((noinline)) static void take(void)
{
    nours = ntheirs = 0;
    walked = hak_stack_walk(ours, MOST, &nours);
    _Unwind_Backtrace(add_frame, NULL);
    sink++;
}

static void expect_same(uint32_t at_least)
{
    EXPECT(walked);
    EXPECT_EQ(nours, ntheirs);
    EXPECT(nours >= at_least);
    for (uint32_t i = 1; i < nours; i++)
        EXPECT_EQ(ours[i], theirs[i]);
}

/* ---- frames of all kinds ------------------------------------------------- */

__attribute__((noinline)) static void deep(int n)
{
    if (n > 0)
        deep(n - 1);
    else
        take();
    sink++;
}

__attribute__((noinline)) static void with_array(size_t n)
{
    volatile char *array = __builtin_alloca(n); /* its CFA is by rbp */
    array[0] = 1;
    deep(3);
    sink += array[0];
}

/* All registers that a callee saves are in use, rbp too. */
__attribute__((noinline)) static int with_registers(int a, int b, int c)
{
    int d = a * b, e = b * c, f = c * a, g = d ^ e, h = e ^ f, i = f ^ g;
    with_array((size_t)(a + 100));
    return a + b + c + d + e + f + g + h + i;
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void
with_frame_pointer(void)
{
    sink += with_registers(sink, 2, 3);
}

static int compare(const void *a, const void *b)
{
    if (sink == 0)
        with_frame_pointer();
    sink++;
    return *(const int *)a - *(const int *)b;
}

TEST(frames_of_the_program_and_of_libc)
{
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof numbers[0], compare);
    expect_same(10);
}

TEST(a_deep_recursion_is_cut_at_the_most)
{
    deep(10000);
    EXPECT(walked);
    EXPECT_EQ(nours, MOST);
    EXPECT_EQ(ntheirs, MOST);
    for (uint32_t i = 1; i < MOST; i++)
        EXPECT_EQ(ours[i], theirs[i]);
}

static void *in_thread(void *unused)
{
    with_frame_pointer();
    return unused;
}

TEST(a_thread_has_a_stack_of_its_own)
{
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, in_thread, NULL), 0);
    pthread_join(thread, NULL);
    expect_same(7);
}

/* ---- signals ------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    with_frame_pointer();
}

__attribute__((noinline)) static void raise_here(void)
{
    raise(SIGUSR1);
    sink++;
}

TEST(a_signal_handler_and_what_it_interrupted)
{
    signal(SIGUSR1, on_signal);
    raise_here();
    expect_same(10);
}

static void install_on_own_stack(char *stack, size_t bytes)
{
    stack_t s = {.ss_sp = stack, .ss_size = bytes};
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    EXPECT_EQ(sigaltstack(&s, NULL), 0);
    EXPECT_EQ(sigaction(SIGUSR1, &a, NULL), 0);
}

/* Where that stack ends is not known, so it is libgcc's work, or it is right.
 */
TEST(a_handler_on_a_stack_of_its_own)
{
    static char stack[64 << 10];
    install_on_own_stack(stack, sizeof stack);
    raise_here();
    EXPECT(ntheirs >= 10);
    if (walked)
        expect_same(10);
}

/* ---- coroutines ---------------------------------------------------------- */

static ucontext_t here, there;

static void in_coroutine(void)
{
    with_frame_pointer();
}

TEST(a_coroutine_has_no_stack_that_is_known)
{
    enum { BYTES = 64 << 10 };
    char *stack = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(stack != MAP_FAILED);
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = BYTES;
    there.uc_link = &here;
    makecontext(&there, in_coroutine, 0);
    EXPECT_EQ(swapcontext(&here, &there), 0);
    EXPECT(ntheirs >= 5);
    if (walked)
        expect_same(5);
}

/* ---- code without tables ------------------------------------------------- */

/*
 *     push %rbp;  mov %rsp, %rbp
 *     call *%rdi
 *     pop %rbp;  ret
 */
static const unsigned char chained[] = {0x55, 0x48, 0x89, 0xe5,
                                        0xff, 0xd7, 0x5d, 0xc3};
/* sub $8, %rsp;  mov $8, %ebp;  call *%rdi;  add $8, %rsp;  ret - but rbp is
 * kept in rbx's place: push %rbp and pop %rbp around it. */
static const unsigned char unchained[] = {0x55, 0xbd, 0x08, 0x00, 0x00,
                                          0x00, 0xff, 0xd7, 0x5d, 0xc3};

static void call_made_code(const unsigned char *code, size_t bytes)
{
    char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(at != MAP_FAILED);
    memcpy(at, code, bytes);
    void (*made)(void (*)(void));
    memcpy(&made, &at, sizeof at);
    made(take);
    sink++;
}

TEST(frame_pointers_lead_over_code_without_tables)
{
    call_made_code(chained, sizeof chained);
    EXPECT(walked);
    /* libgcc stops there. We come to main. */
    EXPECT(nours > ntheirs);
    Dl_info info;
    EXPECT(dladdr((void *)ours[1], &info) == 0); /* take, then made code */
    EXPECT(dladdr((void *)ours[2], &info) != 0);
}

TEST(a_stack_ends_at_code_without_tables_and_frame_pointers)
{
    call_made_code(unchained, sizeof unchained);
    EXPECT(walked);
    EXPECT_EQ(nours, 2);
}

/* ---- all instructions ---------------------------------------------------- */

/* Each row of libc and of this program is of a form that is known, but for a
 * few. It must not read outside of the tables. */
static void expect_rows(const void *inside)
{
    struct dl_find_object object;
    unsigned n = 0, nother = 0;
    EXPECT_EQ(_dl_find_object((void *)(uintptr_t)inside, &object), 0);
    uintptr_t end = (uintptr_t)object.dlfo_map_end;
    for (uintptr_t pc = (uintptr_t)object.dlfo_map_start; pc < end; pc++) {
        struct hak_row row = hak_cfi_row(object.dlfo_eh_frame, pc);
        n += row.kind != HAK_ROW_NONE;
        nother += row.kind == HAK_ROW_OTHER;
    }
    EXPECT(n > 1000);
    EXPECT(nother < n / 20);
}

TEST(rows_of_the_program_and_of_libc_are_known)
{
    expect_rows((void *)take);
    expect_rows((void *)qsort);
}

TEST_MAIN()
