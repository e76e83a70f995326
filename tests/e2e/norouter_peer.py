# SPDX-License-Identifier: Apache-2.0
"""e2e/norouter_peer - one TCP connection by bare packets, with the options that NoRouter's have"""

import queue
import random
import socket
import struct
import time

from harness import PATIENCE

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
# what the recordings show: MSS 65495, SACK permitted, window scale 6; timestamps in all packets
MSS, SCALE = 65495, 6
MASK = 0xffffffff


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def tcp_sum(src, dst, segment):
    return checksum(src + dst + struct.pack("!HH", socket.IPPROTO_TCP, len(segment)) + segment)


class Segment:
    """A TCP packet that came, checked byte by byte."""

    def __init__(self, packet):
        assert packet[0] == 0x45, "no plain IPv4 header"
        total, _, fragment, ttl, proto = struct.unpack("!HHHBB", packet[2:10])
        assert total == len(packet) and fragment & 0x3fff == 0 and ttl > 0
        assert proto == socket.IPPROTO_TCP and checksum(packet[:20]) == 0
        self.source, self.destination = packet[12:16], packet[16:20]
        tcp = packet[20:]
        assert tcp_sum(self.source, self.destination, tcp) == 0, "wrong checksum"
        self.sport, self.dport, self.seq, self.ack, offset, self.flags, self.window = struct.unpack(
            "!HHIIBBH", tcp[:16])
        self.data = tcp[offset // 16 * 4:]
        self.options = dict(self._options(tcp[20:offset // 16 * 4]))
        self.size = total

    @staticmethod
    def _options(text):
        """(kind, value) of each."""
        while text and text[0] != 0:
            if text[0] == 1:
                text = text[1:]
                continue
            assert 2 <= text[1] <= len(text), text
            yield text[0], text[2:text[1]]
            text = text[text[1]:]

    @property
    def mss(self):
        return struct.unpack("!H", self.options[2])[0]

    @property
    def times(self):
        """The sender's clock, and ours as it saw it last."""
        return struct.unpack("!II", self.options[8])

    def is_syn(self):
        return self.flags & (SYN | ACK) == SYN


def ip_packet(proto, src, dst, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, proto, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def icmp(kind, code, rest):
    message = struct.pack("!BBH", kind, code, 0) + rest
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


class Ports:
    """Segments by the peer's port, of all that comes by a link. send: takes a packet.

    What is none of TCP is answered as the program answers it: protocol unreachable, but a ping by
    its pong. is_mute: with nothing, as a version whose network stack does not."""

    def __init__(self, send, is_mute=False):
        self.send = send
        self.is_mute = is_mute
        self.by_port = {}
        self.begun = queue.Queue()
        self._known = set()  # of the SYNs that were in there

    def answer(self, packet):
        if packet[9] != socket.IPPROTO_ICMP:
            said = icmp(3, 2, bytes(4) + packet)
        elif packet[20] == 8:
            said = icmp(0, 0, packet[24:])
        else:
            return
        self.send(ip_packet(socket.IPPROTO_ICMP, packet[16:20], packet[12:16], said))

    def on_packet(self, packet):
        if packet[9] != socket.IPPROTO_TCP:
            if not self.is_mute:
                self.answer(packet)
            return
        segment = Segment(packet)
        key = segment.destination, segment.dport
        if segment.is_syn():
            mark = segment.source, segment.sport, *key, segment.seq
            if mark in self._known:  # said again, for we are late
                return
            self._known.add(mark)
        elif key in self.by_port:
            self.by_port[key].put(segment)
            return
        self.begun.put(segment)


class Connection:
    """Our end of a connection between two addresses, (address, port) each."""

    def __init__(self, ports, here, there, seen=None):
        """seen: the SYN of the other side, for one that they begin."""
        self.ports = ports
        self.here, self.there = here, there
        self.seq = random.randrange(1 << 32)  # it may wrap around
        self.ack = (seen.seq + 1) & MASK if seen else 0
        self.clock = random.randrange(1 << 31)
        self.heard = seen.times[0] if seen else 0
        self.answered = None  # the number of the answer to our SYN
        self.seen = queue.Queue()
        ports.by_port[socket.inet_aton(here[0]), here[1]] = self.seen

    def packet(self, flags, data=b"", seq=None):
        self.clock += 1
        times = struct.pack("!BBII", 8, 10, self.clock & MASK, self.heard)
        if flags & SYN:
            options = struct.pack("!BBH", 2, 4, MSS) + b"\4\2" + times + b"\1\3\3" + bytes([SCALE])
        else:
            options = b"\1\1" + times
        src, dst = socket.inet_aton(self.here[0]), socket.inet_aton(self.there[0])
        head = struct.pack("!HHIIBBHHH", self.here[1], self.there[1], self.seq if seq is None else seq,
                           self.ack if flags & ACK else 0, (20 + len(options)) << 2, flags, 65535, 0, 0)
        tcp = head + options + data
        tcp = tcp[:16] + struct.pack("!H", tcp_sum(src, dst, tcp)) + tcp[18:]
        return ip_packet(socket.IPPROTO_TCP, src, dst, tcp)

    def send(self, flags, data=b""):
        """A new segment; the one that was sent is returned, for sending it again."""
        packet = self.packet(flags, data)
        self.seq = (self.seq + len(data) + bool(flags & (SYN | FIN))) & MASK
        self.ports.send(packet)
        return packet

    def next(self, timeout=10):
        """The next segment that comes; it is not answered, but for one that says again what open() had."""
        while True:
            segment = self.seen.get(timeout=timeout * PATIENCE)
            assert segment.source == socket.inet_aton(self.there[0]) and segment.sport == self.there[1]
            if 8 in segment.options:
                self.heard = segment.times[0]
            if segment.flags != SYN | ACK or segment.seq != self.answered:
                return segment
            self.send(ACK)

    def open(self):
        """The handshake; returns the SYN and its answer."""
        first = self.send(SYN)
        answer = self.next()
        assert answer.flags == SYN | ACK and answer.ack == self.seq, answer.flags
        self.answered = answer.seq
        self.ack = (answer.seq + 1) & MASK
        self.send(ACK)
        return first, answer

    def accept(self):
        """Take the connection that began with the SYN that was seen."""
        self.send(SYN | ACK)
        answer = self.next()
        assert answer.flags == ACK and answer.seq == self.ack and answer.ack == self.seq

    def read(self, until):
        """Segments, each acknowledged, until until(data, segment) holds; all data that came."""
        data = b""
        while True:
            segment = self.next()
            assert not segment.flags & (RST | SYN), segment.flags
            if segment.seq == self.ack:
                data += segment.data
                self.ack = (self.ack + len(segment.data) + bool(segment.flags & FIN)) & MASK
            if segment.data or segment.flags & FIN:
                self.send(ACK)  # also of what was there before
            if until(data, segment):
                return data

    def read_to_fin(self):
        return self.read(lambda data, segment: segment.flags & FIN and
                         self.ack == (segment.seq + len(segment.data) + 1) & MASK)

    def wait_acked(self):
        """Wait until all that was sent is acknowledged."""
        end = time.monotonic() + 10 * PATIENCE
        while time.monotonic() < end:
            if (segment := self.next()).ack == self.seq:
                return segment
        raise AssertionError("what was sent is not acknowledged")
