#include "textflag.h"

// func interrupt(number, a, b, c, d uintptr) uintptr
TEXT ·interrupt(SB), NOSPLIT, $0-48
	MOVQ number+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), CX
	MOVQ c+24(FP), DX
	MOVQ d+32(FP), SI
	INT  $0x80
	MOVQ AX, ret+40(FP)
	RET
