// SPDX-License-Identifier: MIT
// work.cc - new and delete in every form, libstdc++'s containers, exceptions
// out of memory, static constructors and destructors.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static unsigned long sum = 17;

static void *volatile sink; // no pair is optimised away

template <class T> static T *seen(T *p)
{
    sink = (void *)p;
    sum = sum * 31 + (p != nullptr);
    return p;
}

[[noreturn]] static void wrong(const char *what, size_t n)
{
    std::printf("wrong: %s of %zu\n", what, n);
    std::exit(1);
}

static void check(void *p, size_t n, size_t align)
{
    if (p == nullptr || (uintptr_t)p % align != 0)
        wrong("alignment", n);
    std::memset(p, 0x5a, n);
    seen(p);
}

static void plain_forms(size_t n)
{
    void *p = ::operator new(n);
    check(p, n, 16);
    ::operator delete(p);
    check(p = ::operator new(n), n, 16);
    ::operator delete(p, n);
    check(p = ::operator new[](n), n, 16);
    ::operator delete[](p);
    check(p = ::operator new[](n), n, 16);
    ::operator delete[](p, n);
    check(p = ::operator new(n, std::nothrow), n, 16);
    ::operator delete(p, std::nothrow);
    check(p = ::operator new[](n, std::nothrow), n, 16);
    ::operator delete[](p, std::nothrow);
}

static void aligned_forms(size_t n, size_t align)
{
    const std::align_val_t a{align};
    void *p = ::operator new(n, a);
    check(p, n, align);
    ::operator delete(p, a);
    check(p = ::operator new(n, a), n, align);
    ::operator delete(p, n, a);
    check(p = ::operator new[](n, a), n, align);
    ::operator delete[](p, a);
    check(p = ::operator new[](n, a), n, align);
    ::operator delete[](p, n, a);
    check(p = ::operator new(n, a, std::nothrow), n, align);
    ::operator delete(p, a, std::nothrow);
    check(p = ::operator new[](n, a, std::nothrow), n, align);
    ::operator delete[](p, a, std::nothrow);
}

static int handled;

static void new_handler()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static void too_much()
{
    volatile size_t n = PTRDIFF_MAX;
    try {
        sink = ::operator new(n);
        wrong("no bad_alloc", n);
    } catch (const std::bad_alloc &) {
        sum++;
    }
    if (::operator new(n, std::nothrow) != nullptr ||
        ::operator new(n, std::align_val_t{4096}, std::nothrow) != nullptr)
        wrong("nothrow", n);
    std::set_new_handler(new_handler);
    try {
        sink = ::operator new[](n);
    } catch (const std::bad_alloc &) {
        sum += (unsigned long)handled;
    }
}

struct alignas(256) wide {
    char bytes[300];
    std::string name;
};

struct thrower {
    std::string kept = std::string(100, 'x');
    thrower() { throw std::runtime_error(kept); }
};

static void classes()
{
    for (int i = 0; i < 500; i++) {
        wide *w = new wide[3];
        if ((uintptr_t)w % 256 != 0)
            wrong("class alignment", sizeof *w);
        w[2].name = std::string((size_t)i, 'n');
        sum += w[2].name.size();
        delete[] w;
        try {
            delete seen(new thrower);
        } catch (const std::exception &e) {
            sum += std::strlen(e.what());
        }
        delete seen((wide *)nullptr);
    }
}

static void containers()
{
    std::map<std::string, std::vector<int>> words;
    for (int i = 0; i < 20000; i++)
        words[std::to_string(i % 997)].push_back(i);
    for (const auto &[word, numbers] : words)
        sum = sum * 31 + word.size() + numbers.size();
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> strings{&pool};
    for (int i = 0; i < 3000; i++)
        strings.emplace_back((size_t)i % 200, 'p');
    sum += strings.size();
}

struct at_both_ends {
    std::vector<std::string> early;
    at_both_ends()
    {
        for (int i = 0; i < 300; i++)
            early.emplace_back((size_t)i * 10, 'e');
    }
    ~at_both_ends()
    {
        std::vector<std::string> late(early.rbegin(), early.rend());
        early.clear();
        std::printf("%zu\n", late.front().size());
    }
};

static at_both_ends object;

int main()
{
    for (size_t n = 1; n < 3000000; n = n * 3 / 2 + 1) {
        plain_forms(n);
        for (size_t align = 1; align <= 65536; align *= 4)
            aligned_forms(n, align);
    }
    plain_forms(0);
    aligned_forms(0, 64);
    too_much();
    classes();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([] {
            thread_local std::vector<std::string> local;
            for (int k = 0; k < 2000; k++)
                local.emplace_back((size_t)k % 300, 't');
        });
    for (auto &t : threads)
        t.join();
    containers();
    std::printf("%lu\n", sum);
    return 0;
}
