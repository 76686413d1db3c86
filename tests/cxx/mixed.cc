/* SPDX-License-Identifier: MIT
 * mixed.cc - what one kind of new or malloc gave out goes to another's delete.
 */
#include <cstdlib>
#include <cstring>
#include <new>

static void *volatile block;

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const std::align_val_t align{256};
    if (strcmp(what, "array") == 0) {
        block = operator new(40);
        operator delete[](block);
    } else if (strcmp(what, "one") == 0) {
        block = operator new[](40);
        operator delete(block);
    } else if (strcmp(what, "malloc") == 0) {
        block = malloc(40);
        operator delete(block);
    } else if (strcmp(what, "sized") == 0) {
        block = operator new(40, std::nothrow);
        operator delete[](block, std::size_t{40});
    } else if (strcmp(what, "aligned") == 0) {
        block = operator new[](40, align);
        operator delete(block, align);
    } else if (strcmp(what, "free") == 0) {
        block = operator new(40);
        free(block);
    } else if (strcmp(what, "realloc") == 0) {
        block = operator new(40);
        free(realloc(block, 50));
    } else if (strcmp(what, "size") == 0) {
        block = operator new[](40, align);
        operator delete[](block, std::size_t{41}, align);
    }
}
