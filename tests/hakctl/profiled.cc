/* SPDX-License-Identifier: MIT
 * profiled.cc - prints places in its own code, and its mappings, for
 * test_profile.sh: "at NAME ADDRESS LINE" and the lines of /proc/self/maps.
 *
 * Each address is the one of an instruction on that line.
 */
#include <cstdint>
#include <cstdio>

#define HERE(name)                                                      \
    do {                                                                \
        uintptr_t pc;                                                   \
        asm volatile("lea (%%rip), %0" : "=r"(pc));                     \
        std::printf("at %s %#lx %d\n", name, (unsigned long)pc, __LINE__); \
    } while (0)
#define INLINED static inline __attribute__((always_inline))
#define KEPT __attribute__((noinline))

namespace shop
{
template <typename T> struct basket {
    KEPT void add(T item)
    {
        HERE("template");
        last = item;
    }
    T last;
};

INLINED void pack()
{
    HERE("inlined");
}
INLINED void wrap()
{
    pack(); /* wraps */
}
KEPT void sell()
{
    wrap(); /* sells */
}
} // namespace shop

/* Names as rustc makes them: of mangling v0, and the older one. */
extern "C" KEPT void rust_v0(void) asm("_RNvCskwGfYPst2Cb_3foo16example_function");
void rust_v0(void)
{
    HERE("rust_v0");
}
extern "C" KEPT void rust_old(void) asm("_ZN3app4work17h0123456789abcdefE");
void rust_old(void)
{
    HERE("rust_old");
}
extern "C" KEPT void plain_c(void);
void plain_c(void)
{
    HERE("plain");
}

int main()
{
    char line[4096];
    shop::basket<long> basket;
    basket.add(3);
    shop::sell();
    rust_v0();
    rust_old();
    plain_c();
    HERE("main");
    FILE *maps = std::fopen("/proc/self/maps", "re");
    while (maps != nullptr && std::fgets(line, sizeof line, maps) != nullptr)
        std::fputs(line, stdout);
    return maps == nullptr;
}
