/* What makes a sequence of bytes a character that can be shown. */
#include "runtime/text.h"

#include <stdint.h>

size_t vmoe_text_sequence(const char *text, size_t left)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *s = (const unsigned char *)text;
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
    uint32_t code;

    if (length == 0 || length > left || s[0] > 0xf4)
        return 0;
    if (length == 1)
        return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
    code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
        code < 0xa0)
        return 0;
    return length;
}
