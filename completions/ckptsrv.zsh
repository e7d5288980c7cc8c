#compdef ckptsrv ckpt-transfer
# SPDX-License-Identifier: MIT
#
# zsh completion for ckptsrv and ckpt-transfer, by what their own --help says.
[[ $service == ckpt-transfer && $CURRENT -eq 2 && $words[2] != -* ]] && compadd put get move remove
_gnu_generic
