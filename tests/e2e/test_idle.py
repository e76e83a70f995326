# SPDX-License-Identifier: Apache-2.0
"""e2e/test_idle - sandboxes in which nothing happens take no processor time"""

import time

import pytest

from harness import exchange, proc_status, process_table, wait_for
from tools import Roles, tool

QUIET_S = 2.5  # libslirp's slowest clock has a second


def wake_ups(pids):
    return {pid: int(proc_status(pid)["voluntary_ctxt_switches"]) for pid in pids}


def woken_in(seconds, pids):
    """(how often each of them was woken, for how long) when nothing is asked of them"""
    before, started = wake_ups(pids), time.monotonic()
    time.sleep(seconds)
    after = wake_ups(pids)
    return {pid: after[pid] - before[pid] for pid in pids}, time.monotonic() - started


@pytest.mark.waits
@pytest.mark.parametrize("driver", ["splice", "slirp"])
def test_nobody_wakes_up_once_the_server_listens(nswrap, driver):
    running = nswrap.start("--port-driver", driver, "-p", 0, "-P", 7000, "--", tool("guest"), 7000)
    running.guest_listening()
    # libslirp keeps what its side closed for 10 s
    if driver == "splice":
        assert exchange(running.host_port(), b"once") == b"once"

    def all_four():
        table = process_table()
        own = [running.pid, *(p for p in running.tree() if table.get(p, ("",) * 3)[2].startswith("nswrap: "))]
        return own if len(own) == 4 else None

    own = wait_for(all_four, "supervisor, init, net, witness")

    def all_sleep():
        woken, _ = woken_in(QUIET_S, own)
        return not any(woken.values())

    wait_for(all_sleep, "a while in which nobody wakes up", timeout=30)
    assert exchange(running.host_port(), b"again") == b"again"


@pytest.mark.waits
def test_who_waits_for_a_server_does_not_spin(nswrap):
    """It is looked for some thousand times in all, of which these are the most."""
    running = nswrap.start("-p", 0, "-P", 7000, "--", "sleep", "1000")
    running.wait_event("forward")
    net = Roles(running).net

    def looks_at_times():
        woken, took = woken_in(1, [net])
        assert woken[net] < 1500 * took
        return woken[net] > 20

    wait_for(looks_at_times, "a second in which it was looked for")
    running.stop()
