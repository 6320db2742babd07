//! Of the steps of `trace/icmp.rs` and `trace/odd.rs`.

use super::Explained;

pub(crate) const STEPS: &[Explained] = &[
    Explained {
        row: "an echo of the NAT's own address",
        step: "echo: of the relay's own address",
        kernel: &["cloud: echo 10.254.1.2:5 > 10.10.0.10:5, ttl 64, numbered anew, icmp 0 0 sequence 1, 8 bytes 8755"],
        ours: &["cloud: echo 10.254.1.2:5 > 10.10.0.10:5, ttl 64, icmp 0 0 sequence 1, 8 bytes 8755"],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "echo: a callback with its last hop",
        kernel: &[
            "cloud: protocol 1 10.254.1.30 > 10.10.0.20, ttl 64, tos c0, icmp 11 0 rest 00000000 about 28 bytes: echo 10.10.0.20:77 > 10.254.1.30:77 ttl 1 sound",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.20, ttl 64, tos c0, icmp 11 0 rest 00000000 about 28 bytes: echo 10.10.0.20:77 > 10.254.1.30:77 ttl 1 sound",
        ],
    },
    Explained {
        row: "who sends the NAT's own errors to the cloud",
        step: "echo: a reply that is too big",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: echo 10.10.0.10 > [198.51.100.17:7] ttl 64, 520 bytes b6e8",
        ],
        ours: &[
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: echo 10.10.0.10 > [198.51.100.17:7] ttl 64, 520 bytes b6e8",
        ],
    },
    Explained {
        row: "an echo with a code",
        step: "echo: with another code",
        kernel: &["cloud: echo [198.51.100.17:7 #2] > 10.10.0.10, ttl 63, icmp 8 1 sequence 2"],
        ours: &[],
    },
    Explained {
        row: "the smallest path MTU",
        step: "error: fragmentation needed, 575 bytes",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 4 rest 0000023f about 128 bytes: udp 198.51.100.17:45000 > 203.0.113.10:443 ttl 63 sound, 100 bytes 429d",
        ],
        ours: &[],
    },
    Explained {
        row: "the smallest path MTU",
        step: "error: fragmentation needed, 68 bytes",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 4 rest 00000044 about 128 bytes: udp 198.51.100.17:45000 > 203.0.113.10:443 ttl 63 sound, 100 bytes 429d",
        ],
        ours: &[],
    },
    Explained {
        row: "the smallest path MTU",
        step: "error: fragmentation needed, 0 bytes",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 4 rest 00000000 about 128 bytes: udp 198.51.100.17:45000 > 203.0.113.10:443 ttl 63 sound, 100 bytes 429d",
        ],
        ours: &[],
    },
    Explained {
        row: "headers that an error quotes",
        step: "error: about a wrong header checksum",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 3 rest 00000000 about 128 bytes: udp 198.51.100.17:45001 > 203.0.113.10:443 ttl 63 WRONG header checksum sound, 100 bytes 429d",
        ],
        ours: &[],
    },
    Explained {
        row: "headers that an error quotes",
        step: "error: about IPv6",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 3 rest 00000000 about 128 bytes: udp 198.51.100.17:45001 > 203.0.113.10:443 ttl 63 sound, 100 bytes 429d",
        ],
        ours: &[],
    },
    Explained {
        row: "sequence numbers that an error quotes",
        step: "error: fragmentation needed about data that was never sent",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 4 rest 000003e8 about 548 bytes: tcp 198.51.100.17:45100 > 203.0.113.10:443 ttl 63, 520 bytes c8f9",
        ],
        ours: &[],
    },
    Explained {
        row: "sequence numbers that an error quotes",
        step: "error: fragmentation needed about data that has arrived",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 63, icmp 3 4 rest 000003e8 about 548 bytes: tcp 198.51.100.17:45100 > 203.0.113.10:443 ttl 63, 520 bytes c8f9",
        ],
        ours: &[],
    },
    Explained {
        row: "who in the office sends errors",
        step: "error: of a router that is not the office's",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 63, icmp 3 3 rest 00000000 about 128 bytes: udp 10.10.0.10:443 > [198.51.100.17:45002] ttl 63 sound, 100 bytes 4685",
        ],
        ours: &[],
    },
    Explained {
        row: "who in the office sends errors",
        step: "error: of a host of the other class",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 63, icmp 3 3 rest 00000000 about 128 bytes: udp 10.10.0.10:443 > [198.51.100.17:45002] ttl 63 sound, 100 bytes 4685",
        ],
        ours: &[],
    },
    Explained {
        row: "fragments that wait",
        step: "fragments: one is missing",
        kernel: &[],
        ours: &[
            "cloud: a fragment, udp [198.51.100.17:46000] > 10.10.0.10:443, ttl 63, from byte 0, 1400 bytes",
            "cloud: a fragment, protocol 17 pool > 10.10.0.10, ttl 63, from byte 2800, 1208 bytes",
        ],
    },
    Explained {
        row: "fragments that are cut again",
        step: "fragments: of the cloud, which do not fit",
        kernel: &["office: in 3 fragments: udp 203.0.113.10:443 > 198.51.100.17:46000, ttl 63, 4000 bytes 8a25"],
        ours: &["office: in 5 fragments: udp 203.0.113.10:443 > 198.51.100.17:46000, ttl 63, 4000 bytes 8a25"],
    },
    Explained {
        row: "fragments that are cut again",
        step: "fragments: of the cloud, last one first",
        kernel: &["office: in 3 fragments: udp 203.0.113.10:443 > 198.51.100.17:46000, ttl 63, 4000 bytes 8a25"],
        ours: &["office: in 5 fragments: udp 203.0.113.10:443 > 198.51.100.17:46000, ttl 63, 4000 bytes 8a25"],
    },
    Explained {
        row: "fragments that wait",
        step: "fragments: not to be cut again, which do not fit",
        kernel: &[
            "cloud: protocol 1 pool > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:46000] ttl 64, 520 bytes 53a4",
        ],
        ours: &[
            "office: a fragment, protocol 17 203.0.113.10 > 198.51.100.17, ttl 63, from byte 2960, 1048 bytes",
            "cloud: protocol 1 10.254.1.2 > 10.10.0.10, ttl 64, tos c0, icmp 3 4 rest 0000058c about 548 bytes: udp 10.10.0.10:443 > [198.51.100.17:46000] ttl 64, 520 bytes 53a4",
        ],
    },
    Explained {
        row: "fragments that wait",
        step: "fragments: that overlap",
        kernel: &[],
        ours: &["cloud: a fragment, udp [198.51.100.17:46100] > 10.10.0.10:443, ttl 63, from byte 0, 104 bytes"],
    },
    Explained {
        row: "a transport header in two fragments",
        step: "fragments: a header in two",
        kernel: &["cloud: in 2 fragments: tcp [198.51.100.17:46101] > 10.10.0.10:443, ttl 63, S 1 0 window 65000"],
        ours: &[],
    },
    Explained {
        row: "identifications",
        step: "fragments: one that is all of it",
        kernel: &["cloud: udp [198.51.100.17:46100] > 10.10.0.10:443, ttl 63, number kept, 192 bytes f705"],
        ours: &["cloud: udp [198.51.100.17:46100] > 10.10.0.10:443, ttl 63, numbered anew, 192 bytes f705"],
    },
    Explained {
        row: "options of IPv4",
        step: "header: options that do nothing",
        kernel: &["cloud: udp [198.51.100.17:46200] > 10.10.0.10:443, ttl 63, options [01, 01, 01, 00], 40 bytes 092d"],
        ours: &[],
    },
    Explained {
        row: "options of IPv4",
        step: "header: router alert",
        kernel: &["cloud: udp [198.51.100.17:46200] > 10.10.0.10:443, ttl 63, options [94, 04, 00, 00], 40 bytes 092d"],
        ours: &[],
    },
    Explained {
        row: "options of IPv4",
        step: "header: record route",
        kernel: &["cloud: udp [198.51.100.17:46200] > 10.10.0.10:443, ttl 63, options [07, 07, 08, 0a, fe, 01, 02, 00], 40 bytes 092d"],
        ours: &[],
    },
    Explained {
        row: "options of IPv4",
        step: "header: an option of no length",
        kernel: &[
            "office: protocol 1 203.0.113.10 > 198.51.100.17, ttl 64, tos c0, icmp 12 0 rest 14000000 about 72 bytes: udp 198.51.100.17:46200 > 203.0.113.10:443 ttl 64 sound, 40 bytes 092d",
        ],
        ours: &[],
    },
];
