//! New certificates: an authority that signs one certificate, and that one.

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::kept::{Kept, Pair};

/// How far clocks may be apart, at most.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// An authority and its one certificate for these names, from a little before now on.
pub(super) fn make(
    names: &[String],
    now: DateTime<Utc>,
    life: TimeDelta,
) -> Result<Kept, rcgen::Error> {
    // Of a short life a short while.
    let from = now - SKEW.min(life / 30);
    let params = |names: &[String]| -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.not_before =
            date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds(from));
        params.not_after =
            date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds(now + life));
        Ok(params)
    };
    let mut authority = params(&[])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let name = format!(
        "{} webhook, {}",
        env!("CARGO_PKG_NAME"),
        now.format("%FT%TZ")
    );
    authority.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut server = params(names)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server
        .distinguished_name
        .push(DnType::CommonName, env!("CARGO_PKG_NAME"));
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok(Kept {
        authorities: vec![authority.pem()],
        current: Pair::new(certificate.pem(), key.serialize_pem()),
        next: None,
    })
}

fn seconds(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().expect("a date")
    }

    #[test]
    fn a_certificate_is_for_its_names_and_due_at_two_thirds_of_its_life() {
        let names = [
            "hsm.system.svc".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let made = make(&names, now(), TimeDelta::days(90)).expect("made");
        assert!(made.current.is_for(&names));
        assert!(!made.current.is_for(&["other.system.svc".to_owned()]));
        let due = made.current.due().expect("a date");
        let two_thirds = now() + TimeDelta::days(60);
        assert!((due - two_thirds).abs() < TimeDelta::hours(1), "{due}");
    }

    #[test]
    fn what_is_written_reads_back_and_what_was_tampered_with_does_not() {
        let names = ["hsm.system.svc".to_owned()];
        let mut made = make(&names, now(), TimeDelta::days(90)).expect("made");
        let other = make(&names, now(), TimeDelta::days(60)).expect("made");
        made.authorities.extend(other.authorities);
        made.next = Some(other.current);
        let data = made.write();
        let back = Kept::read(&data).expect("it is whole");
        assert_eq!(back.write(), data);
        assert_eq!(back.authorities.len(), 2);
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            let mut less = data.clone();
            less.remove(key);
            assert!(Kept::read(&less).is_none(), "without {key}");
            less.insert(
                key.to_owned(),
                k8s_openapi::ByteString(b"nonsense".to_vec()),
            );
            assert!(
                Kept::read(&less).is_none() || key == "tls.key",
                "with another {key}"
            );
        }
    }

    #[test]
    fn no_key_is_shown() {
        let made = make(&["a.b.svc".to_owned()], now(), TimeDelta::days(1)).expect("made");
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
    }
}
