# SPDX-License-Identifier: MIT
#
# bash completion for ckptsrv and ckpt-transfer, by what their own --help says.

_ckptsrv() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}
  [[ $word == = ]] && word= before=${COMP_WORDS[COMP_CWORD - 1]}
  case $before in
    --compress) mapfile -t COMPREPLY < <(compgen -W 'lz4 zstd' -- "$word") ;;
    --bind) mapfile -t COMPREPLY < <(compgen -A hostname -W '127.0.0.1 ::1 0.0.0.0 ::' -- "$word") ;;
    -d | --directory | --fallback)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$word")
      ;;
    -p | --port | --keep | --max-* | --timeout | --grace | --retry) ;;
    *)
      if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$1" --help 2>/dev/null | grep -oE -- '(^|[[:space:]])--[a-z][a-z-]*')" -- "$word")
      elif [[ ${1##*/} == ckpt-transfer && $COMP_CWORD == 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'put get move remove' -- "$word")
      else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
      fi
      ;;
  esac
}
complete -F _ckptsrv ckptsrv ckpt-transfer
