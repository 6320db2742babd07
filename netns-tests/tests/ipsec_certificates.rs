//! Routers and relay that prove who they are by certificates (RFC 7427), made by openssl for the occasion.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use netns_tests::canary;
use netns_tests::plan::{Municipality, RELAY_IDENTITY, SHARED_GLOBAL};
use netns_tests::process::must;
use netns_tests::relay::{Driver, Files, Relay, http_get};
use netns_tests::strongswan::{Connection, Credentials};
use netns_tests::topology::Lab;

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const EC_384: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA: [&str; 4] = ["-newkey", "rsa:3072", "-pkeyopt", "rsa_keygen_bits:3072"];

/// An authority that certifies whom a test wants.
struct Authority<'a> {
    lab: &'a Lab,
    directory: PathBuf,
}

impl<'a> Authority<'a> {
    fn new(lab: &'a Lab, name: &str) -> Self {
        let directory = lab.directory().join(name);
        fs::create_dir(&directory).expect("create a directory");
        let authority = Self { lab, directory };
        let subject = format!("/C=JP/O=LGWAN/CN={name}");
        let extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
        authority.openssl(
            &[&["req", "-x509", "-nodes", "-days", "30", "-keyout", "ca.key", "-out", "ca.pem", "-subj", &subject], &EC[..], &extensions]
                .concat(),
        );
        authority
    }

    /// Certificate and private key of who has this name.
    fn certify(&self, name: &str, key: [&str; 4]) -> [PathBuf; 2] {
        let (subject, names) = (format!("/C=JP/CN={name}"), format!("subjectAltName=DNS:{name}"));
        fs::write(self.directory.join("extensions"), &names).expect("write the extensions");
        let (private, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        self.openssl(&[&["req", "-nodes", "-keyout", &private, "-out", &request, "-subj", &subject], &key[..]].concat());
        self.openssl(&[
            "x509",
            "-req",
            "-days",
            "30",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-out",
            &certificate,
            "-extfile",
            "extensions",
        ]);
        [self.directory.join(certificate), self.directory.join(private)]
    }

    fn pem(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    fn openssl(&self, arguments: &[&str]) {
        let directory = self.directory.to_str().expect("a path of text");
        let all = [&["-c", "cd \"$0\" && exec openssl \"$@\"", directory], arguments].concat();
        let _ = must(&self.lab.relay, "sh", &all);
    }
}

fn copy_secret(from: &Path, to: &Path) {
    fs::copy(from, to).expect("copy a file");
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("for its owner only");
}

#[test]
fn certificates_of_both_key_kinds_are_believed_and_those_of_another_authority_are_not() {
    let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let lab = Lab::new(vec![town]);
    let (authority, stranger) = (Authority::new(&lab, "authority"), Authority::new(&lab, "stranger"));
    let town = &lab.towns[0];
    let files = Files::write(&lab, Driver::AfXdp, 1500);
    let [certificate, key] = authority.certify(RELAY_IDENTITY, EC);
    for (from, to) in [(certificate, "relay.pem"), (key, "relay-cert.key"), (authority.pem(), "authority.pem")] {
        copy_secret(&from, &files.key_file(to));
    }
    let certificates = "certificate_file: keys/relay.pem, private_key_file: keys/relay-cert.key, authorities_file: keys/authority.pem";
    let yaml = fs::read_to_string(&files.relay_yaml).expect("relay.yaml");
    let identity = format!("local_id: {RELAY_IDENTITY}");
    fs::write(&files.relay_yaml, yaml.replace(&identity, &format!("{identity}, {certificates}"))).expect("write relay.yaml");
    let psk = format!("psk_file: keys/{}.psk", town.plan.tenant);
    files.put_text(&town.plan.tenant, &town.plan.yaml().replace(&psk, "certificate: true"));
    let relay = Relay::start_with(&lab, files);

    let name = Connection::of(&town.plan).local_id;
    let try_with = |issuer: &Authority<'_>, kind: [&str; 4]| {
        let [certificate, private_key] = issuer.certify(&name, kind);
        let mut connection = Connection::of(&town.plan);
        connection.credentials = Credentials::Certificate { certificate, private_key, authority: authority.pem() };
        town.strongswan().hang_up();
        town.strongswan().configure(&connection);
        town.strongswan().try_to_call().status.success()
    };
    for kind in [EC, EC_384, RSA] {
        assert!(try_with(&authority, kind), "{kind:?}:\n{}{}", town.strongswan().log(), relay.process.log());
        let answer = town.counter().query((SHARED_GLOBAL, 53), "who?");
        assert_eq!(answer, Some(format!("who?{}", canary::mynumber(&town.plan.tenant))), "{kind:?}");
    }
    let (_, page) = http_get(&lab.relay, "/metrics");
    let expiry: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with("chukei_certificate_expiry_timestamp_seconds{"))
        .map(|line| line.rsplit(' ').next().and_then(|seconds| seconds.parse().ok()).expect("a number of seconds"))
        .collect();
    assert!(!expiry.is_empty() && expiry.iter().all(|seconds| *seconds > 1.7e9), "the day on which each file expires: {expiry:?}");
    assert!(!try_with(&stranger, EC), "a certificate of another authority");
    assert!(town.strongswan().log().contains("received AUTHENTICATION_FAILED"));
    assert_eq!(relay.show("tunnels")[0]["state"], "down");
}
