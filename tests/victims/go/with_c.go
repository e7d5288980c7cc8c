// SPDX-License-Identifier: MIT
//go:build cgo

package main

// static int triple(int n) { return 3 * n; }
import "C"

func through(n int) int { return int(C.triple(C.int(n))) }
