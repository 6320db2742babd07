//! Of the steps of `trace/tcp.rs`.

use super::Explained;

pub(crate) const STEPS: &[Explained] = &[
    Explained {
        row: "segments outside the window",
        step: "tcp life, there: selective ACK of what was never sent",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50000] > 10.10.0.10:443, ttl 63, A 1501 945 window 65000 options 0101050a000005a500000609"],
    },
    Explained {
        row: "transport checksums",
        step: "tcp life: a wrong checksum",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50000] > 10.10.0.10:443, ttl 63, A 1502 945 window 65000, WRONG checksum, 2 bytes 74e8"],
    },
    Explained {
        row: "whose a mapping is",
        step: "tcp life, there: the same ports again",
        kernel: &["cloud: tcp [198.51.100.17:50000 #2] > 10.10.0.10:443, ttl 63, S 501000 0 window 65000"],
        ours: &["cloud: tcp [198.51.100.17:50000] > 10.10.0.10:443, ttl 63, S 501000 0 window 65000"],
    },
    Explained {
        row: "whose a mapping is",
        step: "tcp life, there: the same ports are open",
        kernel: &["cloud: tcp [198.51.100.17:50000 #2] > 10.10.0.10:443, ttl 63, A 501001 6 window 65000"],
        ours: &["cloud: tcp [198.51.100.17:50000] > 10.10.0.10:443, ttl 63, A 501001 6 window 65000"],
    },
    Explained {
        row: "segments outside the window",
        step: "tcp window, there: data far ahead",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50100] > 10.10.0.10:443, ttl 63, A 10001001 4294967041 window 65000, 10 bytes efdf"],
    },
    Explained {
        row: "segments outside the window",
        step: "tcp window, back: data far ahead, back",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50100, ttl 63, A 9999745 1001 window 65000, 10 bytes 77c5"],
    },
    Explained {
        row: "segments outside the window",
        step: "tcp window, there: an ACK of what was never sent",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50100] > 10.10.0.10:443, ttl 63, A 1001 9999745 window 65000"],
    },
    Explained {
        row: "segments outside the window",
        step: "tcp window, back: RST far ahead",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50100, ttl 63, R 9999745 0 window 65000"],
    },
    Explained {
        row: "segments outside the window",
        step: "tcp window, back: FIN far ahead",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50100, ttl 63, FA 9999745 1021 window 65000"],
    },
    Explained {
        row: "whose a mapping is",
        step: "tcp refused, there: SYN again",
        kernel: &["cloud: tcp [198.51.100.17:50203 #2] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000"],
        ours: &["cloud: tcp [198.51.100.17:50203] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000"],
    },
    Explained {
        row: "whose a mapping is",
        step: "tcp refused, there: SYN with another number",
        kernel: &["cloud: tcp [198.51.100.17:50203 #3] > 10.10.0.10:443, ttl 63, S 10000 0 window 65000"],
        ours: &["cloud: tcp [198.51.100.17:50203] > 10.10.0.10:443, ttl 63, S 10000 0 window 65000"],
    },
    Explained {
        row: "a reset that acknowledges another SYN",
        step: "tcp refused, back: SYN+ACK at last",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50203, ttl 63, SA 4294967040 10001 window 65000"],
    },
    Explained {
        row: "a reset that acknowledges another SYN",
        step: "tcp refused, there: ACK at last",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50203] > 10.10.0.10:443, ttl 63, A 10001 4294967041 window 65000"],
    },
    Explained {
        row: "what comes behind a reset",
        step: "tcp given up, back: SYN+ACK too late",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50204, ttl 63, SA 4294967040 1001 window 65000"],
    },
    Explained {
        row: "a responder that starts again",
        step: "tcp another answer, there: ACK of the second",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50301] > 10.10.0.10:443, ttl 63, A 1001 4001 window 65000"],
    },
    Explained {
        row: "an answer to another SYN",
        step: "tcp wrong answer, back: SYN+ACK of something else",
        kernel: &[],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50302, ttl 63, SA 4294967040 10999 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: no flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63,  1001 4294967041 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: SYN+FIN flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63, FS 1001 4294967041 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: SYN+RST flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63, SR 1001 4294967041 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: FIN+PSH+URG flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63, FPU 1001 4294967041 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: FIN flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63, F 1001 4294967041 window 65000"],
    },
    Explained {
        row: "flags that make no sense",
        step: "tcp flags, there: all flags in a connection",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.17:50400] > 10.10.0.10:443, ttl 63, FSRPAU 1001 4294967041 window 65000"],
    },
    Explained {
        row: "an MSS at an odd offset",
        step: "tcp options, there: an MSS at an odd place, SYN",
        kernel: &[
            "cloud: tcp [198.51.100.17:50507] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000 options 0102040564000000, WRONG checksum",
        ],
        ours: &["cloud: tcp [198.51.100.17:50507] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000 options 0102040564000000"],
    },
    Explained {
        row: "an MSS at an odd offset",
        step: "tcp options, back: an MSS at an odd place, SYN+ACK",
        kernel: &[
            "office: tcp 203.0.113.10:443 > 198.51.100.17:50507, ttl 63, SA 4294967040 1001 window 65000 options 0102040564000000, WRONG checksum",
        ],
        ours: &["office: tcp 203.0.113.10:443 > 198.51.100.17:50507, ttl 63, SA 4294967040 1001 window 65000 options 0102040564000000"],
    },
    Explained {
        row: "source port zero",
        step: "tcp: source port zero",
        kernel: &["cloud: tcp [198.51.100.18:0 low] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000"],
        ours: &[],
    },
    Explained {
        row: "transport checksums",
        step: "tcp: a SYN's wrong checksum",
        kernel: &[],
        ours: &["cloud: tcp [198.51.100.18:50600] > 10.10.0.10:443, ttl 63, S 1000 0 window 65000, WRONG checksum, 2 bytes 99c1"],
    },
];
