//! Preshared keys of IPsec: a line of text, as it is typed into the municipality's router, readable by its owner alone.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keys::{KeyFileError, read_secret};

/// Below it, whoever caught one negotiation as its initiator's peer tries all keys in a day.
const SHORTEST_BYTES: usize = 8;
/// Below it a key that people made up can be guessed from one caught negotiation: RFC 7296 section 2.15 asks for as much entropy as the
/// strongest key that is negotiated.
const SHORT_BYTES: usize = 20;
/// Yamaha's and Cisco's routers take 128 characters.
const LONGEST_BYTES: usize = 512;

/// Why the content of a preshared key's file is refused. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PskError {
    #[error("is empty")]
    Empty,
    #[error("holds a preshared key of {0} bytes, which is quickly guessed: at least {SHORTEST_BYTES} are needed")]
    Short(usize),
    #[error("is longer than {LONGEST_BYTES} bytes")]
    Long,
    #[error("holds more than one line, or control characters")]
    ControlCharacters,
    #[error("begins with 0x or 0s, but what follows is not hexadecimal or base64")]
    Encoding,
}

/// Reads one preshared key. The line end is no part of it; `0x` and `0s` before it say that it is written in hexadecimal or base64.
///
/// # Errors
/// Says what is wrong with the file, without its content.
pub fn read_psk(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    // As many bytes as the longest has in hexadecimal, and more, so that anything longer shows.
    let content = read_secret(path, rustix::process::geteuid().as_raw(), 2 * LONGEST_BYTES + 8)?;
    Ok(decode(&content)?)
}

/// Whether a key is so short that people should know.
pub(super) fn is_short(psk: &[u8]) -> bool {
    psk.len() < SHORT_BYTES
}

fn decode(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, PskError> {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().any(u8::is_ascii_control) {
        return Err(PskError::ControlCharacters);
    }
    let psk = match line {
        [b'0', b'x', hex @ ..] => decode_hex(hex).ok_or(PskError::Encoding)?,
        [b'0', b's', base64 @ ..] => Zeroizing::new(STANDARD.decode(base64).map_err(|_| PskError::Encoding)?),
        text => Zeroizing::new(text.to_vec()),
    };
    match psk.len() {
        0 => Err(PskError::Empty),
        short @ 1..SHORTEST_BYTES => Err(PskError::Short(short)),
        SHORTEST_BYTES..=LONGEST_BYTES => Ok(psk),
        _ => Err(PskError::Long),
    }
}

fn decode_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_is_the_key_whatever_its_line_end() {
        for content in ["correct horse battery", "correct horse battery\n", "correct horse battery\r\n"] {
            assert_eq!(decode(content.as_bytes()).expect("a key").as_slice(), b"correct horse battery");
        }
        assert_eq!(
            decode(" leading and trailing ".as_bytes()).expect("a key").as_slice(),
            b" leading and trailing ",
            "spaces belong to it"
        );
        assert_eq!(decode("千代田区の鍵".as_bytes()).expect("a key").as_slice(), "千代田区の鍵".as_bytes());
    }

    #[test]
    fn binary_keys_are_written_in_hexadecimal_or_base64() {
        let binary = [0, 1, 2, 0xff, 10, 13, 0x7f, 8];
        assert_eq!(decode(b"0x000102FF0a0d7f08\n").expect("a key").as_slice(), binary);
        assert_eq!(decode(b"0sAAEC/woNfwg=\n").expect("a key").as_slice(), binary);
        for wrong in [&b"0x123"[..], b"0xgg", b"0s&&&&", "0xあ".as_bytes()] {
            assert_eq!(decode(wrong), Err(PskError::Encoding));
        }
    }

    #[test]
    fn what_is_empty_short_long_or_several_lines_is_refused() {
        assert_eq!(decode(b"\n"), Err(PskError::Empty));
        assert_eq!(decode(b"0x"), Err(PskError::Empty));
        assert_eq!(decode(b"1234567"), Err(PskError::Short(7)));
        assert_eq!(decode(&[b'x'; 513]), Err(PskError::Long));
        assert_eq!(decode(&[b'x'; 512]).expect("the longest").len(), 512);
        assert_eq!(decode(b"two\nlines of text"), Err(PskError::ControlCharacters));
        assert_eq!(decode(b"a line and an empty one\n\n"), Err(PskError::ControlCharacters));
    }
}
