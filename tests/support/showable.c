/* Control characters would leave the line, or worse. */
#include "support/showable.h"

#include <string.h>

bool is_showable(const char *text, size_t size)
{
    const char *end = memchr(text, '\0', size);

    if (end == NULL || end == text)
        return false;
    for (const char *p = text; p < end; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p == 0x7f)
            return false;
    return true;
}
