//! WireGuard keys, made by the reference tools.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A key pair as WireGuard writes it. Its private half is never printed.
#[derive(Clone)]
pub struct KeyPair {
    /// The private key in base64.
    pub private: String,
    /// The public key in base64.
    pub public: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

impl KeyPair {
    /// A new pair from `wg genkey` and `wg pubkey`.
    #[must_use]
    pub fn generate() -> Self {
        let private = wg("genkey", "");
        Self { public: wg("pubkey", &private), private }
    }
}

/// A new preshared key.
#[must_use]
pub fn preshared_key() -> String {
    wg("genpsk", "")
}

/// Writes a key so that only its owner may read it.
pub fn write_secret(path: &Path, secret: &str) {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    writeln!(file, "{secret}").expect("write a key");
}

fn wg(what: &str, input: &str) -> String {
    let mut child =
        Command::new("wg").arg(what).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("wg (package wireguard-tools)");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("write to wg");
    let output = child.wait_with_output().expect("wait for wg");
    assert!(output.status.success(), "wg {what} failed");
    String::from_utf8(output.stdout).expect("base64").trim().to_owned()
}

/// A public key to which nobody has the private one: any 32 bytes are a point of the curve or of its twist.
#[must_use]
pub fn random_public_key() -> String {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| -> String {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4)
            .map(|digit| if digit <= chunk.len() { char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]) } else { '=' })
            .collect()
    };
    bytes.chunks(3).map(digits).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_rfc_4648() {
        assert_eq!(["f", "fo", "foo", "foob"].map(|text| super::base64(text.as_bytes())), ["Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
