# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# scripts/lib.sh - what test and bench share: an ordinary user, a copy of the tree, nothing left behind
#
# as_ordinary_user COMMAND... runs COMMAND in the tree, as this user or, when that is root, as the user
# nswrap-test (NSWRAP_TEST_USER names another) in a copy of the tree. It returns COMMAND's status, or
# 1 when it left processes behind.

TEST_USER=${NSWRAP_TEST_USER:-nswrap-test}

# What every distribution with systemd has, and a bare container or VM may not.
prepare_machine() {
	if [ ! -c /dev/net/tun ]; then
		mkdir -p /dev/net
		mknod /dev/net/tun c 10 200
	fi
	chmod 0666 /dev/net/tun
	[ -e /etc/hosts ] || echo '127.0.0.1 localhost' >/etc/hosts
	# a read-only /proc/sys (a container's): the ping test says so itself
	{ echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range; } 2>/dev/null ||
		echo "cannot write net.ipv4.ping_group_range" >&2
	id "$TEST_USER" >/dev/null 2>&1 || useradd -m -s /bin/bash "$TEST_USER"
	# useradd does that itself where it finds the two files: 65536 ids behind all that are there
	local file
	for file in /etc/subuid /etc/subgid; do
		! grep -q "^$TEST_USER:" "$file" 2>/dev/null || continue
		[ -e "$file" ] || : >"$file"
		awk -F: -v user="$TEST_USER" -v end=100000 '$2 + $3 > end { end = $2 + $3 }
			END { print user ":" end ":65536" }' "$file" | tee -a "$file" >/dev/null
	done
}

# Zombies are dead; whoever is init here may take its time to reap them.
processes_of_user() { ps -o pid=,stat=,args= -u "$TEST_USER" | awk '$2 !~ /^Z/' || true; }

# Ends what was left running, one process at a time, and fails if there was anything.
no_process_left() {
	local left pid rest
	# what is just ending is not left behind: a TAP takes the kernel some 20 ms
	for _ in {1..50}; do
		left=$(processes_of_user)
		[ -n "$left" ] || return 0
		sleep 0.1
	done
	printf 'processes of %s left behind:\n%s\n' "$TEST_USER" "$left" >&2
	while read -r pid rest; do
		kill -KILL "$pid" 2>/dev/null || true
	done <<<"$left"
	return 1
}

# The directories of this run; the trap must not depend on the shell's state.
remove_copy() { [ -z "${COPY_DIR:-}" ] || rm -rf -- "$COPY_DIR"; }

as_ordinary_user() {
	local status=0
	if [ "$(id -u)" -ne 0 ]; then
		"$@" </dev/null
		return
	fi

	# two runs at once would find each other's processes; a bare system has no /run/lock
	mkdir -p /run/lock
	exec {lock_fd}>"/run/lock/$TEST_USER.lock"
	flock -n "$lock_fd" || {
		echo "waiting for another run to end"
		flock "$lock_fd"
	}
	prepare_machine
	no_process_left || true # of a run that was killed

	COPY_DIR=$(mktemp -d /tmp/nswrap-test.XXXXXX)
	trap remove_copy EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir -m 0700 "$COPY_DIR/run" "$COPY_DIR/home" "$COPY_DIR/tmp"
	mkdir "$COPY_DIR/tree"
	tar -c --exclude=./.git --exclude=./build --exclude=./nswrap . | tar -x -C "$COPY_DIR/tree"
	chown -R "$TEST_USER:" "$COPY_DIR"

	# a login's environment and nothing of root's; no terminal, no input, no descriptors
	(
		exec {lock_fd}>&-
		cd "$COPY_DIR/tree"
		exec runuser -u "$TEST_USER" -- env -i \
			HOME="$COPY_DIR/home" USER="$TEST_USER" LOGNAME="$TEST_USER" SHELL=/bin/bash \
			LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
			TMPDIR="$COPY_DIR/tmp" XDG_RUNTIME_DIR="$COPY_DIR/run" ${CI:+CI="$CI"} \
			${NOROUTER:+NOROUTER="$NOROUTER"} ${LENNUT:+LENNUT="$LENNUT"} \
			${NSWRAP_TEST_THOROUGH:+NSWRAP_TEST_THOROUGH="$NSWRAP_TEST_THOROUGH"} \
			setsid -w "$@"
	) </dev/null || status=$?
	no_process_left || status=1
	# the runtime directories of those that ran without XDG_RUNTIME_DIR, and as root of a namespace
	find /tmp -maxdepth 1 -user "$TEST_USER" -name 'nswrap-*[0-9]*' ! -name 'nswrap-test.*' \
		-exec rm -rf -- {} +
	return "$status"
}
