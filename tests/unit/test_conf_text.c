/* SPDX-License-Identifier: MIT
 * test_conf_text.c - sizes, ranges, classes and the nearest word.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memfd_create in test.h */
#endif
#include "../lib/test.h"

#include <base/classes.h>
#include <conf/conf.h>

/* ---- texts to values ----------------------------------------------------- */

TEST(bytes)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0},
        {"64", 64},
        {"010", 10},
        {"0x40", 64},
        {"4k", 4096},
        {"4K", 4096},
        {"4KiB", 4096},
        {"0x4k", 4096},
        {"1M", 1 << 20},
        {"2GiB", 2ull << 30},
        {"3t", 3ull << 40},
        {"18446744073709551615", UINT64_MAX},
        {"18014398509481983k", UINT64_MAX - 1023},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t value = 1;
        EXPECT_EQ(hak_conf_bytes(good[i].text, &value), 0);
        EXPECT_EQ(value, good[i].value);
    }
}

TEST(bytes_bad)
{
    static const char *const bad[] = {"",    "k",   "-1", "+1",
                                      "4 k", " 4",  "4q", "4kib2",
                                      "4ki", "4kb", "0x", "4k "};
    uint64_t value = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hak_conf_bytes(bad[i], &value) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" is a size", bad[i]);
    EXPECT_EQ(hak_conf_bytes("18446744073709551616", &value), -ERANGE);
    EXPECT_EQ(hak_conf_bytes("18014398509481984k", &value), -ERANGE);
    EXPECT_EQ(hak_conf_bytes("17179869184G", &value), -ERANGE);
    EXPECT_EQ(value, 42);
}

static void expect_range(const char *text, size_t low, size_t high)
{
    uint32_t first = 999, last = 999;
    char why[256] = "";
    if (hak_conf_range(text, &first, &last, why, sizeof why) != 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, why);
    EXPECT_EQ(first, hak_index_of(low));
    EXPECT_EQ(last, hak_index_of(high));
}

TEST(range)
{
    expect_range("C0", 0, 16);
    expect_range("C4", 129, 256);
    expect_range("c4-C7", 129, 1024);
    expect_range("C7-", 513, SIZE_MAX);
    expect_range("0-", 0, SIZE_MAX);
    expect_range("1-16", 0, 16);
    expect_range("0-0", 0, 0);
    expect_range("257-1024", 257, 1024);
    expect_range("257 - 1k", 257, 1024);
    expect_range("262145-", 262145, SIZE_MAX);
    expect_range("1025-1152", 1025, 1025);
    expect_range("30721-32k", 32768, 32768);
    expect_range("513-C7", 513, 1024);
    expect_range("17", 17, 32);
    expect_range("4k", 4096, 4096);
    expect_range("32k", 30721, 32768);
}

TEST(range_takes_every_pair_of_bounds)
{
    for (uint32_t i = 0; i < HAK_LANES; i++) {
        for (uint32_t j = i; j < HAK_LANES; j++) {
            char text[64];
            uint32_t first = 999, last = 999;
            size_t low = i == 0 ? 0 : hak_index_bytes(i - 1) + 1;
            snprintf(text, sizeof text, "%zu-%zu", low, hak_index_bytes(j));
            EXPECT_EQ(hak_conf_range(text, &first, &last, NULL, 0), 0);
            EXPECT_EQ(first, i == 1 ? 0 : i); /* 1- has 0 bytes too */
            EXPECT_EQ(last, j);
        }
    }
}

static void expect_no_range(const char *text, int rc, const char *reason)
{
    uint32_t first = 42, last = 42;
    char why[256] = "";
    EXPECT_EQ(hak_conf_range(text, &first, &last, why, sizeof why), rc);
    EXPECT_STR(why, reason);
    EXPECT(first == 42 && last == 42);
}

TEST(range_bad)
{
    expect_no_range("C8", -ERANGE, "\"C8\": the classes are C0 to C7");
    expect_no_range("C99999999999999999999", -ERANGE,
                    "\"C99999999999999999999\": the classes are C0 to C7");
    expect_no_range("C7-C4", -EINVAL,
                    "\"C7-C4\" is upside down: C7 is above C4");
    expect_no_range("1024-2k", -EINVAL,
                    "\"1024-2k\": no size index starts at 1024; the nearest "
                    "start at 1009 and 1025");
    expect_no_range("2-16", -EINVAL,
                    "\"2-16\": no size index starts at 2; the nearest start "
                    "at 1 and 17");
    expect_no_range("1-1000", -EINVAL,
                    "\"1-1000\": no size index ends at 1000; the nearest end "
                    "at 992 and 1008");
    expect_no_range("1025-400000", -EINVAL,
                    "\"1025-400000\": sizes above 262144 go together; write "
                    "262145-");
    expect_no_range(
        "400000-", -EINVAL,
        "\"400000-\": sizes above 262144 go together; write 262145-");
    expect_no_range("1M", -EINVAL,
                    "\"1M\": sizes above 262144 go together; write 262145-");
    expect_no_range("99999999999999999999-", -ERANGE,
                    "\"99999999999999999999\" is too large");
    expect_no_range("-16", -EINVAL,
                    "\"\" is neither a size (64, 4k, 4KiB) nor a class (C0 to "
                    "C7)");
    expect_no_range("1-16-32", -EINVAL,
                    "\"16-32\" is neither a size (64, 4k, 4KiB) nor a class "
                    "(C0 to C7)");
    expect_no_range("C4x", -EINVAL,
                    "\"C4x\" is neither a size (64, 4k, 4KiB) nor a class (C0 "
                    "to C7)");
}

TEST(classes)
{
    static const size_t last[] = {16, 32, 64, 128, 256, 384, 512, 1024};
    EXPECT_EQ(hak_class_of_index(0), 0);
    for (uint32_t k = 0; k < 8; k++) {
        EXPECT_EQ(hak_class_bytes(k), last[k]);
        EXPECT_EQ(hak_class_of_index(hak_index_of(last[k])), k);
        EXPECT_EQ(hak_class_of_index(hak_index_of(last[k] + 1)), k + 1);
    }
    EXPECT_EQ(hak_class_of_index(HAK_INDEX_LARGE), 8);
    EXPECT_EQ(hak_class_bytes(8), SIZE_MAX);
}

TEST(nearest)
{
    static const char *const words[] = {
        "fallback", "free_route", NULL, "verify", "no", "lanes", "core"};
    const char *long_word =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaa";
    EXPECT_STR(hak_conf_nearest("fallbak", words, 7), "fallback");
    EXPECT_STR(hak_conf_nearest("FALLBACK", words, 7), "fallback");
    EXPECT_STR(hak_conf_nearest("freeroute", words, 7), "free_route");
    EXPECT_STR(hak_conf_nearest("veirfy", words, 7), "verify");
    EXPECT_STR(hak_conf_nearest("croe", words, 7), "core"); /* one swap */
    EXPECT(hak_conf_nearest("ne", words, 7) == NULL);   /* half of the word */
    EXPECT(hak_conf_nearest("line", words, 7) == NULL); /* 2 of 4 */
    EXPECT(hak_conf_nearest("vrf", words, 7) == NULL);
    EXPECT(hak_conf_nearest("", words, 7) == NULL);
    EXPECT(hak_conf_nearest(long_word, words, 7) == NULL);
}

static void expect_signal(const char *text, int error, int want)
{
    int number = -1;
    EXPECT_EQ(hak_conf_signal(text, &number, NULL, 0), error);
    EXPECT_EQ(number, want);
}

TEST(signals_by_name_and_number)
{
    char why[256];
    int number;
    expect_signal("none", 0, 0);
    expect_signal("USR2", 0, SIGUSR2);
    expect_signal("sigusr1", 0, SIGUSR1);
    expect_signal("winch", 0, SIGWINCH);
    expect_signal("12", 0, 12);
    expect_signal("64", 0, 64);
    expect_signal("0", -ERANGE, -1);
    expect_signal("-1", -ERANGE, -1);
    expect_signal("65", -ERANGE, -1);
    expect_signal("USR3", -EINVAL, -1);
    expect_signal("SIG", -EINVAL, -1);
    expect_signal("", -EINVAL, -1);
    expect_signal("KILL", -EINVAL, -1);
    expect_signal("SEGV", -EINVAL, -1);
    expect_signal("9", -EINVAL, -1);
    expect_signal("32", -EINVAL, -1); /* libc's own */
    EXPECT_EQ(hak_conf_signal("USR3", &number, why, sizeof why), -EINVAL);
    EXPECT_STR(why, "\"USR3\" is no signal; one is USR2, or a number of 1 to "
                    "64, or none");
}

TEST_MAIN()
