/*
 * Makes its terminal raw through the shim, says so, waits for a key, and ends as told: terminal-probe LIBRARY WAY.
 * With WAY "runtime-..." it plays the .NET runtime: its SIGSEGV handler is there before the library is loaded, repairs a fault at
 * address 8 and gives up on any other by putting the default action back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ucontext.h>
#include <unistd.h>

static void *resume;

static void runtime(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (info->si_code > 0 && info->si_addr == (void *)8) {
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)resume;
        return;
    }
    struct sigaction fallback = { .sa_handler = SIG_DFL };
    sigaction(signal, &fallback, NULL);
}

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(8);
    char key;
    if (read(0, &key, 1) != 1)
        _exit(7);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 9;
    const char *way = argv[2];
    if (strncmp(way, "runtime-", 8) == 0) {
        struct sigaction action = { .sa_sigaction = runtime, .sa_flags = SA_SIGINFO };
        sigaction(SIGSEGV, &action, NULL);
    }
    void *library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL)
        return 10;
    int (*make_raw)(int) = (int (*)(int))dlsym(library, "vmm_terminal_make_raw");
    void (*restore)(void) = (void (*)(void))dlsym(library, "vmm_terminal_restore");
    if (make_raw == NULL || restore == NULL || make_raw(0) != 0)
        return 11;
    say("raw");
    if (strcmp(way, "runtime-handled") == 0) {
        resume = &&resumed;
        __asm__ volatile goto("movl $0, 8" : : : "memory" : resumed);
    resumed:
        say("raw");
        return 0;
    }
    if (strcmp(way, "restore") == 0) {
        restore();
        _exit(0);
    }
    if (strcmp(way, "abort") == 0)
        abort();
    if (strcmp(way, "fault") == 0 || strcmp(way, "runtime-fault") == 0)
        *(volatile int *)16 = 0;
    int signal = atoi(way);
    if (signal != 0) {
        kill(getpid(), signal);
        pause();
    }
    return 0;
}
