//! Words that stand for a tenant's data in one class: where another tenant's word is seen, isolation is broken.

/// The word of a tenant's class `mynumber`.
#[must_use]
pub fn mynumber(tenant: &str) -> String {
    format!("canary<{tenant}/mynumber>")
}

/// The word of a tenant's class `lgwan-connected`.
#[must_use]
pub fn lgwan_connected(tenant: &str) -> String {
    format!("canary<{tenant}/lgwan-connected>")
}

/// All different canaries in `bytes`.
#[must_use]
pub fn found_in(bytes: &[u8]) -> std::collections::BTreeSet<String> {
    const START: &[u8] = b"canary<";
    const LONGEST: usize = 80;
    let starts = bytes.windows(START.len()).enumerate().filter(|(_, window)| *window == START).map(|(at, _)| at);
    let word = |at: usize| {
        let rest = &bytes[at..bytes.len().min(at + LONGEST)];
        let end = rest.iter().position(|byte| *byte == b'>')?;
        Some(String::from_utf8_lossy(&rest[..=end]).into_owned())
    };
    starts.filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_found_wherever_they_stand_and_however_often() {
        let text = format!("xx{}yy{}{}canary<cut", mynumber("a"), lgwan_connected("b"), mynumber("a"));
        assert_eq!(found_in(text.as_bytes()).into_iter().collect::<Vec<_>>(), [mynumber("a"), lgwan_connected("b")]);
    }
}
