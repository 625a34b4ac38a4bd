/* Between the files of the shim: who takes part in the handling of synchronous signals. */
#ifndef VMM_FAULTS_H
#define VMM_FAULTS_H

#include <signal.h>
#include <ucontext.h>

/* Looks at a signal before anyone else; not 0 when it is dealt with. */
typedef int (*vmm_fault_hook)(int signal_number, siginfo_t *info, ucontext_t *context);

void vmm_faults_set_hook(vmm_fault_hook h);

/* Puts the handler in front of the one that is there. 0, or a negative errno. */
int vmm_faults_install_signal(int signal_number);

#endif
