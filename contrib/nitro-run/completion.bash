# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The QEMU Nitro contributors
#
# Completion in bash for nitro-run, nitro-lab, nitro-hypervisor, qemu-eif and
# qemu-nsm:
#   . contrib/nitro-run/completion.bash
#
# Commands and options are those that the program's own --help lists.

_nitro_commands()
{
    "$1" --help 2> /dev/null | sed -nE 's/^ {2,4}([a-z][a-z-]+)( .*)?$/\1/p'
}

_nitro_options()
{
    "$@" --help 2> /dev/null | grep -oE -- '(^|[ ,[|(])--?[a-zA-Z][a-z0-9-]*' |
        tr -d ' ,[|(' | sort -u
}

_nitro_complete()
{
    local word=${COMP_WORDS[COMP_CWORD]} command='' known w
    known=$(_nitro_commands "$1")
    for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ -n $w && $'\n'$known$'\n' == *$'\n'$w$'\n'* ]]; then
            command=$w
            break
        fi
    done
    COMPREPLY=()
    if [[ $word == -* ]]; then
        # shellcheck disable=SC2086
        mapfile -t COMPREPLY < <(
            compgen -W "$(_nitro_options "$1" $command)" -- "$word")
    elif [[ -z $command && ${COMP_WORDS[COMP_CWORD-1]} != -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$known" -- "$word")
    fi
}

complete -o bashdefault -o default -F _nitro_complete \
    nitro-run nitro-lab nitro-hypervisor qemu-eif qemu-nsm
