#include "engine/io/system_text.h"

#include <fcntl.h>

#include "engine/io/os.h"

bool system_text(const char *path, char *text, size_t text_bytes)
{
    int fd = os_open(path, O_RDONLY | O_CLOEXEC, 0);
    int64_t got = fd < 0 ? fd : os_pread_some(fd, text, text_bytes - 1, 0);

    if (fd >= 0)
        os_close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}
