"""A municipal router and a cloud host made of scapy, whose IPsec layer nobody of this project has written.

Arguments: interfaces of the office and of the cloud. Then a line on the standard input for each SA pair: `ip` or `udp`, `gcm` or `cbc`, 0 or
1 for extended sequence numbers, the SPI towards the relay and the one from it. It is answered by a line when every request came out at the
cloud as it was sent and every answer of the cloud could be decrypted in the office; else this program ends.
"""

import hmac
import logging
import select
import struct
import sys
import time

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import ARP, ESP, IP, UDP, Dot1Q, Ether, Raw, SecurityAssociation, conf  # noqa: E402

OFFICE_MAC, CLOUD_MAC = "06:00:00:00:01:0b", "06:01:00:00:08:35"
VLAN = 2101
PATIENCE = 10.0

office, cloud = (conf.L2socket(iface=name) for name in sys.argv[1:])
relay_mac = {}


class WithUpperHalf:
    """An integrity algorithm over the upper half of the sequence number too (RFC 4303 section 2.2.1), which scapy 2.5 leaves out of ESP."""

    def __init__(self, algorithm):
        self.algorithm, self.high = algorithm, 0

    def __getattr__(self, name):
        return getattr(self.algorithm, name)

    def icv(self, packet, key):
        return hmac.new(key, packet + struct.pack("!L", self.high), "sha256").digest()[: self.icv_size]

    def sign(self, packet, key):
        packet[ESP].data += self.icv(bytes(packet[ESP]), key)
        return packet

    def verify(self, packet, key):
        covered, came = bytes(packet)[: -self.icv_size], bytes(packet)[-self.icv_size :]
        assert hmac.compare_digest(self.icv(covered, key), came), "the relay's ICV is wrong"


def association(way, suite, esn, spi, key, salt, integrity, source, destination):
    crypto = {
        "gcm": dict(crypt_algo="AES-GCM", crypt_key=bytes([key] * 32) + bytes([salt] * 4)),
        "cbc": dict(crypt_algo="AES-CBC", crypt_key=bytes([key] * 32), auth_algo="SHA2-256-128", auth_key=bytes([integrity] * 32)),
    }[suite]
    nat = UDP(sport=4500, dport=4500) if way == "udp" else None
    tunnel = IP(src=source, dst=destination)
    made = SecurityAssociation(ESP, spi=spi, tunnel_header=tunnel, nat_t_header=nat, esn_en=esn, **crypto)
    if esn and suite == "cbc":
        made.auth_algo = WithUpperHalf(made.auth_algo)
    return made


def answer_arp(socket, frame):
    """Be every address that the relay asks for; learn its own."""
    if ARP not in frame or frame[ARP].psrc == frame[ARP].pdst:
        return
    asked = frame[ARP]
    relay_mac[socket] = asked.hwsrc
    if asked.op != 1:
        return
    own = OFFICE_MAC if socket is office else CLOUD_MAC
    tag = Dot1Q(vlan=frame[Dot1Q].vlan) if Dot1Q in frame else None
    reply = ARP(op=2, hwsrc=own, psrc=asked.pdst, hwdst=asked.hwsrc, pdst=asked.psrc)
    ether = Ether(src=own, dst=asked.hwsrc)
    socket.send(ether / tag / reply if tag else ether / reply)


def wait_for(what, found):
    """The first frame for which `found(socket, frame)` gives something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for socket in select.select([office, cloud], [], [], 0.2)[0]:
            frame = socket.recv(2048)
            if frame is None:
                continue
            answer_arp(socket, frame)
            result = found(socket, frame)
            if result:
                return result
    sys.exit(f"no {what} within {PATIENCE} s")


def next_line():
    """The next line of the standard input; ARP is answered meanwhile."""
    while True:
        ready = select.select([office, cloud, sys.stdin], [], [])[0]
        for socket in ready:
            if socket is sys.stdin:
                return sys.stdin.readline()
            frame = socket.recv(2048)
            if frame is not None:
                answer_arp(socket, frame)


def seal(inbound, inner, number):
    high, low = divmod(number, 1 << 32)
    if isinstance(inbound.auth_algo, WithUpperHalf):
        inbound.auth_algo.high = high
    packet = inbound.encrypt(inner, seq_num=low, esn=high)
    if UDP in packet:
        # scapy 2.5 takes the length before there is a payload.
        del packet[UDP].len, packet[IP].len, packet[IP].chksum
    return packet


def exchange(inbound, outbound, number):
    payload = b"request %d" % number
    inner = IP(src="198.51.100.17", dst="203.0.113.10") / UDP(sport=40000, dport=443) / Raw(payload)
    office.send(Ether(src=OFFICE_MAC, dst=relay_mac[office]) / seal(inbound, inner, number))
    is_request = lambda socket, frame: socket is cloud and UDP in frame and bytes(frame[UDP].payload).startswith(payload) and frame
    frame = wait_for(f"request {number} at the cloud", is_request)
    came = (frame[Dot1Q].vlan, frame[IP].src, frame[IP].dst, frame[UDP].dport)
    assert came == (VLAN, "198.51.100.17", "10.10.0.10", 443), came

    payload = b"answer %d" % number
    answer = IP(src="10.10.0.10", dst="198.51.100.17") / UDP(sport=443, dport=40000) / Raw(payload)
    cloud.send(Ether(src=CLOUD_MAC, dst=relay_mac[cloud]) / Dot1Q(vlan=VLAN) / answer)
    frame = wait_for(f"answer {number} at the office", lambda socket, frame: socket is office and ESP in frame and frame)
    assert (UDP in frame) == (outbound.nat_t_header is not None), frame.summary()
    decrypted = outbound.decrypt(IP(bytes(frame[IP])), esn=0)
    came = (decrypted[IP].src, decrypted[IP].dst, bytes(decrypted[UDP].payload))
    assert came == ("203.0.113.10", "198.51.100.17", payload), came


def numbers(esn):
    """Sequence numbers, no step over half of 2^32: nobody could tell it from a step back."""
    below = [1, 2, 3, 1 << 31, (1 << 32) - 2, (1 << 32) - 1]
    # Not 1 << 32: scapy takes a lower half of 0 for none given.
    return below + [(1 << 32) + 1, (1 << 32) + 2, 3 << 31, (2 << 32) + 7] if esn else below


wait_for("question of the relay for its gateways", lambda *_: len(relay_mac) == 2)
while line := next_line():
    way, suite, esn, to_relay, from_relay = line.split()
    esn = esn == "1"
    inbound = association(way, suite, esn, int(to_relay), 0x11, 0x22, 0x55, "192.0.2.11", "192.0.2.1")
    outbound = association(way, suite, esn, int(from_relay), 0x33, 0x44, 0x66, "192.0.2.1", "192.0.2.11")
    for number in numbers(esn):
        exchange(inbound, outbound, number)
    print(f"{way} {suite} esn={esn}: {len(numbers(esn))} requests and answers", flush=True)
