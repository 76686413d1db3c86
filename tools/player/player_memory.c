/* SPDX-License-Identifier: MIT
 * player_memory.c - how much memory the allocator has, and page faults.
 */
#include "player.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Read a file of /proc/self. Returns how much there was. */
static size_t read_own(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, bytes - 1) : 0;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        play_give_up("cannot read %s; is /proc mounted?", path);
    text[n] = 0;
    return (size_t)n;
}

/* From "size resident shared ...", in pages: what is resident and not shared.
 */
uint64_t play_private_bytes(void)
{
    char text[128];
    uint64_t number[3] = {0};
    size_t n = read_own("/proc/self/statm", text, sizeof text);
    for (size_t i = 0, k = 0; i < n && k < 3; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number[k] = number[k] * 10 + (uint64_t)(text[i] - '0');
        else
            k++;
    }
    uint64_t pages = number[1] > number[2] ? number[1] - number[2] : 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t play_file_bytes(void)
{
    static const char key[] = "RssFile:";
    char text[4096];
    read_own("/proc/self/status", text, sizeof text);
    const char *at = strstr(text, key);
    uint64_t kib = 0;
    for (at = at != NULL ? at + sizeof key - 1 : ""; *at != 0 && *at != 'k';
         at++)
        if (*at >= '0' && *at <= '9')
            kib = kib * 10 + (uint64_t)(*at - '0');
    return kib * 1024;
}

void play_take_sample(uint32_t number)
{
    player.control->sample[number] = play_private_bytes() + 1;
}

/* ---- the part that counts ------------------------------------------------ */

/* What is counted from the part's begin on. */
struct cost {
    uint64_t ns, cpu_ns, faults;
};
static struct cost begun, paused;

static struct cost cost_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct cost){.ns = play_now_ns(),
                         .cpu_ns = play_cpu_ns(),
                         .faults = (uint64_t)usage.ru_minflt};
}

/* Called once, by the thread that comes first. */
void play_begin_part(void)
{
    begun = cost_now();
}

void play_end_part(void)
{
    struct cost now = cost_now();
    player.control->faults = now.faults - begun.faults;
    player.control->cpu_ns = now.cpu_ns - begun.cpu_ns;
    player.control->wall_ns = now.ns - begun.ns;
}

void play_pause(void)
{
    paused = cost_now();
}

void play_go_on(void)
{
    struct cost now = cost_now();
    begun.faults += now.faults - paused.faults;
    begun.cpu_ns += now.cpu_ns - paused.cpu_ns;
    begun.ns += now.ns - paused.ns;
}
