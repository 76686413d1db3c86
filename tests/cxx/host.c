/* SPDX-License-Identifier: MIT
 * host.c - a program without C++ that opens a library of it.
 */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int wrong = 0;
    for (int i = 1; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        int (*use)(void) = NULL;
        if (library == NULL) {
            puts(dlerror());
            return 2;
        }
        *(void **)&use = dlsym(library, "use");
        wrong += use();
        dlclose(library);
    }
    return wrong;
}
