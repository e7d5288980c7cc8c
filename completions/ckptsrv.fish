# SPDX-License-Identifier: MIT
#
# fish completion for ckptsrv and ckpt-transfer, by what their own --help says.
for command in ckptsrv ckpt-transfer
    type -q $command; or continue
    for option in (command $command --help 2>/dev/null | string match -ra -- '(?<=\s)--[a-z][a-z-]*')
        complete -c $command -l (string sub -s 3 -- $option)
    end
end
complete -c ckpt-transfer -n __fish_use_subcommand -a 'put get move remove'
complete -c ckpt-transfer -l compress -x -a 'lz4 zstd'
