/* SPDX-License-Identifier: MIT
 * player_memory.c - how much memory the allocator has, and page faults.
 */
#include "player.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* From "size resident shared ...", in pages: what is resident and not shared.
 */
uint64_t play_private_bytes(void)
{
    char text[128];
    uint64_t number[3] = {0};
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        play_give_up("cannot read /proc/self/statm; is /proc mounted?");
    for (ssize_t i = 0, k = 0; i < n && k < 3; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number[k] = number[k] * 10 + (uint64_t)(text[i] - '0');
        else
            k++;
    }
    uint64_t pages = number[1] > number[2] ? number[1] - number[2] : 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void play_take_sample(uint32_t number)
{
    player.control->sample[number] = play_private_bytes() + 1;
}

/* ---- the part that counts ------------------------------------------------ */

static uint64_t begun_ns, begun_faults;

static uint64_t count_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt;
}

/* Called once, by the thread that comes first. */
void play_begin_part(void)
{
    begun_faults = count_faults();
    begun_ns = play_now_ns();
}

void play_end_part(void)
{
    player.control->faults = count_faults() - begun_faults;
    player.control->wall_ns = play_now_ns() - begun_ns;
}

static uint64_t paused_ns, paused_faults;

void play_pause(void)
{
    paused_faults = count_faults();
    paused_ns = play_now_ns();
}

void play_go_on(void)
{
    begun_faults += count_faults() - paused_faults;
    begun_ns += play_now_ns() - paused_ns;
}
