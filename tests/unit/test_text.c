/* SPDX-License-Identifier: MIT
 * test_text.c - text.h: copies, joins and numbers that are cut to fit. */
#include "test.h"

#include <stdbool.h>
#include <base/text.h>

TEST(copies_are_cut_to_fit)
{
    char out[4];
    EXPECT_STR(hak_text_copy(out, sizeof out, "abcdef", 2), "ab");
    EXPECT_STR(hak_text_copy(out, sizeof out, "abcdef", 3), "abc");
    EXPECT_STR(hak_text_copy(out, sizeof out, "abcdef", 6), "abc");
    EXPECT_STR(hak_text_copy(out, sizeof out, "", 0), "");
}

TEST(joins_say_whether_all_fitted)
{
    char out[8];
    EXPECT(hak_text_join(out, sizeof out, "ab", "", "cde", "fg"));
    EXPECT_STR(out, "abcdefg");
    EXPECT(!hak_text_join(out, sizeof out, "ab", "cde", "fgh", "i"));
    EXPECT_STR(out, "abcdefg");
    EXPECT(hak_text_join(out, sizeof out, ""));
    EXPECT_STR(out, "");
}

TEST(a_join_may_begin_with_what_is_there)
{
    char out[8] = "ab";
    EXPECT(hak_text_join(out, sizeof out, out, "/", "c"));
    EXPECT_STR(out, "ab/c");
    hak_text_add(out, sizeof out, "defgh", 2);
    EXPECT_STR(out, "ab/cde");
    hak_text_add(out, sizeof out, "fgh", 3);
    EXPECT_STR(out, "ab/cdef");
}

TEST(parts_end_at_a_character_or_the_end)
{
    EXPECT_EQ(hak_text_until("ab|c", '|'), 2);
    EXPECT_EQ(hak_text_until("|", '|'), 0);
    EXPECT_EQ(hak_text_until("abc", '|'), 3);
}

TEST(numbers)
{
    char text[24];
    EXPECT_STR(hak_text_number(text, 0), "0");
    EXPECT_STR(hak_text_number(text, 1024), "1024");
    EXPECT_STR(hak_text_number(text, UINT64_MAX), "18446744073709551615");
}

TEST_MAIN()
