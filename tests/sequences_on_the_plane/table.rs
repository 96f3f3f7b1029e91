//! The committed table, and how its uids, names and dates are told apart from a real cluster's.

use std::collections::BTreeMap;

use managed_hsm_operator::softdelete::Kind;

use crate::rows::{Act, Cells, NAMESPACE, State};

/// `docs/sequences.md`, which the laws compare with what the planner does.
pub struct Table(BTreeMap<(Kind, String, String), Cells>);

impl Table {
    pub fn read() -> Self {
        let text = include_str!("../../docs/sequences.md");
        let mut kind = Kind::Hsm;
        let mut all = BTreeMap::new();
        for line in text.lines() {
            match line.strip_prefix("## ") {
                Some(name) if name == Kind::Key.object() => kind = Kind::Key,
                Some(name) => assert_eq!(name, Kind::Hsm.object()),
                None => {}
            }
            let cells: Vec<_> = line
                .trim_start_matches("| ")
                .trim_end_matches(" |")
                .split(" | ")
                .collect();
            if let [state, act, object, proxy, record, told] = cells[..] {
                let cells = Cells {
                    object: object.into(),
                    proxy: proxy.into(),
                    record: record.into(),
                    told: without_dates(&told.replace("\\|", "|")),
                };
                all.insert((kind, state.to_owned(), act.to_owned()), cells);
            }
        }
        Self(all)
    }

    pub fn row(&self, kind: Kind, state: State, act: Act) -> Cells {
        let key = (kind, state.said().to_owned(), act.said().to_owned());
        let found = self.0.get(&key);
        found
            .unwrap_or_else(|| panic!("the table has no row {key:?}"))
            .clone()
    }
}

/// A real text as the table would have it.
pub fn as_in_table(text: &str, namespace: &str, uids: &BTreeMap<String, String>) -> String {
    let named = uids.iter().fold(text.to_owned(), |text, (uid, name)| {
        text.replace(uid.as_str(), name)
    });
    without_dates(&named.replace(namespace, NAMESPACE))
}

/// Each `2027-07-24T09:00:00Z` is any date.
fn without_dates(text: &str) -> String {
    const SHAPE: &str = "0000-00-00T00:00:00Z";
    let is_date = |from: usize| {
        let part = text.as_bytes().get(from..from + SHAPE.len());
        part.is_some_and(|part| {
            part.iter()
                .zip(SHAPE.bytes())
                .all(|(is, shape)| match shape {
                    b'0' => is.is_ascii_digit(),
                    shape => *is == shape,
                })
        })
    };
    let (mut told, mut at) = (String::new(), 0);
    for (from, letter) in text.char_indices() {
        if from < at {
            continue;
        }
        if is_date(from) {
            told.push_str("<date>");
            at = from + SHAPE.len();
        } else {
            told.push(letter);
        }
    }
    told
}

#[test]
fn a_date_is_any_date_and_a_uid_has_its_name() {
    let uids = BTreeMap::from([("f00d".to_owned(), "prod-1".to_owned())]);
    let real =
        "DeletedManagedHsm row-017.prod (uid f00d, to be purged at 2027-07-24T09:00:00Z) – gone";
    assert_eq!(
        as_in_table(real, "row-017", &uids),
        "DeletedManagedHsm payments.prod (uid prod-1, to be purged at <date>) – gone"
    );
}
