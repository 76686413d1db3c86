// SPDX-License-Identifier: MIT
// use.cc - objects come and go in every form that a compiler calls by itself.
// own_live(), where there is one, says that all came back to where they are of.
#include <cstdio>
#include <map>
#include <string>
#include <vector>

extern "C" __attribute__((weak)) long own_live();
extern "C" int use();

namespace {
struct object {
    std::string name = std::string(50, 'n');
    long numbers[20] = {};
    virtual ~object() = default;
};

struct alignas(64) wide {
    char bytes[200];
};
} // namespace

extern "C" int use()
{
    long before = own_live != nullptr ? own_live() : 0;
    {
        std::map<int, std::vector<object>> all;
        for (int i = 0; i < 1000; i++)
            all[i % 37].emplace_back();
    }
    for (int i = 0; i < 100; i++) {
        delete new object;
        delete[] new object[7];
        delete new wide;
        delete[] new wide[5];
    }
    long left = own_live != nullptr ? own_live() - before : 0;
    std::printf("%s, %ld left\n", own_live != nullptr ? "own" : "library's",
                left);
    std::fflush(stdout);
    return left != 0;
}
