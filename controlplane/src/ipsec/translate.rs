//! The engine's words in the data plane's. The two crates do not know each other.

use dataplane::router_config::EndpointId;
use dataplane::tunnel::esp::sa;
use dataplane::worker::control::IkePort;
use ike::{ChildSa, InstallRefused, LocalPort};

/// The SA pair that a worker installs; `None` where the engine's has a key of a wrong length or a reserved SPI.
pub(crate) fn sa_pair(sa: &ChildSa) -> Option<sa::SaPair> {
    Some(sa::SaPair {
        inbound_spi: sa::Spi::new(sa.inbound_spi)?,
        outbound_spi: sa.outbound_spi,
        inbound: cipher(&sa.inbound)?,
        outbound: cipher(&sa.outbound)?,
        esn: sa.esn,
        encapsulation: encapsulation(sa.encapsulation),
        selectors: sa.selectors.iter().map(selector).collect(),
        soft: sa::Lifetime { bytes: sa.soft.bytes, packets: sa.soft.packets },
        outbound_use: match sa.outbound_use {
            ike::OutboundUse::Now => sa::OutboundUse::Now,
            ike::OutboundUse::WhenHeard => sa::OutboundUse::WhenHeard,
        },
    })
}

fn cipher(cipher: &ike::EspCipher) -> Option<sa::EspCipher> {
    Some(match cipher {
        ike::EspCipher::AesGcm16 { key, salt } => sa::EspCipher::AesGcm16 { key: sa::AesKey::new(key.expose())?, salt: *salt },
        ike::EspCipher::AesCbc { key, integrity, integrity_key } => sa::EspCipher::AesCbc {
            key: sa::AesKey::new(key.expose())?,
            integrity: sa::IntegrityKey::new(self::integrity(*integrity), integrity_key.expose())?,
        },
    })
}

fn integrity(integrity: ike::EspIntegrity) -> sa::Integrity {
    match integrity {
        ike::EspIntegrity::HmacSha1_96 => sa::Integrity::HmacSha1_96,
        ike::EspIntegrity::HmacSha256_128 => sa::Integrity::HmacSha256_128,
        ike::EspIntegrity::HmacSha384_192 => sa::Integrity::HmacSha384_192,
        ike::EspIntegrity::HmacSha512_256 => sa::Integrity::HmacSha512_256,
    }
}

fn selector(selector: &ike::Selector) -> sa::Selector {
    sa::Selector {
        office: selector.office.clone(),
        far: selector.far.clone(),
        protocol: selector.protocol,
        office_ports: selector.office_ports.clone(),
        far_ports: selector.far_ports.clone(),
    }
}

pub(super) fn encapsulation(encapsulation: ike::Encapsulation) -> sa::Encapsulation {
    match encapsulation {
        ike::Encapsulation::Udp { peer } => sa::Encapsulation::Udp { peer },
        ike::Encapsulation::Ip { peer } => sa::Encapsulation::Ip { peer },
    }
}

pub(super) fn refusal(refused: sa::SaRefused) -> InstallRefused {
    match refused {
        sa::SaRefused::NoSuchTunnel => InstallRefused::NoSuchTunnel,
        sa::SaRefused::TooManyPairs => InstallRefused::TooManyPairs,
        sa::SaRefused::SpiTaken => InstallRefused::SpiTaken,
        sa::SaRefused::NotMine => InstallRefused::NotMine,
        // The engine can do as little about these; the log has their words.
        sa::SaRefused::Unsupported | sa::SaRefused::TableFull => InstallRefused::Busy,
    }
}

pub(super) fn ike_port(port: LocalPort) -> IkePort {
    match port {
        LocalPort::P500 => IkePort::P500,
        LocalPort::P4500 => IkePort::P4500,
    }
}

pub(super) fn local_port(port: IkePort) -> LocalPort {
    match port {
        IkePort::P500 => LocalPort::P500,
        IkePort::P4500 => LocalPort::P4500,
    }
}

/// Endpoints have the same numbers on both sides.
pub(super) fn endpoint(index: usize) -> EndpointId {
    EndpointId(u8::try_from(index).expect("the compiled configuration has as many"))
}

/// The data plane's time as the engine counts it: both since the start of the workers' clock.
pub(crate) fn instant(now: dataplane::time::Instant) -> ike::Instant {
    ike::Instant::from_nanos(now.as_nanos())
}

/// The wall clock as certificates count it. A clock before 1970 makes every certificate one that is not valid yet.
pub(super) fn unix_time(wall: time::OffsetDateTime) -> std::time::Duration {
    u64::try_from(wall.unix_timestamp()).map_or(std::time::Duration::ZERO, std::time::Duration::from_secs)
}
