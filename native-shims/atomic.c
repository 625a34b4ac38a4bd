#include "shim.h"

int32_t vmm_compare_exchange_16(void *target, uint64_t expected[2], uint64_t low, uint64_t high)
{
    uint8_t equal;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(equal), "+m"(*(unsigned __int128 *)target), "+a"(expected[0]), "+d"(expected[1])
                     : "b"(low), "c"(high)
                     : "memory");
    return equal;
}
