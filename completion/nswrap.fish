# SPDX-License-Identifier: Apache-2.0
# completion of nswrap for fish: the program itself knows what may come (src/cmd/complete.h)

function __nswrap_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # what a value is completed to stands behind --name=
    set -l prefix (string match -r -- '^--[^=]*=' $current)
    set -l value (string replace -r -- '^--[^=]*=' '' $current)

    for line in ($words[1] __complete $words[2..] "$current" 2>/dev/null)
        switch $line
            case ':command *'
                set -l from (math (string replace ':command ' '' -- $line) + 2)
                set -l rest (string escape -- $words[$from..]) "$current"
                complete -C (string join ' ' -- $rest)
            case ':files' ':manifests'
                __fish_complete_path $value | string replace -r -- '^' "$prefix"
            case ':directories'
                __fish_complete_directories $value | string replace -r -- '^' "$prefix"
            case ':variables'
                set -nx | string replace -r -- '^' "$prefix"
            case '*'
                printf '%s\n' $line
        end
    end
end

complete -c nswrap -f -a '(__nswrap_complete)'
