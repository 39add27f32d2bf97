/* Control characters and bytes that are no characters would leave the line, or worse. */
#include "support/showable.h"

#include <string.h>

/* First bytes, what the second may be, and the length: the well-formed forms of UTF-8. */
struct form {
    unsigned char first, last, low, high;
    size_t bytes;
};

static const struct form forms[] = {
    { 0x20, 0x7e, 0x00, 0xff, 1 },                                /* without C0 and DEL */
    { 0xc2, 0xc2, 0xa0, 0xbf, 2 },                                /* ... and C1 */
    { 0xc3, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, /* none overlong */
    { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, /* no surrogates */
    { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, /* none overlong */
    { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 }, /* not beyond U+10FFFF */
};

/* Bytes of the character at `text`, which a zero byte ends; 0 if it cannot be shown. */
static size_t character_bytes(const unsigned char *text)
{
    const struct form *form = forms;

    while (form < forms + sizeof forms / sizeof forms[0] &&
           (text[0] < form->first || text[0] > form->last))
        form++;
    if (form == forms + sizeof forms / sizeof forms[0] || text[1] < form->low ||
        text[1] > form->high)
        return 0;
    for (size_t i = 2; i < form->bytes; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return form->bytes;
}

bool is_showable(const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;

    if (memchr(text, '\0', size) == NULL || *p == '\0')
        return false;
    while (*p != '\0') {
        const size_t bytes = character_bytes(p);

        if (bytes == 0)
            return false;
        p += bytes;
    }
    return true;
}
