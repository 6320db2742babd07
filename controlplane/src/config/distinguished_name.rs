//! Distinguished names as `openssl x509 -subject` and strongSwan print them, `C=JP, O=千代田区, CN=router`, and their DER.

use std::fmt;

/// ITU-T X.520 and RFC 4519: the attributes that subjects of routers' certificates have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attribute {
    name: &'static str,
    /// The object identifier's content.
    oid: &'static [u8],
    string: StringKind,
}

/// RFC 5280 appendix A: how the value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringKind {
    Utf8 = 0x0c,
    Printable = 0x13,
    Ia5 = 0x16,
}

const fn attribute(name: &'static str, oid: &'static [u8], string: StringKind) -> Attribute {
    Attribute { name, oid, string }
}

static ATTRIBUTES: [Attribute; 9] = [
    attribute("C", &[0x55, 4, 6], StringKind::Printable),
    attribute("ST", &[0x55, 4, 8], StringKind::Utf8),
    attribute("L", &[0x55, 4, 7], StringKind::Utf8),
    attribute("O", &[0x55, 4, 10], StringKind::Utf8),
    attribute("OU", &[0x55, 4, 11], StringKind::Utf8),
    attribute("CN", &[0x55, 4, 3], StringKind::Utf8),
    attribute("serialNumber", &[0x55, 4, 5], StringKind::Printable),
    attribute("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], StringKind::Ia5),
    attribute("emailAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], StringKind::Ia5),
];

/// In the order of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<(&'static Attribute, String)>);

impl DistinguishedName {
    /// `None` where it is no list of `ATTRIBUTE=value`, separated by commas; a comma in a value is written `\,`.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = split_unescaped(text).into_iter().map(|part| {
            let (name, value) = part.split_once('=')?;
            let attribute = ATTRIBUTES.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name.trim()))?;
            let value = value.trim().to_owned();
            let fits = !value.is_empty() && (attribute.string == StringKind::Utf8 || value.is_ascii());
            fits.then_some((attribute, value))
        });
        parts.collect::<Option<Vec<_>>>().map(Self)
    }

    /// What the names of attributes are, for messages.
    pub fn attribute_names() -> String {
        ATTRIBUTES.iter().map(|attribute| attribute.name).collect::<Vec<_>>().join(", ")
    }

    /// RFC 5280 section 4.1.2.4: `Name`, each attribute in a set of its own.
    pub fn to_der(&self) -> Vec<u8> {
        const SEQUENCE: u8 = 0x30;
        const SET: u8 = 0x31;
        const OBJECT_IDENTIFIER: u8 = 0x06;
        let sets = self.0.iter().flat_map(|(attribute, value)| {
            let pair = [tagged(OBJECT_IDENTIFIER, attribute.oid), tagged(attribute.string as u8, value.as_bytes())].concat();
            tagged(SET, &tagged(SEQUENCE, &pair))
        });
        tagged(SEQUENCE, &sets.collect::<Vec<u8>>())
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.0.iter().map(|(attribute, value)| format!("{}={}", attribute.name, value.replace(',', r"\,"))).collect();
        f.write_str(&parts.join(", "))
    }
}

fn split_unescaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let last = parts.last_mut().expect("never empty");
        match c {
            '\\' if characters.peek() == Some(&',') => last.extend(characters.next()),
            ',' => parts.push(String::new()),
            c => last.push(c),
        }
    }
    parts
}

/// X.690 section 8.1.3: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len();
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => der.push(short),
        Ok(long) => der.extend([0x81, long]),
        Err(_) => {
            let [high, low] = u16::try_from(length).expect("a name is a line of text").to_be_bytes();
            der.extend([0x82, high, low]);
        }
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_encoded_as_openssl_encodes_it() {
        let name = DistinguishedName::parse("C=JP, O=Chiyoda\\, City, CN=router").expect("a name");
        // The subject of `openssl req -x509 -subj "/C=JP/O=Chiyoda, City/CN=router" -utf8`.
        let expected = "3036310b3009060355040613024a5031163014060355040a0c0d436869796f64612c2043697479310f300d06035504030c06726f75746572";
        let der: String = name.to_der().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(der, expected);
        assert_eq!(name.to_string(), "C=JP, O=Chiyoda\\, City, CN=router");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "CN", "CN=", "CN=a, ", "Nobody=x", "C=日本"] {
            assert_eq!(DistinguishedName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_long_name_has_its_length_in_several_bytes() {
        let name = |length: usize| DistinguishedName::parse(&format!("O={}", "x".repeat(length))).expect("a name").to_der();
        assert_eq!(&name(200)[..3], [0x30, 0x81, 214]);
        assert_eq!(&name(300)[..4], [0x30, 0x82, 1, 61]);
    }
}
