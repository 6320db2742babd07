//! Every way to lose a packet: one list, from which the enum, the metric label, the help text and the stage are made.
//!
//! A stage returns `Err(DropReason::X)` and nothing else; `worker/ledger.rs` counts it once and frees the frame.

/// Where on its way a packet was lost. The order is the order of the packet path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// The NIC and the frame memory.
    Nic,
    /// Ethernet, VLAN tags, ARP.
    Link,
    /// The outer IP and UDP headers between municipality and relay.
    Underlay,
    /// Waiting for its tenant's turn.
    Queue,
    /// WireGuard or IPsec.
    Tunnel,
    /// The inner packet as such.
    Inner,
    /// The tenant's rules.
    Policy,
    /// Address translation.
    Nat,
    /// Towards the next hop.
    Forward,
}

impl Stage {
    /// The stage as metrics and tables spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Nic => "nic",
            Self::Link => "link",
            Self::Underlay => "underlay",
            Self::Queue => "queue",
            Self::Tunnel => "tunnel",
            Self::Inner => "inner",
            Self::Policy => "policy",
            Self::Nat => "nat",
            Self::Forward => "forward",
        }
    }
}

macro_rules! drop_reasons {
    ($($stage:ident { $($name:ident = $label:literal: $help:literal,)* })*) => {
        /// Why a packet was lost.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $help] $name,)*)*
        }

        impl DropReason {
            /// All reasons, in the order of the packet path.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason as metrics, tables and JSON spell it; it never changes once released.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $($(Self::$name => $label,)*)* }
            }

            /// One sentence for a person: what happened and, where there is one, what to do.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $($(Self::$name => $help,)*)* }
            }

            /// Where on its way the packet was lost.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $($(Self::$name => Stage::$stage,)*)* }
            }
        }
    };
}

drop_reasons! {
    Nic {
        FrameTooBig = "frame_too_big": "The frame is longer than a frame of memory; switch off GRO/LRO on the NIC or lower its MTU.",
        SuperFrameMalformed = "super_frame_malformed": "A super-frame that is neither TCP nor UDP over IPv4, or whose lengths contradict each other.",
        NoFreeFrame = "no_free_frame": "No free frame of memory was left; raise `frames` in relay.yaml.",
    }
    Link {
        EthernetMalformed = "ethernet_malformed": "The frame is too short for its Ethernet header or tags.",
        EthernetSourceInvalid = "ethernet_source_invalid": "The source MAC address is a group address or the relay's own.",
        EthernetNotForUs = "ethernet_not_for_us": "The destination MAC address is another station's.",
        EtherTypeUnsupported = "ethertype_unsupported": "Neither IPv4, IPv6 nor ARP.",
        Ipv6Unsupported = "ipv6_unsupported": "IPv6 on a port where the relay has no IPv6 address; add `address6` to the port in relay.yaml.",
        VlanTagInvalid = "vlan_tag_invalid": "VLAN id 0 or 4095, an unknown tag order, or more than two tags.",
        VlanUnknown = "vlan_unknown": "No attachment of this port has this VLAN.",
        UntaggedUnexpected = "untagged_unexpected": "An untagged frame on a port that only carries VLANs.",
        ArpMalformed = "arp_malformed": "An ARP message that is not Ethernet/IPv4 or claims impossible addresses.",
        ArpNotForUs = "arp_not_for_us": "ARP for or from an address that is nobody's here.",
        ArpConflict = "arp_conflict": "Another station claims one of the relay's addresses: look for a duplicate address.",
        NdMalformed = "nd_malformed": "A message of IPv6's neighbour discovery that RFC 4861 tells to discard, or that speaks for another station than its sender.",
        NdNotForUs = "nd_not_for_us": "Neighbour discovery for or from an address that is nobody's here.",
        NdRefused = "nd_refused": "A router's advertisement or solicitation, or a redirect, which the relay never believes.",
        NdConflict = "nd_conflict": "Another station claims the relay's IPv6 address: look for a duplicate address.",
        NeighborTableFull = "neighbor_table_full": "The attachment's neighbour table is full.",
        NextHopUnresolved = "next_hop_unresolved": "The next hop has not answered ARP or neighbour discovery; compare gateway and VLAN with the circuit (`chukei show neighbors`).",
    }
    Underlay {
        OuterMalformed = "outer_malformed": "A broken outer IP or UDP header.",
        OuterFragment = "outer_fragment": "A fragment of an outer packet: lower the tunnel MTU of the municipality's router.",
        OuterNotForUs = "outer_not_for_us": "The outer destination address is not the relay's.",
        OuterProtocolUnsupported = "outer_protocol_unsupported": "The outer protocol is neither UDP nor ICMP echo, nor ESP on a port with an IPsec endpoint.",
        NoListener = "no_listener": "No endpoint listens on this UDP port.",
        HostEchoLimited = "host_echo_limited": "More echo requests to the relay's own address than it answers.",
    }
    Queue {
        TenantQueueFull = "tenant_queue_full": "The tenant sends more than its share, and as much as it may have waits already; see `rate` in the tenant file.",
        QueuesFull = "queues_full": "The queues of all tenants are full, and this tenant had the most waiting for its `rate.guaranteed`.",
        TenantReconfigured = "tenant_reconfigured": "The tenant's tunnels or VLANs were changed while the packet waited.",
        RateCeiling = "rate_ceiling": "The tenant sends more than the `rate.ceiling` of its file.",
    }
    Tunnel {
        TunnelMessageMalformed = "tunnel_message_malformed": "Not a message of the tunnel protocol: wrong type, length or reserved bytes.",
        TunnelReceiverUnknown = "tunnel_receiver_unknown": "No tunnel has this receiver index: the peer still uses a session that has ended, or one from before a restart.",
        TunnelPeerUnknown = "tunnel_peer_unknown": "A handshake with a public key that no tenant has.",
        TunnelHandshakeMacInvalid = "tunnel_handshake_mac_invalid": "A handshake whose first MAC is wrong: the peer has another relay public key.",
        TunnelHandshakeLimited = "tunnel_handshake_limited": "More handshakes from one source, or in all, than are answered.",
        TunnelHandshakeQueueFull = "tunnel_handshake_queue_full": "More handshakes at once than the relay lets wait; the peers try again by themselves.",
        TunnelHandshakeRejected = "tunnel_handshake_rejected": "A handshake that does not verify: wrong key, wrong preshared key, or replayed.",
        TunnelCookieRejected = "tunnel_cookie_rejected": "A cookie reply that answers nothing the relay sent.",
        TunnelDataRejected = "tunnel_data_rejected": "A data message that does not authenticate, or without a session.",
        TunnelDataReplayed = "tunnel_data_replayed": "A data message whose counter was seen before or is too old.",
        TunnelCounterExhausted = "tunnel_counter_exhausted": "A data message whose counter is at the end of its range.",
        TunnelDown = "tunnel_down": "No session with the municipality's router: a packet towards it has no way.",
        TunnelPeerAddressUnknown = "tunnel_peer_address_unknown": "The municipality's router has never been heard, so its address is unknown.",
        EspSpiUnknown = "esp_spi_unknown": "No SA has this SPI: the peer still uses one from before a restart, a rekey or a reload.",
        TunnelSelectorMismatch = "tunnel_selector_mismatch": "The packet is outside the traffic selectors of its SA; compare the networks on the municipality's router with `office` and `services` in the tenant file.",
        TunnelNextHeaderUnsupported = "tunnel_next_header_unsupported": "Something else than an IP packet inside ESP: the peer uses transport mode; set it to tunnel mode with IPv4.",
        EspPaddingInvalid = "esp_padding_invalid": "An authenticated ESP packet whose padding is not that of RFC 4303: the peer's ESP is broken.",
        EspDummy = "esp_dummy": "Dummy traffic inside ESP (next header 59), which hides how much a peer has to say: nothing is lost.",
        IkePuntLimited = "ike_punt_limited": "More IKE messages from one source, or in all, than are looked at; the peers try again by themselves.",
        IkePuntFull = "ike_punt_full": "More IKE messages at once than the control plane takes; the peers try again by themselves.",
        TunnelEncapsulateFailed = "tunnel_encapsulate_failed": "The tunnel refused to encrypt the packet.",
    }
    Inner {
        InnerMalformed = "inner_malformed": "A broken inner IPv4 or transport header, or lengths that disagree.",
        InnerNotIpv4 = "inner_not_ipv4": "The inner packet is neither IPv4 nor IPv6.",
        InnerChecksumInvalid = "inner_checksum_invalid": "The inner IPv4 header checksum is wrong.",
        InnerOptions = "inner_options": "Inner IPv4 options, source routes among them, are refused.",
        InnerFragment = "inner_fragment": "A fragment for one of the relay's own addresses, which puts none together.",
        FragmentMalformed = "fragment_malformed": "A fragment that is empty, ends between two units of eight bytes or reaches beyond 65,535 bytes.",
        FragmentTiny = "fragment_tiny": "A fragment that begins or ends inside a transport header (RFC 1858, RFC 3128).",
        FragmentDuplicate = "fragment_duplicate": "The same part of a datagram once more.",
        FragmentOverlap = "fragment_overlap": "Fragments of one datagram that overlap or disagree about its end: all that follow are lost.",
        FragmentsFull = "fragments_full": "More fragments are without their first one, or more datagrams incomplete, than the class may have: the oldest give way.",
        FragmentTimeout = "fragment_timeout": "The first fragment of the datagram, which names the ports, did not come in time.",
        InnerProtocolUnsupported = "inner_protocol_unsupported": "Neither TCP, UDP nor ICMP.",
        InnerEcnInvalid = "inner_ecn_invalid": "The line marked congestion on a packet whose sender does not know ECN (RFC 6040).",
        InnerSourceInvalid = "inner_source_invalid": "A source no host may have: loopback, multicast, broadcast, 0/8 or class E.",
        InnerDestinationInvalid = "inner_destination_invalid": "A destination no single host has: loopback, multicast, broadcast, 0/8 or class E.",
    }
    Policy {
        SourceNotAdmitted = "source_not_admitted": "The inner source is in none of the tenant's office prefixes.",
        Ipv6Refused = "ipv6_refused": "IPv6 inside, from the office or on the tenant's VLAN, which `ipv6: refuse` in the tenant file refuses; let the host use IPv4.",
        ConventionalLgwan = "conventional_lgwan": "Conventional LGWAN traffic (従来のLGWAN通信) does not enter the relay.",
        DestinationUnknown = "destination_unknown": "No service of the tenant has this destination; name it under `services` in the tenant file.",
        ServicePortClosed = "service_port_closed": "The destination is a service, but this protocol or port is not opened; add it to the service's `allow`.",
        ServiceOfOtherClass = "service_of_other_class": "The service belongs to the tenant's other traffic class.",
        RuleNotValidNow = "rule_not_valid_now": "The rule is outside its valid_from .. valid_until.",
        TenantIsolated = "tenant_isolated": "An operator isolated the tenant; `chukei reopen` ends it.",
        ClassIsolated = "class_isolated": "An operator isolated the traffic class; `chukei reopen` ends it.",
        ServiceIsolated = "service_isolated": "An operator isolated the service or callback; `chukei reopen` ends it.",
        CallbackNotAllowed = "callback_not_allowed": "A new flow from the cloud that no callback allows.",
        RelayAddress = "relay_address": "A packet to the relay's own address that is no echo request.",
        SessionRevoked = "session_revoked": "A reload closed what this session had been opened by.",
    }
    Nat {
        SourceNotTranslated = "source_not_translated": "The office address has no static translation.",
        NoSession = "no_session": "No session: an answer to nothing, or one that came too late.",
        TcpNotSyn = "tcp_not_syn": "The first packet of a TCP connection was not a SYN.",
        SessionTableFull = "session_table_full": "The tenant's `limits.sessions` are in use; existing ones go on.",
        SessionRateLimited = "session_rate_limited": "More new sessions a second than `limits.new_sessions_per_second`.",
        PortsExhausted = "ports_exhausted": "The pool address has no free port; enlarge the `napt` pool.",
        PortLimitReached = "port_limit_reached": "The tenant's `limits.ports` are in use; existing mappings go on.",
        SessionConflict = "session_conflict": "Two sessions would look the same on one side; change one of the two rules.",
        IcmpErrorUnmatched = "icmp_error_unmatched": "An ICMP error about a packet that no session sent.",
        IcmpErrorMalformed = "icmp_error_malformed": "An ICMP error that quotes too little or wrongly.",
        IcmpMtuTooSmall = "icmp_mtu_too_small": "An ICMP \"fragmentation needed\" that names less than the 576 bytes that every network carries: forged, as far as is known.",
        IcmpTypeRefused = "icmp_type_refused": "An ICMP type that is not translated: redirects, timestamps and the like.",
        IcmpChecksumInvalid = "icmp_checksum_invalid": "The ICMP checksum is wrong.",
    }
    Forward {
        HopLimitExceeded = "hop_limit_exceeded": "The time to live ran out here.",
        PacketTooBig = "packet_too_big": "Too big for the way ahead, and DF forbids to cut it: the sender was told.",
        HandOffFull = "hand_off_full": "Another worker, which owns the tenant or transmits on the port, does not keep up.",
        TransmitQueueFull = "transmit_queue_full": "The NIC's transmit ring was full.",
        TransmitRefused = "transmit_refused": "The NIC carries no frame of this length; raise the interface's MTU by the 8 bytes of two tags.",
        TenantRemoved = "tenant_removed": "The tenant was removed while the packet waited.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_are_unique_snake_case_and_every_reason_has_a_sentence() {
        let labels: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        for reason in DropReason::ALL {
            let label = reason.label();
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{label}");
            assert!(reason.help().ends_with('.'), "{label} needs a sentence");
        }
        for reason in [DropReason::DestinationUnknown, DropReason::ServicePortClosed, DropReason::NextHopUnresolved] {
            assert!(reason.help().contains("; ") && reason.help().contains('`'), "{} says where to look", reason.label());
        }
    }

    #[test]
    fn reasons_stand_in_the_order_of_the_packet_path() {
        assert!(DropReason::ALL.is_sorted_by_key(|reason| reason.stage()));
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
