# SPDX-License-Identifier: Apache-2.0
# completion - bash completion of nswrap: subcommands, options, manifests, names of what runs

# The options of each subcommand; tests/e2e/test_subcommands.py compares them with `nswrap help`.
_nswrap_options() {
	case $1 in
	run) echo -p --host-port -P --guest-port -f --forward -R --reverse --x11 -b --bind --no-hold --port-driver \
		--only-user --client-address --allow-network --wait -n --name -d --detach --network --outbound --via --route --dns-via --key-file --host-loopback --cidr --cidr6 --mtu \
		--dns --no-dns --outbound-addr --no-ipv6 --pcap --root --pid --new-session --wait-all --jupyterhub -C --chdir -e --env \
		--unset-env -c --shell-command -t --stop-timeout --unattended --ready-fd --info-fd --alive-fd --log-fd --keep-fd \
		--no-config -q --quiet -v --verbose ;;
	exec) echo -C --chdir -e --env --unset-env --new-session -t --stop-timeout -v --verbose ;;
	ps | doctor) echo --json ;;
	port) echo -R --reverse --json ;;
	stop) echo --all -t --stop-timeout ;;
	logs) echo -f --follow -n --lines ;;
	mesh | manager) echo --check --strict --example -n --name --json -w --watch --agent-file --format -q --quiet -v --verbose ;;
	agent) echo --automated --expose --no-sandbox --stack ;;
	sockets) echo --api-fd ;;
	show-installer) echo --agent-file ;;
	exit) echo --expose --link --key-file --ready-fd -q --quiet -v --verbose ;;
	tunnel) echo --bind-proxy --bind-client --key-file --dead-after --server --to --forward --reverse --allow-forward --allow-reverse --proxy-protocol --drain --json -q --quiet -v --verbose ;;
	esac
	echo -h --help
}

# Options that take the next word.
_nswrap_takes_word() {
	case $1 in
	--host-port | --guest-port | --forward | --bind | --port-driver | --wait | --name | \
		--network | --outbound | --via | --route | --expose | --link | --key-file | --cidr | --cidr6 | --mtu | --dns | --outbound-addr | --pcap | --chdir | --env | \
		--unset-env | --shell-command | --stop-timeout | --unattended | --ready-fd | --info-fd | --alive-fd | --log-fd | --api-fd | --keep-fd | \
		--lines | --agent-file | --format | --bind-proxy | --bind-client | --dead-after | --server | --to | \
		--reverse | --allow-forward | --allow-reverse | --proxy-protocol | --drain) ;;
	-[qv]*[pPfRbnCect] | -[pPfRbnCect]) ;;
	*) return 1 ;;
	esac
}

# Adds those of the words in $1 that begin as the current one does.
_nswrap_words() {
	local found
	mapfile -t found < <(compgen -W "$1" -- "$cur")
	COMPREPLY+=("${found[@]}")
}

_nswrap_sandboxes() {
	local word
	while read -r word _; do
		[[ $word == NAME ]] || echo "$word"
	done < <("${COMP_WORDS[0]}" ps 2>/dev/null)
}

# They have no command that lists their names alone: their sockets have them.
_nswrap_meshes() {
	local path
	for path in "$XDG_RUNTIME_DIR"/nswrap/mesh/*.sock /tmp/nswrap-"$UID"{,-??????}/mesh/*.sock; do
		[[ -S $path ]] && path=${path##*/} && echo "${path%.sock}"
	done
}

# Adds manifests, and directories on the way to them.
_nswrap_manifests() {
	local found
	compopt -o filenames 2>/dev/null
	mapfile -t found < <(compgen -d -- "$cur")
	COMPREPLY+=("${found[@]}")
	mapfile -t found < <(compgen -f -X '!*.y*ml' -- "$cur")
	COMPREPLY+=("${found[@]}")
}

_nswrap_value() {
	case $1 in
	--port-driver) _nswrap_words "auto splice slirp" ;;
	--network) _nswrap_words "outbound none" ;;
	--outbound) _nswrap_words "auto kernel slirp" ;;
	--format) _nswrap_words "dot svg mermaid" ;;
	-C | --chdir)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	--pcap)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	-e | --env | --unset-env) mapfile -t COMPREPLY < <(compgen -e -- "$cur") ;;
	esac
}

# Completes the word at $1 as a command line of its own.
_nswrap_command() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif ((COMP_CWORD == $1)); then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}

_nswrap() {
	local cur=${COMP_WORDS[COMP_CWORD]} sub=run at=1 operands=() word ended='' is_shell=''
	COMPREPLY=()

	case ${COMP_WORDS[1]} in
	run | exec | ps | port | stop | logs | doctor | mesh | manager | agent | help)
		((COMP_CWORD > 1)) && sub=${COMP_WORDS[1]} && at=2
		;;
	esac
	for (( ; at < COMP_CWORD; at++)); do
		word=${COMP_WORDS[at]}
		if [[ $word == -- ]]; then
			ended=1
			((at++))
			break
		elif [[ $word == -?* ]]; then
			[[ $word == -c || $word == --shell-command ]] && is_shell=1
			if _nswrap_takes_word "$word"; then
				((at++))
				((at == COMP_CWORD)) && _nswrap_value "$word" && return
			fi
		elif [[ $sub == run || ($sub == exec && ${#operands[@]} == 1) ]]; then
			break
		else
			operands+=("$word")
		fi
	done
	# a command begins at $at, or could begin here
	if ((at < COMP_CWORD)) || [[ $ended ]]; then
		_nswrap_command "$at"
		return
	fi
	if [[ $cur == -* ]]; then
		[[ $sub == run ]] && word=--version || word=
		_nswrap_words "$(_nswrap_options "$sub") $word"
		return
	fi
	case $sub,${#operands[@]} in
	help,0) _nswrap_words "run exec ps port stop logs doctor mesh agent help" ;;
	mesh,0 | manager,0)
		_nswrap_manifests
		_nswrap_words "status graph reload stop"
		;;
	mesh,1 | manager,1)
		[[ ${operands[0]} == @(status|graph|reload|stop) ]] && _nswrap_words "$(_nswrap_meshes)"
		;;
	port,0) _nswrap_words "list add remove" ;;
	exec,0 | port,1 | logs,0 | stop,*) _nswrap_words "$(_nswrap_sandboxes)" ;;
	exec,1) _nswrap_command "$COMP_CWORD" ;;
	run,*)
		if [[ $is_shell ]]; then
			_nswrap_words agent
			return
		fi
		_nswrap_command "$COMP_CWORD"
		if ((COMP_CWORD == 1)); then
			_nswrap_words "run exec ps port stop logs doctor mesh agent help"
			_nswrap_manifests
		fi
		;;
	esac
}

complete -F _nswrap nswrap
