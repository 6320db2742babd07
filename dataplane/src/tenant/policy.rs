//! What a tenant may do: default deny, opened by class, protocol and port, in one direction.
//!
//! Consulted for the first packet of a flow and again after a reload; between those a session remembers the answer.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use crate::drop_reason::DropReason;
use crate::nat::{Direction, Endpoint, Nat, NewFlow, PoolId, PoolKey, PoolKind, RuleId, Source};
use crate::prefetch;
use crate::router_config::{
    Allow, AttachmentId, CallbackConfig, Filtering, OfficePrefix, PortMap, RuleState, ServiceConfig, SourceTranslation, TenantConfig,
    TrafficClass,
};
use crate::time::Instant;
use crate::wire::inner::Protocol;

/// A flow that somebody wants to open: who, to whom, as its first packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// TCP, UDP or ICMP echo.
    pub protocol: Protocol,
    /// The opener.
    pub source: Endpoint,
    /// Where to, as the opener sees it.
    pub destination: Endpoint,
}

/// A tenant's rules, arranged for looking up.
#[derive(Debug)]
pub struct Policy {
    /// Longest prefix first.
    office: Vec<OfficePrefix>,
    /// Indices into `TenantConfig::services`, longest office-side prefix first.
    services: Vec<u16>,
    /// The `napt` pool of each entry of `TenantConfig::sources`.
    source_pools: Vec<Option<PoolId>>,
    /// The pool (of one address) that each callback's global source is.
    callback_pools: Vec<PoolId>,
}

impl Policy {
    /// Arrange the rules of `config`, and give `nat` the pools they need.
    #[must_use]
    pub fn new(config: &TenantConfig, nat: &mut Nat, now: Instant) -> Self {
        let mut office = config.office.clone();
        office.sort_by_key(|office| std::cmp::Reverse(office.prefix.prefix()));
        let mut services: Vec<u16> = (0..=u16::MAX).take(config.services.len()).collect();
        services.sort_by_key(|index| std::cmp::Reverse(config.services[usize::from(*index)].office_side.prefix()));
        let source_pools: Vec<Option<PoolId>> = config
            .sources
            .iter()
            .map(|source| match &source.translation {
                SourceTranslation::Napt(prefixes) => Some({
                    let key = PoolKey { class: source.class, attachment: source.attachment, kind: PoolKind::Office };
                    nat.pool(key, prefixes, now)
                }),
                SourceTranslation::Static(_) | SourceTranslation::Keep => None,
            })
            .collect();
        let callback_pools: Vec<PoolId> = config
            .callbacks
            .iter()
            .map(|callback| {
                let key = PoolKey { class: callback.class, attachment: callback.attachment, kind: PoolKind::Callback(callback.source) };
                nat.pool(key, &[Ipv4Network::from(callback.source)], now)
            })
            .collect();
        let used: Vec<PoolId> = source_pools.iter().flatten().chain(&callback_pools).copied().collect();
        nat.retain_pools(&used, now);
        if config.services.iter().any(asks_for_contacts) {
            nat.remember_contacts();
        }
        Self { office, services, source_pools, callback_pools }
    }

    /// Hint that [`Self::class_of`] will be asked.
    pub(crate) fn prefetch(&self) {
        if let Some(first) = self.office.first() {
            prefetch::start(first);
        }
    }

    /// The class of an office host, by the longest prefix that holds it.
    ///
    /// # Errors
    /// [`DropReason::SourceNotAdmitted`] where none does.
    pub fn class_of(&self, host: Ipv4Addr) -> Result<TrafficClass, DropReason> {
        let office = self.office.iter().find(|office| office.prefix.contains(host));
        office.map(|office| office.class).ok_or(DropReason::SourceNotAdmitted)
    }

    /// May an office host of `class` open this flow, and how is it translated?
    ///
    /// # Errors
    /// The policy stage's reasons, and [`DropReason::SourceNotTranslated`].
    pub fn open_to_cloud(
        &self,
        config: &TenantConfig,
        conventional_lgwan: &[Ipv4Network],
        class: TrafficClass,
        opening: Opening,
    ) -> Result<NewFlow, DropReason> {
        if conventional_lgwan.iter().any(|prefix| prefix.contains(opening.destination.addr)) {
            return Err(DropReason::ConventionalLgwan);
        }
        let (rule, service, port) = self.find_service(config, class, opening)?;
        let translated_source = self.source(config, class, service.attachment, opening.source.addr)?;
        Ok(NewFlow {
            opened_by: Direction::OfficeToCloud,
            begun_by: Direction::OfficeToCloud,
            filtering: filtering(service, opening.protocol),
            class,
            rule: RuleId::Service(rule),
            attachment: service.attachment,
            protocol: opening.protocol,
            source: opening.source,
            destination: opening.destination,
            translated_destination: Endpoint { addr: counterpart(opening.destination.addr, service.cloud_side), port },
            translated_source,
        })
    }

    /// The flow that the office would open by sending from `inside` to what the cloud behind `attachment` knows as `remote`, for a packet
    /// that comes the other way first.
    ///
    /// # Errors
    /// [`DropReason::NoSession`] where no service of the class leads there, or why it is not in force.
    pub fn flow_towards(
        &self,
        config: &TenantConfig,
        conventional_lgwan: &[Ipv4Network],
        (class, attachment, protocol): (TrafficClass, AttachmentId, Protocol),
        inside: Endpoint,
        remote: Endpoint,
    ) -> Result<NewFlow, DropReason> {
        let mut refused = None;
        let services = self.services.iter().map(|index| &config.services[usize::from(*index)]);
        let leads_there = |service: &&ServiceConfig| {
            (service.class, service.attachment) == (class, attachment) && service.cloud_side.contains(remote.addr)
        };
        for service in services.filter(leads_there) {
            let Some(port) = asked_for(&service.allow, protocol, remote.port) else { continue };
            let destination = Endpoint { addr: counterpart(remote.addr, service.office_side), port };
            // The rules decide as for a packet of the office: another of them may stand before this one.
            match self.open_to_cloud(config, conventional_lgwan, class, Opening { protocol, source: inside, destination }) {
                Ok(flow) if (flow.attachment, flow.translated_destination) == (attachment, remote) => {
                    return Ok(NewFlow { begun_by: Direction::CloudToOffice, ..flow });
                }
                Err(reason @ (DropReason::ServiceIsolated | DropReason::RuleNotValidNow)) => refused = Some(more_telling(refused, reason)),
                _ => {}
            }
        }
        Err(refused.unwrap_or(DropReason::NoSession))
    }

    /// The service in force that opens this, or the reason of the one that came nearest.
    fn find_service<'a>(
        &self,
        config: &'a TenantConfig,
        class: TrafficClass,
        opening: Opening,
    ) -> Result<(u16, &'a ServiceConfig, u16), DropReason> {
        let (mut nearest, mut refused) = (DropReason::DestinationUnknown, None);
        for &index in &self.services {
            let service = &config.services[usize::from(index)];
            if !service.office_side.contains(opening.destination.addr) {
                continue;
            }
            match (service.class == class, allowed(&service.allow, opening.protocol, opening.destination.port)) {
                (true, Some(port)) => match in_force(service.state) {
                    Ok(()) => return Ok((index, service, port)),
                    Err(reason) => refused = Some(more_telling(refused, reason)),
                },
                (true, None) => nearest = DropReason::ServicePortClosed,
                (false, _) if nearest == DropReason::DestinationUnknown => nearest = DropReason::ServiceOfOtherClass,
                (false, _) => {}
            }
        }
        Err(refused.unwrap_or(nearest))
    }

    fn source(&self, config: &TenantConfig, class: TrafficClass, attachment: AttachmentId, office: Ipv4Addr) -> Result<Source, DropReason> {
        let mut sources = config.sources.iter().zip(&self.source_pools);
        let (source, pool) =
            sources.find(|(source, _)| source.class == class && source.attachment == attachment).ok_or(DropReason::SourceNotTranslated)?;
        match (&source.translation, pool) {
            (SourceTranslation::Keep, _) => Ok(Source::Fixed(office)),
            (SourceTranslation::Static(pairs), _) => {
                let index = pairs.binary_search_by_key(&office, |(office, _)| *office).map_err(|_| DropReason::SourceNotTranslated)?;
                Ok(Source::Fixed(pairs[index].1))
            }
            (SourceTranslation::Napt(_), Some(pool)) => Ok(Source::Pool(*pool)),
            (SourceTranslation::Napt(_), None) => Err(DropReason::SourceNotTranslated),
        }
    }

    /// May a cloud host behind `attachment` open this flow, and how is it translated?
    ///
    /// # Errors
    /// [`DropReason::CallbackNotAllowed`], or why the callback is not in force.
    pub fn open_to_office(&self, config: &TenantConfig, attachment: AttachmentId, opening: Opening) -> Result<NewFlow, DropReason> {
        let candidates = (0u16..).zip(config.callbacks.iter().zip(&self.callback_pools));
        let mut refused = None;
        for (index, (callback, pool)) in candidates {
            let Some(port) = callback_port(callback, attachment, opening) else { continue };
            if let Err(reason) = in_force(callback.state) {
                refused = Some(more_telling(refused, reason));
                continue;
            }
            // A host that is seen as itself keeps its ports as well.
            let kept = callback.source == opening.source.addr;
            return Ok(NewFlow {
                opened_by: Direction::CloudToOffice,
                begun_by: Direction::CloudToOffice,
                filtering: Filtering::AddressAndPortDependent,
                class: callback.class,
                rule: RuleId::Callback(index),
                attachment,
                protocol: opening.protocol,
                source: opening.source,
                destination: opening.destination,
                translated_destination: Endpoint { addr: callback.office, port },
                translated_source: if kept { Source::Fixed(callback.source) } else { Source::Pool(*pool) },
            });
        }
        Err(refused.unwrap_or(DropReason::CallbackNotAllowed))
    }
}

fn in_force(state: RuleState) -> Result<(), DropReason> {
    match state {
        RuleState::Open => Ok(()),
        RuleState::OutsideValidity => Err(DropReason::RuleNotValidNow),
        RuleState::Isolated => Err(DropReason::ServiceIsolated),
    }
}

/// Rules may open the same at different times (the old system until March, its successor from April): one that is not in force hides
/// no other. Where none is, an operator's cut-off is the reason, whatever else is out of date.
fn more_telling(known: Option<DropReason>, reason: DropReason) -> DropReason {
    known.filter(|known| *known == DropReason::ServiceIsolated).unwrap_or(reason)
}

/// The address that stands in `prefix`, one of a service's two of the same length, where `address` stands in the other.
fn counterpart(address: Ipv4Addr, prefix: Ipv4Network) -> Ipv4Addr {
    let host_bits = !u32::from(prefix.mask());
    Ipv4Addr::from(u32::from(prefix.network()) | (u32::from(address) & host_bits))
}

/// Address-dependent filtering lets other ports of an address in. Where a service opens a single port there are none: it is the same as
/// address-and-port-dependent then, which needs to remember nothing.
fn filtering(service: &ServiceConfig, protocol: Protocol) -> Filtering {
    let ports = service.allow.iter().map(|allow| match (allow, protocol) {
        (Allow::Tcp(map), Protocol::Tcp) | (Allow::Udp(map), Protocol::Udp) => map.from.len(),
        _ => 0,
    });
    match service.filtering {
        Filtering::AddressDependent if ports.sum::<usize>() < 2 => Filtering::AddressAndPortDependent,
        filtering => filtering,
    }
}

/// Whether contacts have to be remembered for it.
fn asks_for_contacts(service: &ServiceConfig) -> bool {
    [Protocol::Tcp, Protocol::Udp].into_iter().any(|protocol| filtering(service, protocol) == Filtering::AddressDependent)
}

fn callback_port(callback: &CallbackConfig, attachment: AttachmentId, opening: Opening) -> Option<u16> {
    let matches = callback.attachment == attachment
        && callback.to == opening.destination.addr
        && callback.from.iter().any(|prefix| prefix.contains(opening.source.addr));
    if matches { allowed(&callback.allow, opening.protocol, opening.destination.port) } else { None }
}

/// The destination port that the office uses for what becomes `port`; `None` where none does. Echoes come from no port.
fn asked_for(allow: &[Allow], protocol: Protocol, port: u16) -> Option<u16> {
    let unmapped = |map: &PortMap| {
        let from = map.from.start().checked_add(port.checked_sub(map.to)?)?;
        map.from.contains(&from).then_some(from)
    };
    allow.iter().find_map(|allow| match (allow, protocol) {
        (Allow::Tcp(map), Protocol::Tcp) | (Allow::Udp(map), Protocol::Udp) => unmapped(map),
        _ => None,
    })
}

/// The destination port that an opened port becomes; `None` where it is not opened. An echo's identifier stays.
fn allowed(allow: &[Allow], protocol: Protocol, port: u16) -> Option<u16> {
    let mapped = |map: &PortMap| map.from.contains(&port).then(|| map.to.saturating_add(port - map.from.start()));
    allow.iter().find_map(|allow| match (allow, protocol) {
        (Allow::Tcp(map), Protocol::Tcp) | (Allow::Udp(map), Protocol::Udp) => mapped(map),
        (Allow::IcmpEcho, Protocol::Icmp) => Some(port),
        _ => None,
    })
}
