/*
 * What the system's headers say of the structures and constants that Vmm.Interop declares for itself or takes from a binding library: the test of
 * Vmm.Interop compares them, so that a wrong offset is found by a test and not by a guest.
 */
#define _GNU_SOURCE
#include "shim.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>
#include <linux/fs.h>

struct fact {
    const char *name;
    uint64_t value;
};

#define SIZE(type) {"sizeof " #type, sizeof(struct type)}
#define FIELD(type, field) {#type "." #field, offsetof(struct type, field)}
#define CONSTANT(name) {#name, (uint64_t)(name)}

static const struct fact facts[] = {
    SIZE(pollfd), FIELD(pollfd, fd), FIELD(pollfd, events), FIELD(pollfd, revents),
    SIZE(timespec), FIELD(timespec, tv_sec), FIELD(timespec, tv_nsec),
    SIZE(iovec), FIELD(iovec, iov_base), FIELD(iovec, iov_len),
    SIZE(flock), FIELD(flock, l_type), FIELD(flock, l_whence), FIELD(flock, l_start), FIELD(flock, l_len), FIELD(flock, l_pid),
    SIZE(stat), FIELD(stat, st_mode), FIELD(stat, st_size), FIELD(stat, st_rdev),
    SIZE(statx), FIELD(statx, stx_mode),
    CONSTANT(PROT_READ), CONSTANT(PROT_WRITE), CONSTANT(PROT_EXEC),
    CONSTANT(MAP_PRIVATE), CONSTANT(MAP_SHARED), CONSTANT(MAP_ANONYMOUS), CONSTANT(MAP_NORESERVE), CONSTANT(MADV_DONTNEED),
    CONSTANT(POLLIN), CONSTANT(POLLOUT), CONSTANT(POLLERR), CONSTANT(POLLHUP),
    CONSTANT(EFD_CLOEXEC), CONSTANT(EFD_NONBLOCK), CONSTANT(MFD_CLOEXEC),
    CONSTANT(O_RDONLY), CONSTANT(O_RDWR), CONSTANT(O_NOCTTY), CONSTANT(O_CLOEXEC), CONSTANT(O_DIRECT), CONSTANT(O_NONBLOCK),
    CONSTANT(F_OFD_GETLK), CONSTANT(F_OFD_SETLK), CONSTANT(F_RDLCK), CONSTANT(F_WRLCK), CONSTANT(F_UNLCK),
    CONSTANT(FALLOC_FL_KEEP_SIZE), CONSTANT(FALLOC_FL_PUNCH_HOLE), CONSTANT(FALLOC_FL_ZERO_RANGE),
    CONSTANT(BLKGETSIZE64), CONSTANT(BLKSSZGET), CONSTANT(BLKPBSZGET), CONSTANT(BLKDISCARD), CONSTANT(BLKZEROOUT),
    CONSTANT(AT_EMPTY_PATH), CONSTANT(STATX_BASIC_STATS), CONSTANT(SEEK_END),
};

int32_t vmm_layout_find(const char *name, uint64_t *value)
{
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        if (strcmp(facts[i].name, name) == 0) {
            *value = facts[i].value;
            return 1;
        }
    }
    return 0;
}
