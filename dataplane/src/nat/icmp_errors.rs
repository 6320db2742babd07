//! ICMP errors about translated packets (RFC 5508 4, RFC 5382 REQ-9): outer and quoted header are rewritten, type and code are kept,
//! and no session is refreshed, shortened or ended by one.

use super::session::Session;
use super::types::{Direction, Endpoint, SessionId};
use super::{Nat, Rewrite};
use crate::drop_reason::DropReason;
use crate::router_config::AttachmentId;
use crate::wire::icmp::{Quoted, write_checksum};
use crate::wire::inner::{HEADER_LEN, Inner, Payload, Protocol};
use crate::wire::read_u16;

/// RFC 791 3.1: every host takes datagrams of 576 bytes. A smaller path MTU only serves an attack, zero included.
const LEAST_PATH_MTU: u16 = 576;

impl Nat {
    /// Translate an office host's (or router's) ICMP error about a packet from the cloud, and return the session it is about.
    ///
    /// It leaves with the address of the session as the cloud knows it, whichever office router sent it.
    ///
    /// # Errors
    /// `IcmpErrorMalformed`, `IcmpMtuTooSmall`, `IcmpErrorUnmatched`, or `IcmpTypeRefused` for another ICMP message; the packet stays as it was.
    pub fn icmp_error_to_cloud(&self, packet: &mut [u8], inner: &Inner) -> Result<SessionId, DropReason> {
        let quoted = believable(packet, inner)?;
        let (sender, receiver) = ends(&quoted);
        let index = self.sessions.at_office(quoted.protocol, receiver, sender).ok_or(DropReason::IcmpErrorUnmatched)?;
        let session = self.session(SessionId(index));
        check(session, Direction::CloudToOffice, &quoted)?;
        let quote = Rewrite::new(quoted.protocol, (sender, receiver), (session.cloud_remote, session.cloud_local));
        rewrite(packet, inner, &quoted, &quote, (session.cloud_local, session.cloud_remote));
        Ok(SessionId(index))
    }

    /// Translate an ICMP error from the cloud about a packet of the office, and return the session it is about.
    ///
    /// It arrives with the remote address that the office knows, whichever router sent it: an address of the cloud's own plan means
    /// nothing, or something else, in the office, and any other is named by no rule of the tenant.
    ///
    /// # Errors
    /// `IcmpErrorMalformed`, `IcmpMtuTooSmall`, `IcmpErrorUnmatched`, or `IcmpTypeRefused` for another ICMP message; the packet stays as it was.
    pub fn icmp_error_to_office(&self, attachment: AttachmentId, packet: &mut [u8], inner: &Inner) -> Result<SessionId, DropReason> {
        let quoted = believable(packet, inner)?;
        let (sender, receiver) = ends(&quoted);
        let found = self.sessions.at_cloud(attachment, quoted.protocol, sender, receiver);
        let index = found.ok_or(DropReason::IcmpErrorUnmatched)?;
        let session = self.session(SessionId(index));
        check(session, Direction::OfficeToCloud, &quoted)?;
        let quote = Rewrite::new(quoted.protocol, (sender, receiver), (session.office, session.office_remote));
        rewrite(packet, inner, &quoted, &quote, (session.office_remote, session.office));
        Ok(SessionId(index))
    }
}

/// What the error quotes, where it is worth looking for its session.
fn believable(packet: &[u8], inner: &Inner) -> Result<Quoted, DropReason> {
    let Payload::IcmpError { kind, code } = inner.payload else { return Err(DropReason::IcmpTypeRefused) };
    let quoted = Quoted::parse(packet, inner.total_len)?;
    if (kind, code) == (3, 4) && read_u16(packet, HEADER_LEN + 6) < LEAST_PATH_MTU {
        return Err(DropReason::IcmpMtuTooSmall);
    }
    // An error goes to the sender of what it quotes, and to nobody else.
    if quoted.source != inner.destination {
        return Err(DropReason::IcmpErrorUnmatched);
    }
    Ok(quoted)
}

const fn ends(quoted: &Quoted) -> (Endpoint, Endpoint) {
    (Endpoint::new(quoted.source, quoted.source_port), Endpoint::new(quoted.destination, quoted.destination_port))
}

/// The session can have sent the quoted packet in this direction.
fn check(session: &Session, sent: Direction, quoted: &Quoted) -> Result<(), DropReason> {
    let can_be_its_own = match (quoted.protocol, session.connection()) {
        (Protocol::Tcp, Some(connection)) => connection.has_in_flight(sent, quoted.sequence),
        (Protocol::Icmp, _) => quoted.echo_request == (sent == session.opened_by()),
        _ => true,
    };
    if can_be_its_own { Ok(()) } else { Err(DropReason::IcmpErrorUnmatched) }
}

/// Rewrite quote and outer header. `outer` is (source, destination) of the error as it leaves; their ports play no part.
fn rewrite(packet: &mut [u8], inner: &Inner, quoted: &Quoted, quote: &Rewrite, outer: (Endpoint, Endpoint)) {
    quote.apply(&mut packet[..quoted.end], quoted.header, quoted.transport, quoted.protocol);
    let before = (Endpoint::new(inner.source, 0), Endpoint::new(inner.destination, 0));
    Rewrite::new(Protocol::Icmp, before, outer).apply_addresses(packet);
    // It was verified when the packet was parsed, so computing it anew hides no damage.
    write_checksum(&mut packet[HEADER_LEN..inner.total_len]);
}
