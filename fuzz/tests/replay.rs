//! Without libFuzzer: every input of `corpus/` and of `regressions/` again, and some hundreds or thousands of blind mutants of each. A short run at every
//! commit; `./run` is the one that looks where it has been.

use std::fs;
use std::path::{Path, PathBuf};

use chukei_fuzz::{checksum, esp, inner, link, nat, routes, underlay, wireguard};

/// A target, what it checks, and how many mutants of each of its inputs there is time for.
type Target = (&'static str, fn(&[u8]), u32);

const TARGETS: &[Target] = &[
    ("link", link::check, 10_000),
    ("underlay", underlay::check, 10_000),
    ("inner", inner::check, 5_000),
    ("checksum", checksum::check, 10_000),
    ("esp", esp::check, 500),
    ("nat", nat::check, 3_000),
    ("wireguard", wireguard::check, 500),
    ("routes", routes::check, 200),
    #[cfg(feature = "controlplane")]
    ("configuration", chukei_fuzz::configuration::check, 1_000),
    #[cfg(feature = "controlplane")]
    ("api", chukei_fuzz::api::check, 100),
    #[cfg(feature = "controlplane")]
    ("answers", chukei_fuzz::answers::check, 5_000),
];

/// xorshift64*: the same mutants in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % bound
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("an octet")
    }
}

/// What stands in `corpus/` and `regressions/` for a target.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directories = ["corpus", "regressions"].map(|kind| Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target));
    let files = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("an input"))).collect()
}

/// An input with a few octets changed, inserted, taken out, or replaced by the end of another input.
fn mutant(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.splice(at..at, other[random.below(other.len() + 1)..].iter().copied().take(64)).for_each(drop),
            4 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, random.octet()),
        }
    }
    bytes
}

/// Says what was fed when a check panics.
struct Fed<'a>(&'a str, &'a Path, &'a [u8]);

impl Drop for Fed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(target, path, bytes) = self;
            eprintln!("target {target}, from {}: {bytes:?}", path.display());
        }
    }
}

#[test]
fn what_was_found_and_what_is_like_it_holds() {
    for (target, check, mutants) in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{target} has no inputs");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut executions = 0;
        for (path, input) in &inputs {
            for number in 0..=*mutants {
                let other = &inputs[random.below(inputs.len())].1;
                let bytes = if number == 0 { input.clone() } else { mutant(input, other, &mut random) };
                let _fed = Fed(target, path, &bytes);
                check(&bytes);
                executions += 1;
            }
        }
        println!("{target}: {executions} executions");
    }
}
