//! Rates in bits a second, as people write them: `50Mbit`.

use std::num::NonZeroU64;

use super::fields::expected;
use super::problem::{Problems, quoted};
use super::tree::{Node, Value};

/// Decimal, as lines are sold; the largest first.
const UNITS: [(&str, u64); 4] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
/// The slowest line that a tenant could have, and more than any NIC carries.
const BITS: std::ops::RangeInclusive<u64> = 100_000..=1_000_000_000_000;
const WHAT: &str = "a rate such as 50Mbit (bit, kbit, Mbit or Gbit a second)";

/// A whole number and its unit.
pub(super) fn bit_rate(node: &Node, problems: &mut Problems) -> Option<NonZeroU64> {
    let Value::Text(text) = &node.value else {
        let before = problems.count();
        expected(WHAT, node, problems);
        if matches!(node.value, Value::Integer(_) | Value::Float(_)) && problems.count() > before {
            problems.help_last("name the unit too: 50Mbit, 1500kbit");
        }
        return None;
    };
    let Some(bits) = parse(text) else {
        expected(WHAT, node, problems);
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let close =
            UNITS.iter().find(|(name, _)| !unit.is_empty() && unit.to_ascii_lowercase().starts_with(&name[..1].to_ascii_lowercase()));
        if let Some((name, _)) = close {
            problems.help_last(&format!("write a whole number and the unit `{name}` without a space, as in 50{name}"));
        }
        return None;
    };
    if !BITS.contains(&bits) {
        let (least, most) = (in_words(*BITS.start()), in_words(*BITS.end()));
        problems.error(&node.at, format!("{} is out of range: a rate is {least} to {most}", quoted(text)));
        return None;
    }
    NonZeroU64::new(bits)
}

fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let plain = number == "0" || !number.starts_with('0');
    number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(*factor)
}

/// The rate with the largest unit that leaves a whole number.
#[must_use]
pub fn in_words(bits: u64) -> String {
    let (name, factor) = UNITS.into_iter().find(|(_, factor)| bits >= *factor && bits.is_multiple_of(*factor)).unwrap_or(("bit", 1));
    format!("{}{name}", bits / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number_and_a_unit() {
        for (text, bits) in [("50Mbit", 50_000_000), ("1500kbit", 1_500_000), ("2Gbit", 2_000_000_000), ("100000bit", 100_000), ("0bit", 0)]
        {
            assert_eq!(parse(text), Some(bits), "{text}");
        }
        for text in [
            "",
            "50",
            "Mbit",
            "50 Mbit",
            "50mbit",
            "50MBit",
            "50Mb",
            "5.5Mbit",
            "-1Mbit",
            "+1Mbit",
            "050Mbit",
            "1Tbit",
            "18446744073709551615Gbit",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn rates_are_shown_as_they_are_written() {
        for text in ["50Mbit", "1500kbit", "2Gbit", "999999bit", "100Gbit"] {
            assert_eq!(in_words(parse(text).expect("a rate")), text);
        }
    }
}
