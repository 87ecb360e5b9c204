# tick: a guest that shows whether a migration kept it whole.
#
# A 32-bit multiboot image that QEMU starts with -kernel.  Once a second it
# writes "tick N" to the first serial port.  N lives in memory only, so a count
# that goes on at the destination shows that the memory went along, and a number
# that appears twice shows that the guest ran twice.
#
# Options on the kernel command line:
#   busy=M   dirty M MiB, without end: a migration does not converge by itself
#   keep=M   fill M MiB at the start and compare them before each tick;
#            "lost ADDRESS" is written when a page has changed
#   stop=N   power off after tick N
#   deaf=1   do not obey the ACPI power button
#   late=N   obey it N ticks later
#
# Memory: IDT at 0x80000, stack below 0x90000, this image at 1 MiB, the dirtied
# pages from 2 MiB on, the kept ones behind them.

	.intel_syntax noprefix
	.code32
	.text
	.global _start

	.set	IMAGE,      0x100000
	.set	PAGES,      0x200000
	.set	IDT,        0x80000
	.set	STACK,      0x90000
	.set	PAGE,       4096
	.set	COM1,       0x3f8
	.set	PM_STATUS,  0x600	# PIIX4 power management, where SeaBIOS puts it
	.set	PM_ENABLE,  0x602
	.set	PM_CONTROL, 0x604
	.set	RATE,       20		# timer interrupts a second

_start:	jmp	begin

	.balign	4
multiboot:
	.long	0x1badb002
	.long	0x00010000		# the five addresses below count
	.long	-(0x1badb002 + 0x00010000)
	.long	IMAGE + (multiboot - _start)
	.long	IMAGE			# load from here
	.long	IMAGE + (end - _start)	# to here
	.long	0			# no memory to clear
	.long	IMAGE			# start here

begin:	mov	esp, STACK
	mov	eax, offset nothing
	test	dword ptr [ebx], 4	# has the loader passed a command line?
	jz	1f
	mov	eax, [ebx + 16]
1:	mov	[command_line], eax

	# The loader's descriptor table may lie in memory that we overwrite.
	lgdt	gdt_register
	ljmp	8, offset 2f
2:	mov	eax, 16
	mov	ds, eax
	mov	es, eax
	mov	ss, eax

	call	read_options
	call	start_serial
	call	start_timer
	call	fill_kept
	mov	dx, PM_ENABLE		# let the power button set its status bit
	in	ax, dx
	or	ax, 0x100
	out	dx, ax
	sti

# Each round: dirty memory or rest until the next interrupt, look at the power
# button, and tick when a second of interrupts has passed.
round:	cmp	dword ptr [busy_end], PAGES
	jne	1f
	hlt
	jmp	2f
1:	call	dirty
2:	call	obey_button
	mov	eax, [interrupts]
	sub	eax, [accounted]
	cmp	eax, RATE
	jb	round
	add	dword ptr [accounted], RATE
	call	verify_kept
	inc	dword ptr [count]
	mov	esi, offset text_tick
	mov	eax, [count]
	call	print_number
	mov	eax, [count]
	cmp	eax, [stop_at]
	jne	round

power_off:
	mov	dx, PM_CONTROL		# SLP_EN with sleep type 0: S5
	mov	ax, 0x2000
	out	dx, ax
	cli
	hlt

obey_button:
	mov	dx, PM_STATUS
	in	ax, dx
	test	ax, 0x100
	jz	1f
	mov	ax, 0x100		# writing the bit clears it
	out	dx, ax
	cmp	dword ptr [deaf], 0
	jne	1f
	mov	esi, offset text_button
	call	print
	mov	eax, [late]
	test	eax, eax
	jz	power_off
	add	eax, [count]
	mov	[stop_at], eax
1:	ret

# ------------------------------------------------------------- memory

dirty:	inc	dword ptr [pattern]
	mov	ecx, [pattern]
	mov	eax, PAGES
1:	mov	[eax], ecx
	add	eax, PAGE
	cmp	eax, [busy_end]
	jb	1b
	ret

# A kept page holds its own address, inverted.
fill_kept:
	mov	eax, [busy_end]
1:	cmp	eax, [kept_end]
	jae	2f
	mov	ecx, eax
	not	ecx
	mov	[eax], ecx
	add	eax, PAGE
	jmp	1b
2:	ret

verify_kept:
	mov	eax, [busy_end]
1:	cmp	eax, [kept_end]
	jae	2f
	mov	ecx, eax
	not	ecx
	cmp	[eax], ecx
	jne	3f
	add	eax, PAGE
	jmp	1b
3:	mov	esi, offset text_lost
	call	print_number
2:	ret

# ------------------------------------------------------------- options

read_options:
	mov	edi, offset option_busy
	call	option
	shl	eax, 20
	add	eax, PAGES
	mov	[busy_end], eax
	mov	edi, offset option_keep
	call	option
	shl	eax, 20
	add	eax, [busy_end]
	mov	[kept_end], eax
	mov	edi, offset option_stop
	call	option
	mov	[stop_at], eax
	mov	edi, offset option_deaf
	call	option
	mov	[deaf], eax
	mov	edi, offset option_late
	call	option
	mov	[late], eax
	ret

# eax = the number behind the text at edi on the command line, or 0
option:	mov	esi, [command_line]
	xor	eax, eax
1:	cmp	byte ptr [esi], 0
	je	5f
	xor	ebx, ebx
2:	mov	cl, [edi + ebx]
	test	cl, cl
	jz	3f
	cmp	cl, [esi + ebx]
	jne	4f
	inc	ebx
	jmp	2b
4:	inc	esi
	jmp	1b
3:	movzx	ecx, byte ptr [esi + ebx]
	sub	ecx, '0'
	cmp	ecx, 9
	ja	5f
	imul	eax, eax, 10
	add	eax, ecx
	inc	ebx
	jmp	3b
5:	ret

# ------------------------------------------------------------- timer

start_timer:
	mov	eax, offset on_timer	# interrupt gate for vector 0x20
	mov	word ptr [IDT + 0x20 * 8], ax
	mov	word ptr [IDT + 0x20 * 8 + 2], 8
	mov	word ptr [IDT + 0x20 * 8 + 4], 0x8e00
	shr	eax, 16
	mov	word ptr [IDT + 0x20 * 8 + 6], ax
	lidt	idt_register

	mov	al, 0x11		# both interrupt controllers: initialise,
	out	0x20, al
	out	0xa0, al
	mov	al, 0x20		# the first's vectors from 0x20 on,
	out	0x21, al
	mov	al, 0x28
	out	0xa1, al
	mov	al, 4			# wired at line 2,
	out	0x21, al
	mov	al, 2
	out	0xa1, al
	mov	al, 1			# 8086 mode,
	out	0x21, al
	out	0xa1, al
	mov	al, 0xfe		# and nothing but the timer
	out	0x21, al
	mov	al, 0xff
	out	0xa1, al

	mov	al, 0x34		# counter 0, rate generator
	out	0x43, al
	mov	ax, 1193182 / RATE
	out	0x40, al
	mov	al, ah
	out	0x40, al
	ret

on_timer:
	push	eax
	inc	dword ptr [interrupts]
	mov	al, 0x20
	out	0x20, al
	pop	eax
	iret

# ------------------------------------------------------------- serial port

start_serial:
	mov	dx, COM1 + 3		# 115200 baud, 8 bits, no parity
	mov	al, 0x80
	out	dx, al
	mov	dx, COM1
	mov	al, 1
	out	dx, al
	mov	dx, COM1 + 1
	xor	eax, eax
	out	dx, al
	mov	dx, COM1 + 3
	mov	al, 3
	out	dx, al
	ret

# The text at esi, the number in eax, and the end of the line.
print_number:
	push	eax
	call	print
	pop	eax
	call	print_decimal
	mov	esi, offset text_end
	# falls into print

print:	mov	al, [esi]
	test	al, al
	jz	1f
	call	put
	inc	esi
	jmp	print
1:	ret

print_decimal:
	xor	edx, edx
	mov	ecx, 10
	div	ecx
	push	edx
	test	eax, eax
	jz	1f
	call	print_decimal
1:	pop	eax
	add	al, '0'
	# falls into put

put:	mov	ah, al
	mov	dx, COM1 + 5
1:	in	al, dx
	test	al, 0x20
	jz	1b
	mov	dx, COM1
	mov	al, ah
	out	dx, al
	ret

# ------------------------------------------------------------- data

	.balign	8
gdt:	.quad	0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_register:
	.word	. - gdt - 1
	.long	gdt
idt_register:
	.word	0x21 * 8 - 1
	.long	IDT

command_line:	.long	0
busy_end:	.long	0
kept_end:	.long	0
stop_at:	.long	0
deaf:		.long	0
late:		.long	0
pattern:	.long	0
interrupts:	.long	0
accounted:	.long	0
count:		.long	0

option_busy:	.asciz	"busy="
option_keep:	.asciz	"keep="
option_stop:	.asciz	"stop="
option_deaf:	.asciz	"deaf="
option_late:	.asciz	"late="
text_tick:	.asciz	"tick "
text_lost:	.asciz	"lost "
text_button:	.asciz	"power button\r\n"
text_end:	.asciz	"\r\n"
nothing:	.byte	0
end:
