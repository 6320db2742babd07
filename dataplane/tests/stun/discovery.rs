//! A server with two addresses in the cloud, a client in the office, and the questions of RFC 5780 that it asks.

use std::net::SocketAddrV4;

use dataplane::simulation::fragments::{reassembled, sendable};
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::{World, at, ip};
use dataplane::time::Duration;

use crate::message::{Request, Response};

/// The server's addresses as the office knows them, and its ports.
pub(crate) const PRIMARY: &str = "203.0.113.10:3478";
pub(crate) const OTHER: &str = "203.0.113.11:3479";
const PORTS: [u16; 2] = [3_478, 3_479];
/// Its addresses in the cloud.
const ADDRESSES: [&str; 2] = ["10.10.0.10", "10.10.0.11"];
/// Longest packet of the office's line, and of the cloud's.
const LINES: (usize, usize) = (1_420, 1_500);

/// How a NAT behaves (RFC 4787 sections 4.1 and 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// A client, and a server that answers whenever the client waits.
pub(crate) struct Discovery<'a> {
    pub(crate) world: &'a mut World,
    transactions: u64,
}

impl<'a> Discovery<'a> {
    pub(crate) fn new(world: &'a mut World) -> Self {
        Self { world, transactions: 0 }
    }

    /// Send a request and wait for the answer, which may come to another port than it was sent from.
    pub(crate) fn ask_at(&mut self, from: SocketAddrV4, to: SocketAddrV4, request: Request, answer_at: SocketAddrV4) -> Option<Response> {
        self.transactions += 1;
        let mut transaction = [0x5a; 12];
        transaction[4..].copy_from_slice(&self.transactions.to_be_bytes());
        let bytes = Request { transaction, ..request }.bytes();
        sendable(&udp(from, to, &bytes), LINES.0).iter().for_each(|packet| self.world.office("a").send(packet));
        self.world.run(Duration::from_millis(20));
        self.serve();
        let arrived = reassembled(&self.world.office("a").received());
        let seen: Vec<_> = arrived.iter().map(|packet| packets::read(packet).expect("a sound packet")).collect();
        let is_it = |response: &Response| response.transaction == transaction;
        let to_client = seen.iter().filter(|seen| seen.destination == answer_at);
        to_client.filter_map(|seen| Response::parse(&seen.payload)).find(is_it)
    }

    pub(crate) fn ask(&mut self, from: SocketAddrV4, to: SocketAddrV4, request: Request) -> Option<Response> {
        self.ask_at(from, to, request, from)
    }

    /// Where a port is in the cloud, as the server's primary address says.
    pub(crate) fn mapped(&mut self, from: SocketAddrV4) -> SocketAddrV4 {
        self.ask(from, at(PRIMARY), Request::default()).expect("an answer").mapped
    }

    /// The server answers what has arrived.
    fn serve(&mut self) {
        for packet in reassembled(&self.world.cloud("a").received()) {
            let seen = packets::read(&packet).expect("a sound packet");
            let (address, port) = (seen.destination.ip(), seen.destination.port());
            let place = (ADDRESSES.iter().position(|own| ip(own) == *address), PORTS.iter().position(|own| *own == port));
            let ((Some(address), Some(port)), Some(request)) = (place, Request::parse(&seen.payload)) else { continue };
            let answer = respond(seen.source, (address, port), &request);
            sendable(&answer, LINES.1).iter().for_each(|packet| self.world.cloud("a").send(packet));
        }
        self.world.run(Duration::from_millis(20));
    }

    /// RFC 5780 4.3: does the port that a client gets depend on whom it speaks with?
    pub(crate) fn mapping(&mut self, from: SocketAddrV4) -> Behaviour {
        let first = self.ask(from, at(PRIMARY), Request::default()).expect("test I");
        let (primary, other) = (at(PRIMARY), first.other);
        let second = self.ask(from, SocketAddrV4::new(*other.ip(), primary.port()), Request::default()).expect("test II");
        let third = self.ask(from, other, Request::default()).expect("test III");
        match (second.mapped == first.mapped, third.mapped == second.mapped) {
            (true, true) => Behaviour::EndpointIndependent,
            (false, true) => Behaviour::AddressDependent,
            _ => Behaviour::AddressAndPortDependent,
        }
    }

    /// RFC 5780 4.4: who may answer on a port that has spoken with the primary address alone?
    pub(crate) fn filtering(&mut self, from: SocketAddrV4) -> Behaviour {
        self.ask(from, at(PRIMARY), Request::default()).expect("test I");
        let from_elsewhere = Request { change_address: true, change_port: true, ..Request::default() };
        if self.ask(from, at(PRIMARY), from_elsewhere).is_some() {
            return Behaviour::EndpointIndependent;
        }
        let from_other_port = Request { change_port: true, ..Request::default() };
        match self.ask(from, at(PRIMARY), from_other_port) {
            Some(_) => Behaviour::AddressDependent,
            None => Behaviour::AddressAndPortDependent,
        }
    }

    /// RFC 5780 4.5: what becomes of a packet to one's own mapping: where it came from, if it came.
    pub(crate) fn hairpin(&mut self, from: SocketAddrV4, own: SocketAddrV4) -> Option<SocketAddrV4> {
        let mapped = self.mapped(own);
        self.mapped(from);
        self.world.office("a").send(&udp(from, mapped, &Request::default().bytes()));
        self.world.run(Duration::from_millis(20));
        assert!(self.world.cloud("a").received().is_empty(), "nothing for the cloud");
        let arrived = self.world.office("a").received();
        let seen = arrived.iter().map(|packet| packets::read(packet).expect("a sound packet"));
        seen.filter(|seen| seen.destination == own).map(|seen| seen.source).next()
    }

    /// RFC 5780 4.6: is a mapping that nobody used for `idle` still there? Asked from another port, so that asking keeps nothing alive.
    pub(crate) fn lives(&mut self, from: SocketAddrV4, asks: SocketAddrV4, idle: Duration) -> bool {
        let mapped = self.mapped(from);
        self.world.run(idle);
        self.reaches(from, asks, mapped.port())
    }

    /// Whether what the server sends to this port of the asker's address in the cloud arrives at `from`.
    pub(crate) fn reaches(&mut self, from: SocketAddrV4, asks: SocketAddrV4, port: u16) -> bool {
        let request = Request { response_port: Some(port), ..Request::default() };
        self.ask_at(asks, at(PRIMARY), request, from).is_some()
    }
}

/// The answer to a request that came to this address and port of the server.
fn respond(source: SocketAddrV4, (address, port): (usize, usize), request: &Request) -> Vec<u8> {
    let address = if request.change_address { 1 - address } else { address };
    let port = if request.change_port { 1 - port } else { port };
    let to = SocketAddrV4::new(*source.ip(), request.response_port.unwrap_or(source.port()));
    let response = Response { transaction: request.transaction, mapped: source, other: at(OTHER), padding: request.padding };
    udp(SocketAddrV4::new(ip(ADDRESSES[address]), PORTS[port]), to, &response.bytes())
}
