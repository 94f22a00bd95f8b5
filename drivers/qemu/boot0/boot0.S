# 512-byte test guest: serial line, RAM heartbeat, BIOS disk I/O, ACPI power button, reboot, pvpanic.
        .code16
        .globl _start
        .set COM, 0x3f8
        .set PM,  0x600          # PM1a event block on pc and q35 under SeaBIOS
_start: ljmp $0, $1f
1:      xor %ax,%ax
        mov %ax,%ds
        mov %ax,%es
        mov %ax,%ss
        mov $0x7000,%sp
        mov %dl,drive
        mov $ready,%si
        call puts
        mov $(PM+2),%dx          # PM1_EN: arm the power button status bit
        in  %dx,%ax
        or  $0x100,%ax
        out %ax,%dx
        sti
loop:   hlt                      # woken 18.2 times a second by the BIOS timer tick
        incl count
        mov $PM,%dx
        in  %dx,%ax
        test $1,%ah              # PWRBTN_STS
        jz  1f
        mov $0x100,%ax
        out %ax,%dx
        mov $btn,%si
        call puts
        testb $1,ign
        jz  off
1:      mov $(COM+5),%dx
        in  %dx,%al
        test $1,%al
        jz  beat
        mov $COM,%dx
        in  %dx,%al
        cmp $'p',%al
        je  off
        cmp $'r',%al
        je  reset
        cmp $'c',%al
        je  cnt
        cmp $'w',%al
        je  dwrite
        cmp $'d',%al
        je  dread
        cmp $'x',%al
        je  panic
        cmp $'i',%al
        je  ignore
        cmp $'h',%al
        jne loop
        xorb $1,hb
beat:   testb $1,hb
        jz  loop
cnt:    mov count,%eax
        call hex
        jmp loop
ignore: xorb $1,ign
        jmp loop
off:    mov $(PM+4),%dx          # S5: SLP_EN, SLP_TYP 0 (QEMU)
        mov $0x2000,%ax
        out %ax,%dx
        hlt
reset:  mov $0xcf9,%dx
        mov $6,%al
        out %al,%dx
        hlt
panic:  mov $0x505,%dx           # isa pvpanic
        mov $1,%al
        out %al,%dx
        jmp loop
dwrite: mov count,%eax
        mov %eax,0x8000
        mov $0x0301,%ax
        call disk
        jmp cnt
dread:  movl $0xdeaddead,0x8000
        mov $0x0201,%ax
        call disk
        mov 0x8000,%eax
        call hex
        jmp loop
disk:   mov $0x8000,%bx          # CHS 0/0/2 = second sector
        mov $2,%cx
        mov drive,%dl
        mov $0,%dh
        int $0x13
        ret
hex:    mov $8,%cx
        mov %eax,%ebx
1:      rol $4,%ebx
        mov %bl,%al
        and $15,%al
        cmp $10,%al
        sbb $0x69,%al
        das
        call putc
        loop 1b
        mov $nl,%si
puts:   lodsb
        or  %al,%al
        jz  9f
        call putc
        jmp puts
putc:   mov %al,%ah
        mov $(COM+5),%dx
2:      in  %dx,%al
        test $0x20,%al
        jz  2b
        mov $COM,%dx
        mov %ah,%al
        out %al,%dx
9:      ret
ready:  .asciz "\r\nBOOT0-READY\r\n"
btn:    .ascii "PWRBTN"
nl:     .asciz "\r\n"
hb:     .byte 0
ign:    .byte 0
count:  .long 0
drive:  .byte 0
        .org 510
        .word 0xaa55
