// SPDX-License-Identifier: MIT
// own.cc - operator new and delete of a program's own, in the fewest forms that
// the standard asks for: the others, the sized ones too, lead to them. What they
// give out is no block's start, and each is counted.
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {
const unsigned long mark = 0x6f776e206e6577;
long live;
} // namespace

extern "C" long own_live()
{
    return live;
}

void *operator new(std::size_t n)
{
    auto *p = static_cast<unsigned long *>(std::malloc(n + 16));
    if (p == nullptr)
        std::abort();
    *p = mark;
    live++;
    return p + 2;
}

void operator delete(void *p) noexcept
{
    if (p == nullptr)
        return;
    auto *start = static_cast<unsigned long *>(p) - 2;
    if (*start != mark)
        std::abort();
    *start = 0;
    live--;
    std::free(start);
}
