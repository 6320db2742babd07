//! An ESP packet costs no heap allocation, whichever suite it has and whatever becomes of it.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use std::net::{Ipv4Addr, SocketAddrV4};

use counting_allocator::{CountingAllocator, count, counted};
use dataplane::drop_reason::DropReason;
use dataplane::time::Instant;
use dataplane::tunnel::Tunnel;
use dataplane::tunnel::esp::EspTunnel;
use dataplane::tunnel::esp::sa::{AesKey, Encapsulation, EspCipher, Integrity, IntegrityKey, Lifetime, OutboundUse, SaPair, Selector, Spi};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 4_500);

/// Both ends have this pair: it leads to itself.
fn looped(cipher: &EspCipher, esn: bool) -> SaPair {
    let (any, ports) = (Ipv4Addr::UNSPECIFIED..=Ipv4Addr::BROADCAST, 0..=u16::MAX);
    let selector = Selector { office: any.clone(), far: any, protocol: 0, office_ports: ports.clone(), far_ports: ports };
    SaPair {
        inbound_spi: Spi::new(0x1000).expect("not reserved"),
        outbound_spi: 0x1000,
        inbound: cipher.clone(),
        outbound: cipher.clone(),
        esn,
        encapsulation: Encapsulation::Udp { peer: PEER },
        selectors: Box::new([selector]),
        soft: Lifetime { bytes: 10_000, packets: 50 },
        outbound_use: OutboundUse::Now,
    }
}

#[test]
fn packets_replays_forgeries_and_keepalives_of_every_suite_take_no_memory() {
    let key = |bits: usize| AesKey::new(&vec![1; bits / 8]).expect("a length of AES");
    let mut ciphers = vec![128, 256].into_iter().map(|bits| EspCipher::AesGcm16 { key: key(bits), salt: [1; 4] }).collect::<Vec<_>>();
    for integrity in [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256] {
        let integrity = IntegrityKey::new(integrity, &vec![2; integrity.key_len()]).expect("its length");
        ciphers.extend([128, 192, 256].map(|bits| EspCipher::AesCbc { key: key(bits), integrity: integrity.clone() }));
    }
    let (mut frame, mut datagram, mut out) = ([0_u8; 2_048], [0_u8; 2_048], [0_u8; 2_048]);
    frame[0] = 0x45;
    for (cipher, esn) in ciphers.iter().flat_map(|cipher| [(cipher, false), (cipher, true)]) {
        let mut tunnel = EspTunnel::default();
        tunnel.install(&looped(cipher, esn), Instant::ZERO).expect("room");
        let before = counted();
        count(true);
        for round in 1..=300_u64 {
            let now = Instant::from_secs(round * 7);
            let len = 20 + 5 * usize::try_from(round).expect("a small number");
            let total = tunnel.encapsulate(&mut frame, len, &mut datagram, now).expect("up");
            datagram[total - 1] ^= 1;
            assert_eq!(tunnel.decapsulate(&datagram[..total], PEER.into(), &mut out, now), Err(DropReason::TunnelDataRejected));
            datagram[total - 1] ^= 1;
            assert!(tunnel.decapsulate(&datagram[..total], PEER.into(), &mut out, now).is_ok());
            assert_eq!(tunnel.decapsulate(&datagram[..total], PEER.into(), &mut out, now), Err(DropReason::TunnelDataReplayed));
            while tunnel.next_notice().is_some() {}
            tunnel.prefetch_decapsulate(&datagram[..total]);
            let _ = (tunnel.tick(&mut out, now), tunnel.state(now), tunnel.peer(), tunnel.way());
        }
        count(false);
        assert_eq!(counted() - before, 0, "{} with ESN {esn}", cipher.label());
    }
}
