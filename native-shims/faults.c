/*
 * Faults of generated code. The code that the software CPU runs for its guest may raise a processor exception on purpose (an unmasked floating-point
 * exception of the guest's). The handler here looks whether the program counter lies in registered code; if so it continues at the exit that was
 * registered with it, all other registers as they are, and otherwise it goes on to the handler that was there before (the runtime's), as if that had been
 * called by the kernel: with its flags and its mask. It runs no managed code.
 */
#define _GNU_SOURCE
#include "shim.h"
#include "faults.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>

#define MAX_RANGES 4096

/* A range is free when its end is 0. Writers hold the lock; the handler reads without: start and exit are written before end is published. */
struct range {
    atomic_uintptr_t start;
    atomic_uintptr_t end;
    atomic_uintptr_t exit;
};

static struct range ranges[MAX_RANGES];
static atomic_int used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous[NSIG];
static atomic_int installed[NSIG];
static _Atomic(vmm_fault_hook) hook;

static void chain(int signal_number, siginfo_t *info, void *context)
{
    struct sigaction *p = &previous[signal_number];
    if (p->sa_flags & SA_SIGINFO) {
        p->sa_sigaction(signal_number, info, context);
        return;
    }
    if (p->sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    if (p->sa_handler == SIG_DFL || p->sa_handler == SIG_IGN) {
        /* The kernel's own action: it happens when the instruction faults again, or at once for a signal that somebody sent. */
        struct sigaction fallback;
        memset(&fallback, 0, sizeof(fallback));
        fallback.sa_handler = SIG_DFL;
        sigaction(signal_number, &fallback, NULL);
        if (info->si_code <= 0)
            raise(signal_number);
        return;
    }
    p->sa_handler(signal_number);
}

static void handle(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    int saved_errno = errno;
    vmm_fault_hook h = atomic_load_explicit(&hook, memory_order_acquire);
    if (h != NULL && h(signal_number, info, uc)) {
        errno = saved_errno;
        return;
    }
    uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    int count = atomic_load_explicit(&used, memory_order_acquire);
    for (int i = 0; i < count; i++) {
        uintptr_t end = atomic_load_explicit(&ranges[i].end, memory_order_acquire);
        if (pc < end && pc >= atomic_load_explicit(&ranges[i].start, memory_order_relaxed)) {
            uc->uc_mcontext.gregs[REG_RIP] = (greg_t)atomic_load_explicit(&ranges[i].exit, memory_order_relaxed);
            return;
        }
    }
    chain(signal_number, info, context);
    errno = saved_errno;
}

int vmm_faults_install_signal(int signal_number)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    if (!atomic_load(&installed[signal_number])) {
        struct sigaction action;
        if (sigaction(signal_number, NULL, &previous[signal_number]) != 0) {
            result = -errno;
        } else {
            memset(&action, 0, sizeof(action));
            action.sa_sigaction = handle;
            action.sa_mask = previous[signal_number].sa_mask;
            action.sa_flags = (previous[signal_number].sa_flags & ~(int)SA_RESETHAND) | SA_SIGINFO | SA_ONSTACK;
            if (sigaction(signal_number, &action, NULL) != 0)
                result = -errno;
            else
                atomic_store(&installed[signal_number], 1);
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void vmm_faults_set_hook(vmm_fault_hook h)
{
    atomic_store_explicit(&hook, h, memory_order_release);
}

int32_t vmm_faults_register(uintptr_t start, size_t length, uintptr_t exit)
{
    int result = vmm_faults_install_signal(SIGFPE);
    if (result != 0)
        return result;
    pthread_mutex_lock(&lock);
    int count = atomic_load(&used);
    int i = 0;
    while (i < count && atomic_load(&ranges[i].end) != 0)
        i++;
    if (i == MAX_RANGES) {
        result = -ENOSPC;
    } else {
        atomic_store(&ranges[i].start, start);
        atomic_store(&ranges[i].exit, exit);
        atomic_store_explicit(&ranges[i].end, start + length, memory_order_release);
        if (i == count)
            atomic_store_explicit(&used, count + 1, memory_order_release);
        result = i;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void vmm_faults_unregister(int32_t number)
{
    if (number < 0 || number >= MAX_RANGES)
        return;
    pthread_mutex_lock(&lock);
    atomic_store(&ranges[number].end, 0);
    pthread_mutex_unlock(&lock);
}
