//! What each Diffie-Hellman group costs the responder, beside a textbook exchange: MODP-2048 with exponents as long as the modulus.

use std::time::Duration;

use ::ike::transforms::Group;
use ::ike::{DhOutcome, DhTask};
use crypto_bigint::U2048;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use serde::Serialize;

use crate::busy_time;

/// Interleaved, so that a core that becomes slow becomes slow for everybody.
const ROUNDS: usize = 15;

/// One group.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: &'static str,
    group: String,
    /// Key pair and shared secret: what one IKE_SA_INIT costs, or one rekey with perfect forward secrecy. Median of thread CPU time.
    responder_micros: f64,
    /// Beside two exponentiations modulo a 2,048-bit prime with 2,048-bit exponents, measured in turn with it: median of the ratios.
    ratio_to_2048_bit_exponents: f64,
}

/// Measure every group.
pub(crate) fn run() -> Vec<Row> {
    let textbook = Textbook::new();
    Group::ALL.into_iter().map(|group| measure(group, &textbook)).collect()
}

fn measure(group: Group, textbook: &Textbook) -> Row {
    let DhOutcome::Generated { public, .. } = (DhTask::Generate { group }).run() else { panic!("a key pair") };
    // Curves take tens of microseconds: several at once, for the clock's sake.
    let repeat = if public.len() < 150 { 20 } else { 1 };
    let mut times = Vec::new();
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let of_textbook = time(|| textbook.run());
        let of_group = time(|| {
            for _ in 0..repeat {
                let outcome = DhTask::Respond { group, peer_public: public.clone() }.run();
                assert!(matches!(outcome, DhOutcome::Responded { .. }), "our own public value");
            }
        }) / repeat;
        times.push(of_group.as_secs_f64() * 1e6);
        ratios.push(of_group.as_secs_f64() / of_textbook.as_secs_f64());
    }
    Row { case: "group", group: group.to_string(), responder_micros: median(&mut times), ratio_to_2048_bit_exponents: median(&mut ratios) }
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = busy_time();
    work();
    busy_time() - begin
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both exponentiations of an exchange, with exponents of full length and no table of the generator.
struct Textbook {
    base: FixedMontyForm<{ U2048::LIMBS }>,
    exponent: U2048,
}

impl Textbook {
    fn new() -> Self {
        // Any odd modulus costs the same.
        let modulus = U2048::MAX.to_odd().expect("an odd number");
        let base = U2048::MAX.shr_vartime(7);
        Self { base: FixedMontyForm::new(&base, &FixedMontyParams::new_vartime(modulus)), exponent: U2048::MAX.shr_vartime(1) }
    }

    fn run(&self) {
        let public = self.base.pow(&self.exponent);
        std::hint::black_box(public.pow(&self.exponent).retrieve());
    }
}

/// For people.
pub(crate) fn print(rows: &[Row]) {
    println!("{:<10} {:>14} {:>34}", "group", "responder us", "ratio to MODP-2048, long exponents");
    for row in rows {
        println!("{:<10} {:>14.0} {:>34.3}", row.group, row.responder_micros, row.ratio_to_2048_bit_exponents);
    }
}
