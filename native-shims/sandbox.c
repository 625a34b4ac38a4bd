/*
 * Runs code natively in a given user-mode state until it faults, and gives back the state at the fault: what the software CPU is compared with. For tests.
 * Asynchronous signals are blocked meanwhile, so the code may leave RSP anywhere; the fault is taken on an alternate stack. The processor must have AVX.
 */
#define _GNU_SOURCE
#include "shim.h"
#include "faults.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Offsets are known to sandbox.S and to Vmm.Interop.SandboxState. */
struct state {
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags;
    uint64_t vector;
    uint64_t error_code;
    uint64_t cr2;
    uint64_t signal_number;
    uint64_t code_selector; /* in: 0 for 64-bit code, or the selector of Linux's 32-bit user code segment */
    uint64_t reserved;
    uint8_t xsave[832];
};

_Static_assert(sizeof(struct state) == 1024 && offsetof(struct state, xsave) == 192, "layout");

extern uint64_t vmm_sandbox_host_rsp;
extern void vmm_sandbox_enter(struct state *s);
extern char vmm_sandbox_exit[];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct state *running;
static atomic_ulong owner;
static _Alignas(64) unsigned char fault_stack[128 * 1024];
static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

static void take_vectors(struct state *s, const uint8_t *frame)
{
    uint64_t present;
    memcpy(&present, frame + 512, 8);
    memcpy(s->xsave, frame, 416);
    if (present & 4)
        memcpy(s->xsave + 576, frame + 576, 256);
    else
        memset(s->xsave + 576, 0, 256);
}

static int on_fault(int signal_number, siginfo_t *info, ucontext_t *uc)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    (void)info;
    if (running == NULL || atomic_load(&owner) != (unsigned long)pthread_self())
        return 0;
    struct state *s = running;
    running = NULL;
    greg_t *g = uc->uc_mcontext.gregs;
    for (int i = 0; i < 16; i++)
        s->gpr[i] = (uint64_t)g[order[i]];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
    s->vector = (uint64_t)g[REG_TRAPNO];
    s->error_code = (uint64_t)g[REG_ERR];
    s->cr2 = (uint64_t)g[REG_CR2];
    s->signal_number = (uint64_t)signal_number;
    take_vectors(s, (const uint8_t *)uc->uc_mcontext.fpregs);
    g[REG_RIP] = (greg_t)(uintptr_t)vmm_sandbox_exit;
    g[REG_RSP] = (greg_t)vmm_sandbox_host_rsp;
    g[REG_EFL] = 0x202;
    g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xFFFF) | 0x33;
    return 1;
}

int32_t vmm_sandbox_run(void *state)
{
    sigset_t all;
    sigset_t before;
    stack_t stack = {.ss_sp = fault_stack, .ss_size = sizeof(fault_stack)};
    stack_t old_stack;
    pthread_mutex_lock(&lock);
    vmm_faults_set_hook(on_fault);
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigdelset(&all, signals[i]);
        int result = vmm_faults_install_signal(signals[i]);
        if (result != 0) {
            pthread_mutex_unlock(&lock);
            return result;
        }
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sigaltstack(&stack, &old_stack);
    atomic_store(&owner, (unsigned long)pthread_self());
    running = state;
    vmm_sandbox_enter(state);
    sigaltstack(&old_stack, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int32_t vmm_sandbox_map(uintptr_t address, size_t length, int32_t executable, void **writable)
{
    int fd = memfd_create("vmm-sandbox", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = 0;
    int protection = PROT_READ | (executable ? PROT_EXEC : PROT_WRITE);
    if (ftruncate(fd, (off_t)length) != 0)
        result = -errno;
    else if ((*writable = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        result = -errno;
    else if (mmap((void *)address, length, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED)
        result = -errno;
    close(fd);
    return result;
}

int32_t vmm_sandbox_protect(uintptr_t address, size_t length)
{
    return mprotect((void *)address, length, PROT_READ) == 0 ? 0 : -errno;
}

void vmm_sandbox_unmap(uintptr_t address, size_t length, void *writable)
{
    munmap((void *)address, length);
    munmap(writable, length);
}
