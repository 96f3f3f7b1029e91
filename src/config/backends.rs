//! The backends file: which HSMs the operator may use, and for whom. Backends are the operator's own configuration, never
//! a custom resource's, since one that names a library path would load code into the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;

/// One backend, as validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// What `spec.backend` of a ManagedHsm calls it.
    pub name: String,
    pub store: Store,
    pub allowed_namespaces: Allowed,
    /// Live and deleted ones count. None: as many as there are slots.
    pub max_hsms_per_namespace: Option<u32>,
    /// Live and deleted ones count.
    pub max_keys_per_hsm: u32,
}

/// Where the material is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// The soft token inside this executable, with its files in the data folder and room for so many HSMs. Without PIN files it makes its own in the PIN folder.
    Embedded { slots: u32, pins: Option<PinFiles> },
    /// A PKCS#11 module. It holds as many HSMs as it has free slots.
    Pkcs11 {
        module: PathBuf,
        pins: PinFiles,
        /// It bears one call at a time only.
        one_at_a_time: bool,
    },
}

/// Where the SO's and the user's PIN are: one line each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinFiles {
    pub so_pin_file: PathBuf,
    pub user_pin_file: PathBuf,
}

/// Who may use a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    All,
    Names(BTreeSet<String>),
    /// By the labels of the namespace.
    Selector(LabelSelector),
}

impl Allowed {
    /// Whether the namespace of that name and these labels may use it. An expression that is not understood matches nothing.
    pub fn allows(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.contains(namespace),
            Self::Selector(selector) => kube::core::Selector::try_from(selector.clone())
                .is_ok_and(|selector| kube::core::SelectorExt::matches(&selector, labels)),
        }
    }
}

/// One embedded backend named `default`: what there is without a file.
pub fn built_in() -> Vec<Backend> {
    vec![Backend {
        name: "default".to_owned(),
        store: Store::Embedded {
            slots: DEFAULT_SLOTS,
            pins: None,
        },
        allowed_namespaces: Allowed::All,
        max_hsms_per_namespace: None,
        max_keys_per_hsm: DEFAULT_KEYS,
    }]
}

const DEFAULT_SLOTS: u32 = 256;
/// `maxKeysPerHsm`, if not said.
pub const DEFAULT_KEYS: u32 = 1000;

/// Reads and validates the file. The error is one sentence: cause and way out.
pub fn load(path: &Path) -> Result<Vec<Backend>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the backends file {shown} cannot be read ({error}); give --backends a readable YAML file"))?;
    parse(&text).map_err(|error| format!("the backends file {shown} is not right: {error}"))
}

fn parse(text: &str) -> Result<Vec<Backend>, String> {
    let entries: Vec<Entry> = serde_yaml_ng::from_str(text)
        .map_err(|error| format!("{error}; it is a YAML list of backends"))?;
    let backends = entries
        .into_iter()
        .map(Entry::validate)
        .collect::<Result<Vec<_>, _>>()?;
    if backends.is_empty() {
        return Err(
            "it lists no backend; list one, or leave --backends out for the embedded one"
                .to_owned(),
        );
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = backends
        .iter()
        .find(|backend| !names.insert(backend.name.as_str()))
    {
        return Err(format!(
            "the backend name {:?} stands twice; give each its own",
            twice.name
        ));
    }
    let embedded = backends
        .iter()
        .filter(|backend| matches!(backend.store, Store::Embedded { .. }))
        .count();
    if embedded > 1 {
        return Err("it lists more than one embedded backend, and the soft token's state is global to its process; keep one of them".to_owned());
    }
    Ok(backends)
}

/// One backend, as the file says it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    kind: StoreKind,
    module: Option<PathBuf>,
    pins: Option<PinFiles>,
    slots: Option<u32>,
    one_at_a_time: Option<bool>,
    allowed_namespaces: Option<AllowedEntry>,
    max_hsms_per_namespace: Option<u32>,
    max_keys_per_hsm: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoreKind {
    Embedded,
    Pkcs11,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowedEntry {
    names: Option<BTreeSet<String>>,
    selector: Option<LabelSelector>,
}

impl Entry {
    fn validate(self) -> Result<Backend, String> {
        let Self {
            name,
            kind,
            module,
            pins,
            slots,
            one_at_a_time,
            allowed_namespaces,
            max_hsms_per_namespace,
            max_keys_per_hsm,
        } = self;
        if !is_label(&name) {
            return Err(format!(
                "the backend name {name:?} is no DNS label; use lower-case letters, digits and dashes, at most 63"
            ));
        }
        let at = |problem: &str| format!("backend {name:?}: {problem}");
        let store = store(kind, module, pins, slots, one_at_a_time).map_err(at)?;
        let allowed_namespaces = allowed(allowed_namespaces).map_err(|problem| at(&problem))?;
        let max_keys_per_hsm = max_keys_per_hsm.unwrap_or(DEFAULT_KEYS);
        for (field, value) in [
            ("slots", slots),
            ("maxKeysPerHsm", Some(max_keys_per_hsm)),
            ("maxHsmsPerNamespace", max_hsms_per_namespace),
        ] {
            if value == Some(0) {
                return Err(at(&format!(
                    "{field} is 0, which leaves room for nothing; give it at least 1, or leave it out"
                )));
            }
        }
        Ok(Backend {
            name,
            store,
            allowed_namespaces,
            max_hsms_per_namespace,
            max_keys_per_hsm,
        })
    }
}

fn store(
    kind: StoreKind,
    module: Option<PathBuf>,
    pins: Option<PinFiles>,
    slots: Option<u32>,
    one_at_a_time: Option<bool>,
) -> Result<Store, &'static str> {
    match kind {
        StoreKind::Embedded => match (module, one_at_a_time) {
            (None, None) => Ok(Store::Embedded {
                slots: slots.unwrap_or(DEFAULT_SLOTS),
                pins,
            }),
            _ => Err(
                "kind embedded takes neither module nor oneAtATime; leave them out, or make it kind pkcs11",
            ),
        },
        StoreKind::Pkcs11 if slots.is_some() => {
            Err("kind pkcs11 takes no slots, the module has its own; leave it out")
        }
        StoreKind::Pkcs11 => match (module, pins) {
            (Some(module), Some(pins)) if module.is_absolute() => Ok(Store::Pkcs11 {
                module,
                pins,
                one_at_a_time: one_at_a_time.unwrap_or(true),
            }),
            (Some(_), Some(_)) => Err("module is no absolute path; write the library's whole path"),
            _ => Err(
                "kind pkcs11 needs module (the library's path) and pins (soPinFile, userPinFile)",
            ),
        },
    }
}

fn allowed(entry: Option<AllowedEntry>) -> Result<Allowed, String> {
    match entry {
        None => Ok(Allowed::All),
        Some(AllowedEntry {
            names: Some(names),
            selector: None,
        }) => Ok(Allowed::Names(names)),
        Some(AllowedEntry {
            names: None,
            selector: Some(selector),
        }) if selector == LabelSelector::default() => {
            // Also what a misspelt field leaves: it must not open the backend to everybody.
            Err("allowedNamespaces.selector says nothing, so it would allow all; write matchLabels or matchExpressions, or leave allowedNamespaces out".to_owned())
        }
        Some(AllowedEntry {
            names: None,
            selector: Some(selector),
        }) => match kube::core::Selector::try_from(selector.clone()) {
            Ok(_) => Ok(Allowed::Selector(selector)),
            Err(error) => Err(format!(
                "allowedNamespaces.selector is not understood ({error}); write it as a Kubernetes label selector"
            )),
        },
        Some(_) => Err(
            "allowedNamespaces needs either names or selector; leave it out to allow all"
                .to_owned(),
        ),
    }
}

/// RFC 1123.
pub(super) fn is_label(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inside)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "
- name: default
  kind: embedded
  slots: 12
  allowedNamespaces: {selector: {matchLabels: {hsm: allowed}}}
- name: rack
  kind: pkcs11
  module: /usr/lib/softhsm/libsofthsm2.so
  pins: {soPinFile: /pins/so, userPinFile: /pins/user}
  allowedNamespaces: {names: [team-a, team-b]}
  maxHsmsPerNamespace: 2
  maxKeysPerHsm: 50
";

    #[test]
    fn a_full_file_is_understood_and_defaults_are_filled_in() {
        let backends = parse(BOTH).expect("good");
        assert_eq!(backends.len(), 2);
        assert_eq!(
            (backends[0].max_keys_per_hsm, &backends[0].store),
            (
                1000,
                &Store::Embedded {
                    slots: 12,
                    pins: None
                }
            )
        );
        assert_eq!(
            backends[1].store,
            Store::Pkcs11 {
                module: "/usr/lib/softhsm/libsofthsm2.so".into(),
                pins: PinFiles {
                    so_pin_file: "/pins/so".into(),
                    user_pin_file: "/pins/user".into()
                },
                one_at_a_time: true
            }
        );
        assert_eq!(
            (
                backends[1].max_hsms_per_namespace,
                backends[1].max_keys_per_hsm
            ),
            (Some(2), 50)
        );
        assert_eq!(
            built_in()[0].store,
            Store::Embedded {
                slots: 256,
                pins: None
            }
        );
    }

    #[test]
    fn namespaces_are_allowed_by_name_or_by_label_or_all() {
        let backends = parse(BOTH).expect("good");
        let labels = |value: &str| BTreeMap::from([("hsm".to_owned(), value.to_owned())]);
        assert!(
            backends[0]
                .allowed_namespaces
                .allows("any", &labels("allowed"))
        );
        assert!(!backends[0].allowed_namespaces.allows("any", &labels("no")));
        assert!(
            backends[1]
                .allowed_namespaces
                .allows("team-a", &labels("no"))
        );
        assert!(
            !backends[1]
                .allowed_namespaces
                .allows("team-c", &labels("allowed"))
        );
        assert!(
            built_in()[0]
                .allowed_namespaces
                .allows("any", &BTreeMap::new())
        );
    }

    #[test]
    fn every_mistake_is_one_sentence_with_its_way_out() {
        for (text, expected) in [
            ("[]", "it lists no backend; list one"),
            (
                "- {name: a, kind: embedded, modul: /x}",
                "unknown field `modul`",
            ),
            ("- {name: a, kind: cloud}", "unknown variant `cloud`"),
            (
                "- {name: A_b, kind: embedded}",
                "\"A_b\" is no DNS label; use",
            ),
            (
                "- {name: a, kind: embedded, module: /x}",
                "takes neither module nor oneAtATime",
            ),
            (
                "- {name: a, kind: pkcs11, module: /x}",
                "needs module (the library's path) and pins",
            ),
            (
                "- {name: a, kind: pkcs11, module: x.so, pins: {soPinFile: /s, userPinFile: /u}}",
                "is no absolute path; write",
            ),
            (
                "- {name: a, kind: pkcs11, module: /x, pins: {soPinFile: /s, userPinFile: /u}, slots: 3}",
                "takes no slots",
            ),
            ("- {name: a, kind: embedded, slots: 0}", "slots is 0"),
            (
                "- {name: a, kind: embedded, maxKeysPerHsm: 0}",
                "maxKeysPerHsm is 0",
            ),
            (
                "- {name: a, kind: embedded, maxHsmsPerNamespace: 0}",
                "maxHsmsPerNamespace is 0",
            ),
            (
                "- {name: a, kind: embedded, allowedNamespaces: {}}",
                "either names or selector; leave it out",
            ),
            (
                "- {name: a, kind: embedded, allowedNamespaces: {selector: {matchExpressions: [{key: a, operator: Near}]}}}",
                "is not understood",
            ),
            (
                "- {name: a, kind: embedded, allowedNamespaces: {selector: {matchLabel: {hsm: x}}}}",
                "says nothing, so it would allow all; write",
            ),
            (
                "- {name: a, kind: embedded}\n- {name: b, kind: embedded}",
                "more than one embedded backend",
            ),
            (
                "- {name: a, kind: embedded}\n- {name: a, kind: embedded}",
                "stands twice; give each its own",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/backends.yaml")).expect_err("it is not there");
        assert!(
            error.starts_with("the backends file /nowhere/backends.yaml cannot be read"),
            "{error}"
        );
    }
}
