# SPDX-License-Identifier: Apache-2.0
# completion of nswrap for bash: the program itself knows what may come (src/cmd/complete.h)

# The words up to the cursor, in words: bash has cut them at each of COMP_WORDBREAKS, such as = and :
_nswrap_words() {
	local line=${COMP_LINE:0:COMP_POINT} rest word at
	words=()
	for ((at = 0; at <= COMP_CWORD; at++)); do
		rest=${line#"${line%%[![:space:]]*}"}
		word=${COMP_WORDS[at]}
		[[ $rest == "$word"* ]] || word=$rest # the cursor is in it
		if ((at == 0)) || [[ $rest != "$line" || -z $line ]]; then
			words+=("$word")
		else
			words[-1]+=$word
		fi
		line=${rest#"$word"}
	done
}

# Completes from the word $1 on (of words) as a command line of its own.
_nswrap_command() {
	local at=0 given=0 before=("${COMPREPLY[@]}")
	# the same word, as bash counts
	while ((given < $1 && at < COMP_CWORD)); do
		((at++))
		[[ ${words[given + 1]} == "${COMP_WORDS[at]}"* ]] && ((given++))
	done
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$at"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$at"
	elif ((COMP_CWORD == at)); then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
	COMPREPLY=("${before[@]}" "${COMPREPLY[@]}")
}

# Adds what compgen finds with these words.
_nswrap_add() { mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen "$@" -- "$cur"); }

_nswrap() {
	local cur words line offered='' command='' whole
	_nswrap_words
	whole=${words[-1]}
	cur=${COMP_WORDS[COMP_CWORD]}
	[[ $whole == "$cur" || $cur == [=:] ]] && cur=${whole##*[=:]}
	COMPREPLY=()

	while IFS= read -r line; do
		case $line in
		:command\ *) command=${line#:command } ;;
		:files) compopt -o filenames 2>/dev/null && _nswrap_add -f ;;
		:directories) compopt -o filenames 2>/dev/null && _nswrap_add -d ;;
		:manifests)
			compopt -o filenames 2>/dev/null
			_nswrap_add -d
			_nswrap_add -f -X '!*.y*ml'
			;;
		:variables) _nswrap_add -e ;;
		*)
			line=${line%%$'\t'*}
			offered+=${line#"${whole%"$cur"}"}$'\n'
			;;
		esac
	done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete "${words[@]:1}" 2>/dev/null)
	[[ -z $offered ]] || _nswrap_add -W "$offered"
	[[ -z $command ]] || _nswrap_command "$((command + 1))"
}

complete -F _nswrap nswrap
