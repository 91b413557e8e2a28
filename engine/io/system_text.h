/* system_text.h - the small files in which the system speaks of itself: /proc, /sys/fs/cgroup, /etc/machine-id. */
#ifndef SLUICE_IO_SYSTEM_TEXT_H
#define SLUICE_IO_SYSTEM_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The file's first text_bytes - 1 bytes, ended with a zero. False: it is not there, cannot be read, or is empty; the text is
 * "" then. Any thread. */
bool system_text(const char *path, char *text, size_t text_bytes);

#endif
