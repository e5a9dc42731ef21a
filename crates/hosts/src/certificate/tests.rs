use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// 2026-11-21
const NOW: i64 = 1_795_226_839_000_000;

struct Issued {
    chain: String,
    key: String,
}

fn issue(names: &[&str], years: (i32, i32)) -> Issued {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    Issued {
        chain: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn checked(host: &str, issued: &Issued) -> Result<i64, CertificateError> {
    let host = host.parse().unwrap();
    check(&host, &issued.chain, &issued.key, NOW).map(|checked| checked.expires_at)
}

#[test]
fn a_certificate_covers_the_names_that_it_was_issued_for() {
    let issued = issue(
        &["tracks.acme.example", "*.fleet.acme.example"],
        (2020, 2030),
    );
    for host in [
        "tracks.acme.example",
        "*.fleet.acme.example",
        "x.fleet.acme.example",
    ] {
        assert_eq!(checked(host, &issued), Ok(1_893_456_000_000_000), "{host}");
    }
    for host in [
        "acme.example",
        "fleet.acme.example",
        "*.tracks.acme.example",
        "a.b.fleet.acme.example",
    ] {
        let other = Err(CertificateError::OtherHost(host.to_owned()));
        assert_eq!(checked(host, &issued), other);
    }
    let narrow = issue(&["x.fleet.acme.example"], (2020, 2030));
    assert!(checked("*.fleet.acme.example", &narrow).is_err());
}

#[test]
fn it_is_valid_now_and_belongs_to_its_key() {
    let host = "tracks.acme.example";
    let past = issue(&[host], (2020, 2026));
    assert_eq!(checked(host, &past), Err(CertificateError::Expired));
    let future = issue(&[host], (2027, 2030));
    assert_eq!(checked(host, &future), Err(CertificateError::TooEarly));
    let good = issue(&[host], (2020, 2030));
    let mixed = Issued {
        chain: good.chain.clone(),
        key: past.key,
    };
    assert_eq!(checked(host, &mixed), Err(CertificateError::OtherKey));
}

#[test]
fn what_is_no_certificate_or_no_key_is_said_to_be_none() {
    let host = "tracks.acme.example";
    let good = issue(&[host], (2020, 2030));
    let with = |chain: &str, key: &str| {
        let issued = Issued {
            chain: chain.to_owned(),
            key: key.to_owned(),
        };
        checked(host, &issued)
    };
    assert_eq!(with("", &good.key), Err(CertificateError::Empty));
    assert_eq!(with(&good.chain, ""), Err(CertificateError::Key));
    assert_eq!(with(&good.chain, "nonsense"), Err(CertificateError::Key));
    assert_eq!(
        with(&good.chain.repeat(MAX_CHAIN + 1), &good.key),
        Err(CertificateError::TooLong)
    );
    assert_eq!(
        with(&good.chain, &"x".repeat(MAX_PEM + 1)),
        Err(CertificateError::TooLong)
    );
}
