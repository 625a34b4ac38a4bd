#include "shim.h"

int32_t vmm_shim_version(void)
{
    return VMM_SHIM_VERSION;
}
