// SPDX-License-Identifier: MIT
//
// ckpt.h as the library sees it: its functions are there, and they are what the library offers.
#pragma once

#define CKPT_REQUIRED 1
#pragma GCC visibility push(default)
#include "ckpt.h"
#pragma GCC visibility pop
