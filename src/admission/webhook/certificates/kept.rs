//! What the Secret keeps, and how it is read from a certificate.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::ByteString;
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;

use super::step::Step;

/// What a certificate ends with, in PEM.
const END: &str = "-----END CERTIFICATE-----\n";

const AUTHORITIES: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub certificate: String,
    pub key: SecretString,
}

/// All that there is: it is both what is served and how far a change has come.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Each one whose certificate may still be served somewhere, PEM, the newest first.
    pub authorities: Vec<String>,
    pub current: Pair,
    /// What is served once its authority is trusted everywhere.
    pub next: Option<Pair>,
}

impl Pair {
    pub(super) fn new(certificate: String, key: String) -> Self {
        Self {
            certificate,
            key: SecretString::from(key),
        }
    }

    /// When it is time for another one: at two thirds of its life. None: it cannot be read.
    pub(super) fn due(&self) -> Option<DateTime<Utc>> {
        let (from, until) = life(&self.certificate)?;
        Some(until - (until - from) / 3)
    }

    /// Past its life nobody trusts it. What cannot be read is not said to be.
    pub(super) fn is_over(&self, now: DateTime<Utc>) -> bool {
        life(&self.certificate).is_some_and(|(_, until)| until < now)
    }

    /// Whether it is for all these names.
    pub(super) fn is_for(&self, names: &[String]) -> bool {
        let own = names_of(&self.certificate).unwrap_or_default();
        names.iter().all(|name| own.contains(name))
    }
}

impl Kept {
    /// The text that the configuration's `caBundle` is to have.
    pub(super) fn bundle(&self) -> String {
        self.authorities.concat()
    }

    #[cfg(test)]
    pub(super) fn signer_of_current(&self) -> Option<&str> {
        let signed = |authority: &&String| signs(authority, &self.current.certificate);
        self.authorities.iter().find(signed).map(String::as_str)
    }

    /// Of those that are past their life nothing valid is left anywhere.
    pub(super) fn valid_authorities(&self, now: DateTime<Utc>) -> Vec<String> {
        let valid = |authority: &&String| {
            life(authority).is_some_and(|(_, until)| now < until + TimeDelta::seconds(1))
        };
        self.authorities.iter().filter(valid).cloned().collect()
    }

    /// What is to be kept after that step. `new` makes another authority with its certificate.
    pub(super) fn after<E>(
        &self,
        step: Step,
        now: DateTime<Utc>,
        new: impl FnOnce() -> Result<Kept, E>,
    ) -> Result<Self, E> {
        let mut kept = self.clone();
        kept.authorities = self.valid_authorities(now);
        match step {
            Step::Make => return new(),
            Step::MakeNext => {
                let new = new()?;
                kept.authorities.splice(0..0, new.authorities);
                kept.next = Some(new.current);
            }
            Step::TakeNext => {
                if let Some(next) = kept.next.take() {
                    kept.current = next;
                }
            }
            Step::Forget | Step::Trust | Step::Rest => {}
        }
        Ok(kept)
    }

    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let pair = |certificate: &str, key: &str| {
            let pair = Pair::new(text(certificate)?, text(key)?);
            pair.due().map(|_| pair)
        };
        let authorities = text(AUTHORITIES)?;
        let authorities = authorities.split_inclusive(END).map(str::to_owned);
        let authorities: Vec<_> = authorities.filter(|one| life(one).is_some()).collect();
        Some(Self {
            authorities: (!authorities.is_empty()).then_some(authorities)?,
            current: pair(CERTIFICATE, KEY)?,
            next: pair(NEXT_CERTIFICATE, NEXT_KEY),
        })
    }

    pub(super) fn write(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::from([(
            AUTHORITIES.to_owned(),
            ByteString(self.bundle().into_bytes()),
        )]);
        let mut put = |certificate: &str, key: &str, pair: &Pair| {
            data.insert(
                certificate.to_owned(),
                ByteString(pair.certificate.clone().into_bytes()),
            );
            data.insert(
                key.to_owned(),
                ByteString(pair.key.expose_secret().as_bytes().to_vec()),
            );
        };
        put(CERTIFICATE, KEY, &self.current);
        if let Some(next) = &self.next {
            put(NEXT_CERTIFICATE, NEXT_KEY, next);
        }
        data
    }
}

fn read<T>(pem: &str, of: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Option<T> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    of(&pem.parse_x509().ok()?)
}

/// From when until when it is valid.
fn life(pem: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    read(pem, |certificate| {
        let validity = certificate.validity();
        let from = DateTime::from_timestamp(validity.not_before.timestamp(), 0)?;
        let until = DateTime::from_timestamp(validity.not_after.timestamp(), 0)?;
        Some((from, until))
    })
}

/// The names that it is for, addresses among them.
fn names_of(pem: &str) -> Option<Vec<String>> {
    read(pem, |certificate| {
        let names = certificate.subject_alternative_name().ok()??;
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes)
                    .ok()
                    .map(|it| IpAddr::from(it).to_string()),
                _ => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|it| IpAddr::from(it).to_string()),
            },
            _ => None,
        };
        Some(names.value.general_names.iter().filter_map(name).collect())
    })
}

#[cfg(test)]
fn signs(authority: &str, certificate: &str) -> bool {
    let issuer = read(certificate, |it| Some(it.issuer().to_string()));
    issuer.is_some() && issuer == read(authority, |it| Some(it.subject().to_string()))
}
