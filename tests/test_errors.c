/*
 * What an error shows of a file or a caller: UTF-8 as it is, and nothing that a terminal would
 * take for a command or that is no character.
 */
#include <stdio.h>
#include <string.h>

#include "runtime/status.h"
#include "support/showable.h"
#include "support/support.h"

static vmoe_error error_with(const char *where, const char *text)
{
    vmoe_error error = VMOE_ERROR_INIT;

    assert_int_equal(vmoe_fail(&error, VMOE_ERR_FORMAT, where, "%s", text), VMOE_ERR_FORMAT);
    assert_int_equal(error.status, VMOE_ERR_FORMAT);
    return error;
}

static void what_cannot_be_shown_becomes_question_marks(void **state)
{
    static const char *const cases[][2] = {
        { "plain ~", "plain ~" },
        { "\x1b[31m\x7f\t\n", "?[31m???" },
        { "<\xc2\x9b" "31m\xff\xfe", "<??31m??" },            /* CSI in UTF-8 */
        { "\x9b" "31m", "?31m" },                             /* ... and in Latin-1 */
        { "\xc2\x80 \xc2\x9f \xc2\xa0", "?? ?? \xc2\xa0" },   /* the ends of C1 */
        { "\xc0\x80 \xc1\xbf \xc0\x8a", "?? ?? ??" },         /* overlong, of two bytes */
        { "\xe0\x80\x8a \xe0\x9f\xbf", "??? ???" },           /* ... of three */
        { "\xf0\x80\x80\x8a \xf0\x8f\xbf\xbf", "???? ????" }, /* ... of four */
        { "\xed\xa0\x80 \xed\xbf\xbf", "??? ???" },           /* surrogates */
        { "\xf4\x90\x80\x80 \xf5\x80\x80\x80", "???? ????" }, /* beyond the last character */
        { "\xf8\x88\x80\x80\x80 \xbf\x80", "????? ??" },
        { "\xc3" "a\xe2\x82" "b\xf0\x9f\x90", "?a??b???" }, /* cut short */
        { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x88 \xf4\x8f\xbf\xbf",
          "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x88 \xf4\x8f\xbf\xbf" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const vmoe_error error = error_with(cases[i][0], cases[i][0]);

        assert_string_equal(error.where, cases[i][1]);
        assert_string_equal(error.text, cases[i][1]);
    }
}

/* Two readers of UTF-8, the library's and the tests', agree on all beginnings of two bytes. */
static void only_what_can_be_shown_is_kept(void **state)
{
    static const char *const ends[] = { "", "z", "\x80", "\xbf\x80", "\xbf\x1b", "\x80\xbf\x80" };
    size_t kept = 0;

    (void)state;
    for (unsigned pair = 0x100; pair <= 0xffff; pair++) {
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            char text[8];
            vmoe_error error;
            bool same;

            snprintf(text, sizeof text, "%c%c%s", (char)(pair >> 8), (char)pair, ends[i]);
            error = error_with(text, text);
            same = strcmp(error.text, text) == 0;
            assert_int_equal(same, is_showable(text, sizeof text));
            assert_true(is_showable(error.text, sizeof error.text));
            assert_int_equal(strlen(error.text), strlen(text));
            assert_string_equal(error.where, error.text);
            kept += same;
        }
    }
    assert_true(kept > 10000);
}

/* A place keeps its end and a sentence its beginning, wherever that cuts a character. */
static void a_cut_leaves_no_half_character(void **state)
{
    static const char *const characters[] = { "x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x88" };

    (void)state;
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[1000] = "abcd";
            size_t length = shift;
            vmoe_error error;

            for (; length < 900; length += i + 1)
                memcpy(text + length, characters[i], i + 1);
            text[length] = '\0';
            error = error_with(text, text);
            assert_int_equal(strlen(error.text), sizeof error.text - 1);
            assert_int_equal(strlen(error.where), sizeof error.where - 1);
            assert_true(is_showable(error.text, sizeof error.text));
            assert_true(is_showable(error.where, sizeof error.where));
            assert_memory_equal(error.text, text, sizeof error.text - 4);
            assert_string_equal(error.where + 3, text + length - (sizeof error.where - 4));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_shown_becomes_question_marks),
        cmocka_unit_test(only_what_can_be_shown_is_kept),
        cmocka_unit_test(a_cut_leaves_no_half_character),
    };

    return cmocka_run_group_tests_name("what errors show", tests, NULL, NULL);
}
