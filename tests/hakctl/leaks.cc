/* SPDX-License-Identifier: MIT
 * leaks.cc - asks libc and libstdc++ for what they keep; with an argument it
 * leaks besides. For test_profile.sh.
 */
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <iconv.h>
#include <iostream>
#include <libintl.h>
#include <locale>
#include <netdb.h>
#include <pwd.h>
#include <stdexcept>
#include <string>
#include <thread>

#define KEPT __attribute__((noinline))

KEPT static void keep_in_libc()
{
    time_t now = time(nullptr);
    addrinfo *list;
    setlocale(LC_ALL, "C.UTF-8");
    bindtextdomain("leaks", "/usr/share/locale");
    textdomain("leaks");
    gettext("a message");
    localtime(&now);
    iconv_close(iconv_open("UTF-16", "ISO-8859-1"));
    getpwuid(0);
    if (getaddrinfo("127.0.0.1", "80", nullptr, &list) == 0)
        freeaddrinfo(list);
    dlopen("libm.so.6", RTLD_NOW);
    setenv("LEAKS", "a value", 1);
    std::printf("written\n");
}

KEPT static void keep_in_libstdcxx()
{
    try {
        throw std::runtime_error(std::string(100, 'x'));
    } catch (const std::exception &e) {
        std::cout << e.what() << std::endl;
    }
    std::thread([] {}).join();
    std::locale::global(std::locale(""));
}

KEPT static void leak_new()
{
    char *volatile lost = new char[1000];
    (void)lost;
}
KEPT static void leak_strdup()
{
    char *volatile lost = strdup("nine chars");
    (void)lost;
}
KEPT static void leak_list()
{
    addrinfo *list;
    if (getaddrinfo("127.0.0.1", "80", nullptr, &list) != 0)
        std::abort();
}

int main(int argc, char **)
{
    keep_in_libc();
    keep_in_libstdcxx();
    if (argc > 1) {
        leak_new();
        leak_strdup();
        leak_list();
    }
    return 0;
}
