// SPDX-License-Identifier: MIT
// A program without a dynamic linker, into which no library can be preloaded.
int main() {
  return 5;
}
