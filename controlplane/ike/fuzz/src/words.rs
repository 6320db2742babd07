//! Proposals as people write them: nothing panics, and what is understood reads again as what it was.

use ike::CryptoPolicy;
use ike::proposals::{ChildProposal, IkeProposal, Proposals};

/// Text, for both kinds of proposals.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(proposal) = text.parse::<IkeProposal>() {
        assert_eq!(proposal.to_string().parse(), Ok(proposal.clone()));
        let within = Proposals::within(CryptoPolicy::Cryptrec, &[proposal], &[]);
        assert!(within.offer_ike(None).len() <= 1);
    }
    if let Ok(proposal) = text.parse::<ChildProposal>() {
        // Of repeated words about sequence numbers the meaning is kept, not the count.
        assert!(proposal.to_string().parse::<ChildProposal>().is_ok_and(|again| again.ciphers == proposal.ciphers));
    }
}
