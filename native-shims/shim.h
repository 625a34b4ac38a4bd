/* What the managed code asks of C: only what managed code cannot do. See README.md. */
#ifndef VMM_SHIM_H
#define VMM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define VMM_EXPORT __attribute__((visibility("default")))

/* The version of this interface; Vmm.Interop refuses a shim of another version. */
#define VMM_SHIM_VERSION 1

VMM_EXPORT int32_t vmm_shim_version(void);

/* Compares the 16 aligned bytes at target with expected[0..1] and if equal replaces them with low, high; else expected receives
 * what is there. One locked operation. Returns 1 when replaced. */
VMM_EXPORT int32_t vmm_compare_exchange_16(void *target, uint64_t expected[2], uint64_t low, uint64_t high);

/* XCR0: which state components the kernel has enabled. Only where CPUID reports OSXSAVE. */
VMM_EXPORT uint64_t vmm_xgetbv(void);

/* layout.c, for tests: the value of "sizeof TYPE", "TYPE.FIELD" or of a constant, as the system's headers have it. 1 when known. */
VMM_EXPORT int32_t vmm_layout_find(const char *name, uint64_t *value);

/* faults.c: a processor exception in [start, start + length) continues at exit. The number of the range, or a negative errno. */
VMM_EXPORT int32_t vmm_faults_register(uintptr_t start, size_t length, uintptr_t exit);
VMM_EXPORT void vmm_faults_unregister(int32_t number);

/* terminal.c. Results are 0 or a negative errno. One terminal at a time is raw. */
VMM_EXPORT int32_t vmm_terminal_make_raw(int32_t fd);
VMM_EXPORT int32_t vmm_terminal_reapply(void);
VMM_EXPORT void vmm_terminal_restore(void);
VMM_EXPORT int32_t vmm_terminal_is_background(int32_t fd);
VMM_EXPORT int32_t vmm_pty_open(int32_t *master, char *path, int32_t length);

/* sandbox.c, for tests: runs code natively from a struct of 1024 bytes until it faults. 0, or a negative errno. */
VMM_EXPORT int32_t vmm_sandbox_run(void *state);

/* Maps memory for it at a fixed address, readable and either writable or executable, and a writable alias. 0, or a negative errno. */
VMM_EXPORT int32_t vmm_sandbox_map(uintptr_t address, size_t length, int32_t executable, void **writable);

/* Makes pages of such memory read-only. */
VMM_EXPORT int32_t vmm_sandbox_protect(uintptr_t address, size_t length);
VMM_EXPORT void vmm_sandbox_unmap(uintptr_t address, size_t length, void *writable);

#endif
