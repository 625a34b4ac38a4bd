/*
 * The raw terminal, and its return to what it was however the process ends.
 *
 * A normal end restores through vmm_terminal_restore, and once more in this library's destructor, which runs after every atexit
 * handler: the .NET runtime puts back, in one of its own, the mode that it found when it first looked, which may be ours.
 *
 * For crashes the question is who may decide that a fault is fatal: the .NET runtime takes SIGSEGV and SIGFPE for null references and
 * divisions, and only it knows. In the NativeAOT executable our constructor runs before the runtime starts, so our handler stands beneath the
 * runtime's, which calls it for what it does not handle itself. Where the runtime was there first (the shared library under the
 * JIT), our handler is put above it when the terminal becomes raw: it restores at once for a signal that somebody sent, abort(3) included, and
 * for a real fault asks the runtime's handler first and restores when that has given up, which shows by the disposition being the
 * default again. One way out is left under the JIT alone: a fail-fast (a stack overflow, an access violation) resets SIGABRT to its
 * default before it aborts.
 *
 * A thread that runs out of stack in the NativeAOT executable dies without any handler, since it has no other stack to run one on.
 *
 * For these cases, and for SIGKILL, there is the guardian: a shell that waits for the end of a pipe which only this process holds, and then puts the
 * mode back if it is still ours. It is a program of its own and not a fork: a fork would keep a copy of every page that the guest changes.
 *
 * Signals that would end the process are caught from the start where they have the default action, restore, and end it as before.
 *
 * Everything that a handler calls is async-signal-safe (signal-safety(7)).
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

/* Signals that end the process unless somebody handles them. */
static const int deadly_signals[] = {
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGTRAP, SIGSYS, SIGXCPU, SIGXFSZ, SIGIO,
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile sig_atomic_t raw;      /* the terminal is in our mode */
static volatile sig_atomic_t was_raw;  /* it was at some time */
static int terminal = -1;              /* a duplicate, so that closing stdin does not take it away */
static struct termios original, changed;

static bool beneath;                   /* the fault handlers were installed before the runtime's */
static bool above;                     /* ... or over them */
static struct sigaction previous[NSIG];

/* The terminal belongs to another job; to touch it now would be to spoil that one's mode. */
static bool in_background(int fd)
{
    pid_t group = tcgetpgrp(fd);
    return group > 0 && group != getpgrp();
}

static int set_mode(const struct termios *mode)
{
    sigset_t ttou, old;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &old);
    int r;
    do
        r = tcsetattr(terminal, TCSANOW, mode);
    while (r != 0 && errno == EINTR);
    int error = r == 0 ? 0 : -errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

static void restore_now(void)
{
    int saved = errno;
    if (raw && !in_background(terminal))
        set_mode(&original);
    raw = 0;
    errno = saved;
}

/* Gives a signal back its default action and has it act: a fault by its instruction running again, anything else by sending it anew. */
static void die(int signal, const siginfo_t *info)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigaction(signal, &action, NULL);
    if (info->si_code <= 0 || signal == SIGABRT)
        raise(signal);
}

static bool is_default(int signal)
{
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

static void on_deadly(int signal, siginfo_t *info, void *context)
{
    (void)context;
    restore_now();
    die(signal, info);
}

static void on_fault_above(int signal, siginfo_t *info, void *context)
{
    const struct sigaction *below = &previous[signal];
    /* Sent, not caused: nobody recovers from that. */
    if (info->si_code <= 0)
        restore_now();
    if (below->sa_flags & SA_SIGINFO)
        below->sa_sigaction(signal, info, context);
    else if (below->sa_handler == SIG_DFL) {
        restore_now();
        die(signal, info);
        return;
    }
    else if (below->sa_handler != SIG_IGN)
        below->sa_handler(signal);
    /* The runtime has given up: it puts the default action in place and lets the instruction fault again. Nothing repeats a sent signal. */
    if (is_default(signal)) {
        restore_now();
        if (info->si_code <= 0)
            raise(signal);
    }
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, &previous[signal]);
}

static void install_deadly(void)
{
    for (size_t i = 0; i < COUNT(deadly_signals); i++)
        if (is_default(deadly_signals[i]))
            handle(deadly_signals[i], on_deadly);
}

/* As early as the library is there: what finds our handlers in place calls them in the end, where it would have let the default act. */
__attribute__((constructor)) static void install_beneath(void)
{
    install_deadly();
    for (size_t i = 0; i < COUNT(fault_signals); i++)
        if (!is_default(fault_signals[i]))
            return;
    for (size_t i = 0; i < COUNT(fault_signals); i++)
        handle(fault_signals[i], on_deadly);
    beneath = true;
}

__attribute__((destructor)) static void restore_at_exit(void)
{
    if (was_raw && !in_background(terminal))
        set_mode(&original);
}

static void install_above(void)
{
    if (!beneath && !above) {
        for (size_t i = 0; i < COUNT(fault_signals); i++)
            handle(fault_signals[i], on_fault_above);
        above = true;
    }
    install_deadly();
}

static int guardian_pipe = -1; /* our end; its closing by our death is what the guardian waits for */
static pid_t guardian;

/* A mode as stty(1) reads it: what its option -g prints. */
static void format_mode(char *text, size_t size, const struct termios *mode)
{
    size_t length = (size_t)snprintf(text, size, "%x:%x:%x:%x", mode->c_iflag, mode->c_oflag, mode->c_cflag, mode->c_lflag);
    for (size_t i = 0; i < NCCS && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, ":%x", mode->c_cc[i]);
}

/* Without a shell or stty there is no guardian, and the handlers above must do. */
static void start_guardian(void)
{
    static const char script[] =
        "read -r line || { [ \"$(stty -g <&3)\" = \"$2\" ] && stty \"$1\" <&3; }";
    char before[256], ours[256];
    format_mode(before, sizeof before, &original);
    format_mode(ours, sizeof ours, &changed);
    char *arguments[] = { "sh", "-c", (char *)script, "vmm-terminal", before, ours, NULL };
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, ends[0], 0);
    posix_spawn_file_actions_adddup2(&files, terminal, 3);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    /* A session of its own: the terminal's signals do not reach it, and it may set the mode from there. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    if (posix_spawn(&guardian, "/bin/sh", &files, &attributes, arguments, environ) == 0)
        guardian_pipe = ends[1];
    else
        close(ends[1]);
    close(ends[0]);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
}

/* A line tells it that all is well. */
static void dismiss_guardian(void)
{
    if (guardian_pipe < 0)
        return;
    ssize_t written;
    do
        written = write(guardian_pipe, "\n", 1);
    while (written < 0 && errno == EINTR);
    close(guardian_pipe);
    guardian_pipe = -1;
    while (waitpid(guardian, NULL, 0) < 0 && errno == EINTR)
        ;
}

int32_t vmm_terminal_is_background(int32_t fd)
{
    return in_background(fd);
}

int32_t vmm_terminal_make_raw(int32_t fd)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    struct termios mode;
    if (raw)
        result = -EBUSY;
    else if (tcgetattr(fd, &mode) != 0)
        result = -errno;
    else {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
            result = -errno;
        else {
            if (terminal >= 0)
                close(terminal);
            terminal = copy;
            original = changed = mode;
            /* cfmakeraw(3), but output is still processed, so that messages of ours on the same terminal start at column 1. */
            changed.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
            changed.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
            changed.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
            changed.c_cflag |= CS8;
            changed.c_cc[VMIN] = 1;
            changed.c_cc[VTIME] = 0;
            install_above();
            start_guardian();
            /* First the note, then the mode: a crash in between restores what need not be restored. */
            raw = was_raw = 1;
            result = set_mode(&changed);
            if (result != 0) {
                raw = 0;
                dismiss_guardian();
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int32_t vmm_terminal_reapply(void)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    if (raw && !in_background(terminal))
        result = set_mode(&changed);
    pthread_mutex_unlock(&lock);
    return result;
}

void vmm_terminal_restore(void)
{
    pthread_mutex_lock(&lock);
    restore_now();
    dismiss_guardian();
    pthread_mutex_unlock(&lock);
}

int32_t vmm_pty_open(int32_t *master, char *path, int32_t length)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = 0, slave = -1;
    struct termios mode;
    if (grantpt(fd) != 0 || unlockpt(fd) != 0)
        error = errno;
    else if ((error = ptsname_r(fd, path, (size_t)length)) == 0) {
        /* Raw, so that the line discipline echoes nothing back to the guest before somebody opens it. */
        slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0 || tcgetattr(slave, &mode) != 0)
            error = errno;
        else {
            cfmakeraw(&mode);
            if (tcsetattr(slave, TCSANOW, &mode) != 0)
                error = errno;
        }
    }
    if (slave >= 0)
        close(slave);
    if (error != 0) {
        close(fd);
        return -error;
    }
    *master = fd;
    return 0;
}
