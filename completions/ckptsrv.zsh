#compdef ckptsrv ckpt-transfer
# SPDX-License-Identifier: MIT
#
# zsh completion for ckptsrv and ckpt-transfer, by what their own --help says. _gnu_generic does not see
# an option that stands in brackets behind its letter.
if [[ $service == ckpt-transfer && $CURRENT -eq 2 && $words[2] != -* ]]; then
  compadd put get move remove
elif [[ $words[CURRENT] == -* ]]; then
  compadd -- $(_call_program options $words[1] --help 2>/dev/null | grep -oE -- '(^|[[:space:]])--[a-z][a-z-]*')
elif [[ $words[CURRENT-1] == --compress ]]; then
  compadd lz4 zstd
else
  _files
fi
