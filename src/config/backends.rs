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
    Embedded {
        slots: u32,
        pins: Option<PinFiles>,
    },
    Pkcs11(Module),
}

/// A PKCS#11 module, and which of its tokens are for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    pub library: PathBuf,
    pub pins: PinFiles,
    /// It bears one call at a time only.
    pub one_at_a_time: bool,
    /// The label of the token that holds the records, and nothing else.
    pub ledger_token: String,
    /// The label of a token that holds nothing: on it is tried what the module can do.
    pub scratch_token: String,
    /// Labels of the tokens that were made outside for HSMs. None: one is made in any free slot.
    pub tokens: Option<Vec<String>>,
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
/// `scratchToken`, if not said.
const DEFAULT_SCRATCH: &str = "managed-hsm-scratch";
/// `maxKeysPerHsm`, if not said.
const DEFAULT_KEYS: u32 = 1000;

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
    let mut modules = BTreeSet::new();
    for backend in &backends {
        if let Store::Pkcs11(module) = &backend.store
            && !modules.insert(&module.library)
        {
            return Err(format!(
                "the module {} stands twice, and a process opens each once; make it one backend, or copy the library",
                module.library.display()
            ));
        }
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
    ledger_token: Option<String>,
    scratch_token: Option<String>,
    tokens: Option<Vec<String>>,
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
        let name = self.name.clone();
        if !is_label(&name) {
            return Err(format!(
                "the backend name {name:?} is no DNS label; use lower-case letters, digits and dashes, at most 63"
            ));
        }
        self.backend()
            .map_err(|problem| format!("backend {name:?}: {problem}"))
    }

    fn backend(self) -> Result<Backend, String> {
        for (field, value) in [
            ("slots", self.slots),
            ("maxKeysPerHsm", self.max_keys_per_hsm),
            ("maxHsmsPerNamespace", self.max_hsms_per_namespace),
        ] {
            if value == Some(0) {
                return Err(format!(
                    "{field} is 0, which leaves room for nothing; give it at least 1, or leave it out"
                ));
            }
        }
        Ok(Backend {
            store: match self.kind {
                StoreKind::Embedded => self.embedded()?,
                StoreKind::Pkcs11 => Store::Pkcs11(self.module()?),
            },
            name: self.name,
            allowed_namespaces: allowed(self.allowed_namespaces)?,
            max_hsms_per_namespace: self.max_hsms_per_namespace,
            max_keys_per_hsm: self.max_keys_per_hsm.unwrap_or(DEFAULT_KEYS),
        })
    }

    fn embedded(&self) -> Result<Store, String> {
        let of_a_module = [
            ("module", self.module.is_some()),
            ("oneAtATime", self.one_at_a_time.is_some()),
            ("ledgerToken", self.ledger_token.is_some()),
            ("scratchToken", self.scratch_token.is_some()),
            ("tokens", self.tokens.is_some()),
        ];
        if let Some((field, _)) = of_a_module.iter().find(|(_, is_there)| *is_there) {
            return Err(format!(
                "kind embedded takes no {field}; leave it out, or make it kind pkcs11"
            ));
        }
        Ok(Store::Embedded {
            slots: self.slots.unwrap_or(DEFAULT_SLOTS),
            pins: self.pins.clone(),
        })
    }

    fn module(&self) -> Result<Module, String> {
        if self.slots.is_some() {
            return Err("kind pkcs11 takes no slots, the module has its own; leave it out".into());
        }
        let (Some(library), Some(pins), Some(ledger_token)) =
            (&self.module, &self.pins, &self.ledger_token)
        else {
            return Err("kind pkcs11 needs module (the library's path), pins (soPinFile, userPinFile) and ledgerToken (the label of the token that keeps its records)".into());
        };
        if !library.is_absolute() {
            return Err("module is no absolute path; write the library's whole path".into());
        }
        let scratch_token = match (&self.scratch_token, &self.tokens) {
            (None, Some(_)) => {
                return Err("tokens says that no token is to be made, so it needs scratchToken (the label of one that holds nothing, to try on it what the module can do)".into());
            }
            (scratch, _) => scratch.clone().unwrap_or_else(|| DEFAULT_SCRATCH.into()),
        };
        let labels = [ledger_token, &scratch_token];
        let labels: Vec<_> = labels
            .into_iter()
            .chain(self.tokens.iter().flatten())
            .collect();
        token_labels(&labels)?;
        Ok(Module {
            library: library.clone(),
            pins: pins.clone(),
            one_at_a_time: self.one_at_a_time.unwrap_or(true),
            ledger_token: ledger_token.clone(),
            scratch_token,
            tokens: self.tokens.clone(),
        })
    }
}

/// What a token is called (CK_TOKEN_INFO: 32 bytes), each for one thing only.
fn token_labels(labels: &[&String]) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    let mut seen = BTreeSet::new();
    for label in labels {
        if label.trim() != label.as_str()
            || !(1..=32).contains(&label.len())
            || !label.chars().all(plain)
        {
            return Err(format!(
                "the token label {label:?} is no label of a token; write it as the module shows it, 1 to 32 characters"
            ));
        }
        if label.len() == 32 && label.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(format!(
                "the token label {label:?} looks like one that the operator gives its HSMs; choose another"
            ));
        }
        if !seen.insert(label) {
            return Err(format!(
                "the token {label:?} is named twice; give each purpose a token of its own"
            ));
        }
    }
    Ok(())
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
mod tests;
