//! How large a body is, as its code and name tell, and what it has for that. The figures are guesses that keep the proportions: a
//! village beside a city of millions.

use super::bodies::Body;

/// What a body of some size has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Length of each class's office prefix.
    pub office_prefix: u8,
    /// Length of each class's pool towards the cloud.
    pub pool_prefix: u8,
    /// Tunnels: a second one for those who would be missed.
    pub tunnels: usize,
    /// Cloud networks: the large spread over two providers.
    pub clouds: usize,
    /// Flows that the cloud opens.
    pub callbacks: usize,
    /// `limits.sessions`.
    pub sessions: u32,
    /// `limits.new_sessions_per_second`.
    pub new_sessions_per_second: u32,
}

const VILLAGE: Size =
    Size { office_prefix: 29, pool_prefix: 32, tunnels: 1, clouds: 1, callbacks: 0, sessions: 2_000, new_sessions_per_second: 100 };
const TOWN: Size = Size { office_prefix: 27, callbacks: 1, sessions: 5_000, new_sessions_per_second: 200, ..VILLAGE };
const CITY: Size = Size { office_prefix: 25, pool_prefix: 31, sessions: 20_000, new_sessions_per_second: 500, ..TOWN };
const WARD: Size = Size { office_prefix: 24, pool_prefix: 30, tunnels: 2, callbacks: 2, sessions: 50_000, ..CITY };
const PREFECTURE: Size = Size { office_prefix: 23, clouds: 2, sessions: 100_000, new_sessions_per_second: 2_000, ..WARD };
const METROPOLIS: Size =
    Size { office_prefix: 21, pool_prefix: 29, callbacks: 3, sessions: 200_000, new_sessions_per_second: 5_000, ..PREFECTURE };

impl Size {
    /// What `body` has.
    #[must_use]
    pub fn of(body: &Body) -> Self {
        if body.name == body.prefecture {
            return PREFECTURE;
        }
        match (&body.code, body.name.chars().last()) {
            (None, _) => TOWN,
            (Some(code), Some('市')) if is_designated(code) => METROPOLIS,
            (_, Some('市')) => CITY,
            (_, Some('区')) => WARD,
            (_, Some('町')) => TOWN,
            _ => VILLAGE,
        }
    }
}

/// 政令指定都市 have 100 to 199 as the last three of the code's five digits, as Tokyo's 特別区 do, which are no 市.
fn is_designated(code: &str) -> bool {
    code.as_bytes().get(2) == Some(&b'1')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::bodies::{JAPAN, parse};

    #[test]
    fn the_country_has_twenty_metropolises_and_far_more_villages() {
        let listed = parse(JAPAN).expect("a good list");
        let count = |size: Size| listed.iter().filter(|body| Size::of(body) == size).count();
        assert_eq!([METROPOLIS, PREFECTURE, WARD, CITY, TOWN, VILLAGE].map(count), [20, 47, 23, 772, 743, 183]);
    }
}
