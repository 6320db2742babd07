//! Every reason why a negotiation fails: one list for metrics, logs and people.

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident => $label:literal, $words:literal, $remedy:literal;)*) => {
        /// Why a negotiation failed.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Failure { $($(#[$doc])* $name,)* }

        impl Failure {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Name in metrics and JSON.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What happened, for people.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }

            /// What to do about it, for people.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

failures! {
    /// None of the peer's IKE proposals is allowed.
    NoIkeProposal => "no_ike_proposal", "no IKE proposal in common", "compare both lists and allow one suite on both sides";
    /// None of the peer's ESP proposals is allowed.
    NoChildProposal => "no_child_proposal", "no ESP proposal in common", "compare both lists and allow one suite on both sides";
    /// The suite agreed on before the identity was known is not the tenant's.
    SuiteNotForTenant => "suite_not_for_tenant", "the suite is not among those of this tenant",
        "set the router's IKE proposal to one that this tenant's policy allows";
    /// The peer uses a Diffie-Hellman group that was not asked for.
    InvalidKe => "invalid_ke", "the peer insists on another Diffie-Hellman group", "set the router's group to one of those accepted";
    /// The public value is not one of the group (RFC 6989).
    BadPublicValue => "bad_public_value", "the peer's Diffie-Hellman value is not valid", "update the router's firmware";
    /// Nobody has this identity.
    UnknownIdentity => "unknown_identity", "no tenant has this identity on this endpoint",
        "compare the router's own identity with `remote_id` of the tenant";
    /// The identity is somebody's, but comes from another address than it must.
    WrongAddress => "wrong_address", "the peer comes from another address than `peer` says", "correct `peer`, or write `peer: any`";
    /// The peer answers to another identity than it must.
    WrongIdentity => "wrong_identity", "the peer says that it is somebody else",
        "compare the router's own identity with `remote_id` of the tenant";
    /// AUTH is wrong: another pre-shared key, or a signature that does not hold.
    AuthenticationFailed => "authentication_failed", "the peer could not prove its identity",
        "compare the pre-shared keys on both sides, or the certificate's authority";
    /// The peer says that our proof is wrong.
    RejectedByPeer => "rejected_by_peer", "the peer does not accept our identity or key",
        "compare the router's peer identity with `local_id`, and the pre-shared keys";
    /// No traffic selector lies within the tenant's prefixes.
    TsUnacceptable => "ts_unacceptable", "the traffic selectors lie outside the tenant's prefixes",
        "set the router's selectors to the tenant's office prefixes and the relay's globals";
    /// The peer did not answer.
    Timeout => "timeout", "the peer does not answer", "check the line, that UDP 500 and 4500 are open, and that the router is on";
    /// The peer stopped answering on an SA that stood.
    DeadPeer => "dead_peer", "the peer stopped answering", "check the line and the router";
    /// A message that RFC 7296 does not allow here.
    InvalidSyntax => "invalid_syntax", "the peer sent a message that cannot be understood", "update the router's firmware";
    /// A critical payload of a type that nobody here knows.
    UnsupportedCriticalPayload => "unsupported_critical_payload", "the peer demands an extension that is not built",
        "switch that extension off on the router";
    /// The worker did not take the SA.
    InstallRefused => "install_refused", "the data plane did not take the SA", "look at the relay's log";
    /// A table is full.
    TableFull => "table_full", "the relay holds as many negotiations as it may", "look for a flood; raise no limit before";
    /// Nobody had time for the Diffie-Hellman.
    Overloaded => "overloaded", "the relay had no time for the key exchange",
        "nothing, as it is tried again; where that goes on, look for a flood and at the relay's load";
    /// Something else that the peer notified.
    NotifiedByPeer => "notified_by_peer", "the peer refused with an error of its own", "look at the router's log";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_name_of_its_own_and_says_what_to_do() {
        let mut labels: Vec<_> = Failure::ALL.iter().map(|failure| failure.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Failure::ALL.len());
        assert!(Failure::ALL.iter().all(|failure| !failure.words().is_empty() && !failure.remedy().is_empty()));
        assert!(Failure::ALL.iter().enumerate().all(|(index, failure)| *failure as usize == index), "counters are indexed by it");
    }
}
