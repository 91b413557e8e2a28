/* faults.h - the seam of os.h, made reachable for a whole program and for what os.h does not call itself.
 *
 * A program linked with faults.o and the linker's --wrap of every name in FAULT_WRAPS (Makefile) counts the C
 * library's allocations, directory listings and thread starts as OS_MEMORY, OS_LIST and OS_THREAD, and takes a fault
 * from the environment before main begins:
 *
 *     SLUICE_FAULT=write:17:ENOSPC        the 17th write (from 0) fails so
 *     SLUICE_FAULT=write:17+:ENOSPC       and all after it
 *     SLUICE_FAULT=write,unlink:17:kill   the process dies there
 *     SLUICE_FAULT=openat2,lock:absent    the system has neither
 *
 * Only such a program has the switch: the sluice that people run is linked without this file, from the same objects,
 * so no variable of the environment can make it lie about their data.
 */
#ifndef SLUICE_TESTS_FAULTS_H
#define SLUICE_TESTS_FAULTS_H

#include <stdbool.h>

#include "engine/io/os.h"

/* "write", or several with commas, as bits; 0: no such kind. "EIO", "short", "zero"; 0: no such fault. */
unsigned faults_kinds(const char *words);
int faults_how(const char *word);
const char *faults_how_name(int how);
/* Words as in the environment. */
bool faults_parse(const char *words, struct os_faults *out);

/* Pieces of memory that were asked for and not freed, by whatever is linked here; not by shared libraries. */
long faults_memory_held(void);

#endif
