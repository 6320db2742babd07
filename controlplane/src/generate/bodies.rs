//! Who there is: the local governments of a list, and associations of them where more tenants are wanted.

use std::collections::HashSet;

use anyhow::{bail, ensure};

use crate::config;

/// The 1,788 local governments of Japan; configs/README.md says where the list is from.
pub const JAPAN: &str = include_str!("../../../configs/municipalities.csv");

const HEADER: &str = "code,prefecture,name,romaji";

/// More lines with a fault than anybody reads at once.
const MOST_FAULTS: usize = 20;

/// A local government or an association of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Unique name for programs: 全国地方公共団体コード (associations have none) and romaji.
    pub id: String,
    /// 全国地方公共団体コード, six digits; `None` for an association.
    pub code: Option<String>,
    /// The prefecture it lies in.
    pub prefecture: String,
    /// The name for people.
    pub name: String,
}

/// Reads the list.
///
/// # Errors
/// Every line that is none of it, and why; of very many the first ones.
pub fn parse(csv: &str) -> anyhow::Result<Vec<Body>> {
    let mut lines = csv.lines().map(|line| line.trim_end_matches('\r'));
    ensure!(lines.next() == Some(HEADER), "the first line of the list is `{HEADER}`");
    let mut seen = HashSet::new();
    let (mut bodies, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in (2..).zip(lines) {
        match body(line) {
            Ok(body) if seen.insert(body.id.clone()) => bodies.push(body),
            Ok(body) => faults.push(format!("line {number}: {} stands there twice", body.id)),
            Err(fault) => faults.push(format!("line {number}: {fault:#}")),
        }
    }
    if faults.len() > MOST_FAULTS {
        let more = faults.split_off(MOST_FAULTS).len();
        faults.push(format!("and {more} more lines"));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure!(!bodies.is_empty(), "the list names nobody");
    Ok(bodies)
}

fn body(line: &str) -> anyhow::Result<Body> {
    let fields: Vec<&str> = line.split(',').collect();
    let [code, prefecture, name, romaji] = fields[..] else { bail!("has {} fields, not those of `{HEADER}`", fields.len()) };
    ensure!(has_check_digit(code), "`{code}` is no 全国地方公共団体コード: six digits, of which the last checks the others");
    let id = format!("{code}-{romaji}");
    ensure!(!romaji.is_empty() && config::is_identifier(&id), "`{romaji}` is no name for programs: {}", config::IDENTIFIER_HELP);
    ensure!(!name.is_empty() && !prefecture.is_empty(), "a name is missing");
    Ok(Body { id, code: Some(code.to_owned()), prefecture: prefecture.to_owned(), name: name.to_owned() })
}

/// 総務省, 全国地方公共団体コード仕様: the first five digits times 6 to 2; what the sum modulo 11 lacks to 11, its last digit.
fn has_check_digit(code: &str) -> bool {
    let digits: Vec<u32> = code.chars().filter_map(|c| c.to_digit(10)).collect();
    if code.len() != 6 || digits.len() != 6 {
        return false;
    }
    let sum: u32 = digits.iter().zip([6, 5, 4, 3, 2]).map(|(digit, weight)| digit * weight).sum();
    (11 - sum % 11) % 10 == digits[5]
}

/// `count` of the listed, evenly spread over the country; beyond the list associations (広域連合), which have no code.
#[must_use]
pub fn chosen(listed: &[Body], count: usize) -> Vec<Body> {
    if count <= listed.len() {
        return (0..count).map(|index| listed[index * listed.len() / count].clone()).collect();
    }
    let associations = (1..=count - listed.len()).map(|number| {
        let seat = &listed[number * 37 % listed.len()].prefecture;
        Body { id: format!("kouiki-{number:04}"), code: None, prefecture: seat.clone(), name: format!("{seat}第{number}広域連合") }
    });
    listed.iter().cloned().chain(associations).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_country_is_on_the_list_and_every_code_has_its_check_digit() {
        let bodies = parse(JAPAN).expect("a good list");
        assert_eq!(bodies.len(), 1_788, "47 prefectures and 1,741 municipalities");
        assert_eq!(bodies[0].id, "010006-hokkaido");
        let prefectures = bodies.iter().filter(|body| body.name == body.prefecture);
        assert_eq!(prefectures.count(), 47);
    }

    #[test]
    fn a_list_with_a_fault_is_refused_with_its_line() {
        let refused = |lines: &str| format!("{:#}", parse(&format!("{HEADER}\n{lines}")).expect_err("a fault"));
        for (lines, said) in [
            ("011003,北海道,札幌市,sapporo-shi", "line 2"),
            ("011002,北海道,札幌市", "3 fields"),
            ("011002,北海道,札幌市,sapporo shi", "no name for programs"),
            ("011002,北海道,札幌市,../../etc/passwd", "no name for programs"),
            ("011002,北海道,札幌市,sapporo-shi\n011002,北海道,札幌市,sapporo-shi", "twice"),
            ("", "nobody"),
        ] {
            assert!(refused(lines).contains(said), "{lines}: {}", refused(lines));
        }
        assert!(parse("code;name").is_err());
    }

    #[test]
    fn all_faults_are_named_at_once_and_of_very_many_the_first_ones() {
        let refused = |lines: &str| format!("{:#}", parse(&format!("{HEADER}\n{lines}")).expect_err("a fault"));
        let two = refused("011003,北海道,札幌市,sapporo-shi\n011002,北海道,札幌市,sapporo-shi\nnobody");
        assert!(two.starts_with("line 2: ") && two.contains("\nline 4: "), "{two}");
        let many = refused(&"nobody\n".repeat(25));
        assert!(many.contains("line 21: ") && !many.contains("line 22: ") && many.ends_with("and 5 more lines"), "{many}");
    }

    #[test]
    fn fewer_are_spread_over_the_country_and_more_are_associations_without_a_code() {
        let listed = parse(JAPAN).expect("a good list");
        let few = chosen(&listed, 47);
        let prefectures: HashSet<&str> = few.iter().map(|body| body.prefecture.as_str()).collect();
        assert!(few.len() == 47 && prefectures.len() > 30, "{} prefectures", prefectures.len());
        let many = chosen(&listed, 2_000);
        let ids: HashSet<&str> = many.iter().map(|body| body.id.as_str()).collect();
        assert_eq!((many.len(), ids.len()), (2_000, 2_000));
        assert_eq!(many.iter().filter(|body| body.code.is_none()).count(), 212);
    }
}
