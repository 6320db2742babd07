//! Rates of one tenant, and of all of them beside what the relay carries.

use dataplane::router_config::RateConfig;

use super::super::RelaySide;
use super::super::bit_rate::in_words;
use super::super::problem::Problems;
use super::{TenantView, Tenants};

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    let Some(rate) = tenant.file.rate.given() else { return };
    if rate.value.guaranteed.is_absent() && rate.value.ceiling.is_absent() {
        problems.error(&rate.at, "names neither `guaranteed` nor `ceiling`").help("name at least one of them, or leave the key `rate` out");
    }
    let (Some(guaranteed), Some(ceiling)) = (rate.value.guaranteed.given(), rate.value.ceiling.value()) else { return };
    if guaranteed.value > *ceiling {
        let (more, less) = (in_words(guaranteed.value.get()), in_words(ceiling.get()));
        problems
            .error(&guaranteed.at, format!("the guaranteed {more} are more than the ceiling of {less}"))
            .help("raise `ceiling`, lower `guaranteed`, or leave one of them out");
    }
}

/// Guarantees that cannot all be kept are weights and no more.
pub(super) fn check_sum(side: &RelaySide, tenants: &Tenants<'_>, problems: &mut Problems) {
    let Some(capacity) = side.file.capacity.given() else { return };
    let named = tenants.facts.iter().filter_map(|facts| facts.guaranteed).map(u128::from).sum::<u128>();
    let others = tenants.facts.iter().filter(|facts| facts.guaranteed.is_none()).count();
    let sum = named + others as u128 * u128::from(RateConfig::USUAL_WEIGHT);
    if sum > u128::from(capacity.value.get()) {
        let megabits = sum.div_ceil(1_000_000);
        let usual = in_words(RateConfig::USUAL_WEIGHT);
        problems
            .warning(&capacity.at, format!("the tenants are guaranteed {megabits}Mbit together, more than the relay carries"))
            .help(format!("when all of them send, each gets its part of what there is; {others} without `guaranteed` count {usual} each"));
    }
}
