/*
 * The way into and out of the sandbox: loads a whole user-mode state and jumps. There is no way back but a fault: the signal handler
 * in sandbox.c takes the state from its frame and continues at vmm_sandbox_exit on the stack that was left here.
 */
    .text
    .globl vmm_sandbox_enter
    .hidden vmm_sandbox_enter
    .type vmm_sandbox_enter, @function
vmm_sandbox_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, vmm_sandbox_host_rsp(%rip)
    movl $7, %eax
    xorl %edx, %edx
    xrstor64 192(%rdi)
    movq 128(%rdi), %rax
    movq %rax, vmm_sandbox_target(%rip)
    movl %eax, vmm_sandbox_far(%rip)
    movq 176(%rdi), %rcx
    movw %cx, 4+vmm_sandbox_far(%rip)
    testl %ecx, %ecx
    jz 1f
    movl $0x2b, %eax
    movl %eax, %ds
    movl %eax, %es
1:
    pushq 136(%rdi)
    popfq
    movq 0(%rdi), %rax
    movq 8(%rdi), %rcx
    movq 16(%rdi), %rdx
    movq 24(%rdi), %rbx
    movq 32(%rdi), %rsp
    movq 40(%rdi), %rbp
    movq 48(%rdi), %rsi
    movq 64(%rdi), %r8
    movq 72(%rdi), %r9
    movq 80(%rdi), %r10
    movq 88(%rdi), %r11
    movq 96(%rdi), %r12
    movq 104(%rdi), %r13
    movq 112(%rdi), %r14
    movq 120(%rdi), %r15
    movq 56(%rdi), %rdi
    /* MOV and JMP leave the flags alone, so what to do is told by RCX being counted, not tested. */
    movq %rcx, vmm_sandbox_rcx(%rip)
    movzwl 4+vmm_sandbox_far(%rip), %ecx
    jecxz 2f
    movq vmm_sandbox_rcx(%rip), %rcx
    ljmpl *vmm_sandbox_far(%rip)
2:
    movq vmm_sandbox_rcx(%rip), %rcx
    jmpq *vmm_sandbox_target(%rip)
    .size vmm_sandbox_enter, . - vmm_sandbox_enter

    .globl vmm_sandbox_exit
    .hidden vmm_sandbox_exit
    .type vmm_sandbox_exit, @function
vmm_sandbox_exit:
    cld
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    fninit
    ldmxcsr vmm_sandbox_mxcsr(%rip)
    vzeroupper
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
    .size vmm_sandbox_exit, . - vmm_sandbox_exit

    .section .rodata
    .align 4
vmm_sandbox_mxcsr:
    .long 0x1F80

    .bss
    .align 8
    .globl vmm_sandbox_host_rsp
    .hidden vmm_sandbox_host_rsp
vmm_sandbox_host_rsp:
    .quad 0
vmm_sandbox_target:
    .quad 0
vmm_sandbox_rcx:
    .quad 0
vmm_sandbox_far:
    .quad 0

    .section .note.GNU-stack,"",@progbits
