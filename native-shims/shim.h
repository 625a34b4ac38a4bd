/* What the managed code asks of C: only what managed code cannot do. See README.md. */
#ifndef VMM_SHIM_H
#define VMM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define VMM_EXPORT __attribute__((visibility("default")))

/* The version of this interface; Vmm.Interop refuses a shim of another version. */
#define VMM_SHIM_VERSION 1

VMM_EXPORT int32_t vmm_shim_version(void);

#endif
