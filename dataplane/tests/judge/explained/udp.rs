//! Of the steps of `trace/udp.rs`.

use super::Explained;

pub(crate) const STEPS: &[Explained] = &[
    Explained {
        row: "transport checksums",
        step: "udp: a wrong checksum to the cloud",
        kernel: &[],
        ours: &["cloud: udp [198.51.100.17:40000] > 10.10.0.10:443, ttl 63, WRONG checksum, 50 bytes 3f01"],
    },
    Explained {
        row: "transport checksums",
        step: "udp: a wrong checksum to the office",
        kernel: &[],
        ours: &["office: udp 203.0.113.10:443 > 198.51.100.17:40000, ttl 63, WRONG checksum, 50 bytes a8d1"],
    },
    Explained {
        row: "whose a mapping is",
        step: "udp: the same port's second remote end",
        kernel: &["cloud: udp [198.51.100.17:41000 #2] > 10.10.0.11:2000, ttl 63, 30 bytes 35a2"],
        ours: &["cloud: udp [198.51.100.17:41000] > 10.10.0.11:2000, ttl 63, 30 bytes 35a2"],
    },
    Explained {
        row: "source port zero",
        step: "udp: source port zero",
        kernel: &["cloud: udp [198.51.100.17:0 low] > 10.10.0.10:443, ttl 63, 30 bytes 28f2"],
        ours: &[],
    },
    Explained {
        row: "filtering",
        step: "udp: its host answers from another port of the service",
        kernel: &[],
        ours: &["office: udp 203.0.113.11:2050 > 198.51.100.17:41100, ttl 63, 30 bytes 35a2"],
    },
    Explained {
        row: "hairpinning",
        step: "udp: which sends to the first one's",
        kernel: &["cloud: udp [198.51.100.18:42001 #2] > [198.51.100.17:42000], ttl 63, 30 bytes 9d26"],
        ours: &[],
    },
    Explained {
        row: "hairpinning",
        step: "udp: and the first one answers",
        kernel: &["cloud: udp [198.51.100.17:42000 #2] > [198.51.100.18:42001 #2], ttl 63, 30 bytes 8c0e"],
        ours: &["office: udp [198.51.100.17:42000] > 198.51.100.18:42001, ttl 62, 30 bytes 8c0e"],
    },
    Explained {
        row: "hairpinning",
        step: "udp: so that the other is let in",
        kernel: &["cloud: udp [198.51.100.18:42001 #3] > [198.51.100.17:42000 #2], ttl 63, 30 bytes e7f2"],
        ours: &["office: udp [198.51.100.18:42001] > 198.51.100.17:42000, ttl 62, 30 bytes e7f2"],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "udp: 1 hops left, to the office",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 11 0 rest 00000000 about 68 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 1 sound, 40 bytes 8225",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 11 0 rest 00000000 about 68 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 1 sound, 40 bytes 8225",
        ],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "udp: 0 hops left, to the office",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 11 0 rest 00000000 about 68 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 0 sound, 40 bytes 8225",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 11 0 rest 00000000 about 68 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 0 sound, 40 bytes 8225",
        ],
    },
    Explained {
        row: "who sends the NAT's own errors to the office",
        step: "udp: the last hop of a flow that no rule allows",
        kernel: &[
            "office: protocol 1 203.0.113.1 > 198.51.100.17, ttl 64, tos c0, icmp 11 0 rest 00000000 about 28 bytes: udp 198.51.100.17:43000 > 203.0.113.10:81 ttl 1 sound",
        ],
        ours: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 64, tos c0, icmp 11 0 rest 00000000 about 28 bytes: udp 198.51.100.17:43000 > 203.0.113.10:81 ttl 1 sound",
        ],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "udp: a byte too big",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 64, 520 bytes d1f2",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 64, 520 bytes d1f2",
        ],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "udp: as big as the cloud's line",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 64, 520 bytes d1f2",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:43000] ttl 64, 520 bytes d1f2",
        ],
    },
    Explained {
        row: "identifications",
        step: "udp: a small one that may be cut, to the cloud",
        kernel: &["cloud: udp [198.51.100.17:43000] > 10.10.0.10:443, ttl 63, number kept, 40 bytes 13cd"],
        ours: &["cloud: udp [198.51.100.17:43000] > 10.10.0.10:443, ttl 63, numbered anew, 40 bytes 13cd"],
    },
    Explained {
        row: "identifications",
        step: "udp: a small one that may be cut, to the office",
        kernel: &["office: udp 203.0.113.10:443 > 198.51.100.17:43000, ttl 63, number kept, 40 bytes 8225"],
        ours: &["office: udp 203.0.113.10:443 > 198.51.100.17:43000, ttl 63, numbered anew, 40 bytes 8225"],
    },
];
