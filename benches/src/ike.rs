//! `ike`: what key exchange costs the relay.

mod country;
mod groups;
mod scale;

/// Measure, and print for people or as JSON: a list of the groups, and then of the cases `establish` and `rekey`.
pub(crate) fn run(json: bool) {
    let (groups, scale) = (groups::run(), scale::run());
    if json {
        let rows = groups.iter().map(serde_json::to_value).chain(scale.iter().map(serde_json::to_value));
        let rows: Result<Vec<_>, _> = rows.collect();
        println!("{}", serde_json::to_string_pretty(&rows.expect("numbers and names")).expect("numbers and names"));
    } else {
        groups::print(&groups);
        scale::print(&scale);
    }
}
