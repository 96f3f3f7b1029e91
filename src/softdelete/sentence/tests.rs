mod samples;

use super::*;
use crate::softdelete::examples::{at, origin};
use std::collections::BTreeSet;

fn deleted() -> Deleted {
    Deleted {
        kind: Kind::Hsm,
        origin: origin(),
        purge_time: Some(at(0)),
        purgeable: true,
    }
}

/// The samples, and answers of others that would not fit into a sentence as they are.
fn examples() -> Vec<Refusal> {
    let mut all = samples::refusals();
    all.push(Refusal::CreateRefused {
        name: "something".into(),
        answer: "No. The field is immutable.\nimmutable field! Really?".into(),
    });
    all.push(Refusal::ProxyRefused {
        proxy: "something".into(),
        answer: "x. ".repeat(400),
    });
    all
}

#[test]
fn sd34_each_reason_has_a_sentence() {
    let told: BTreeSet<_> = examples().iter().map(Refusal::reason).collect();
    assert_eq!(told, Reason::ALL.iter().copied().collect());
}

#[test]
fn sd34_each_refusal_is_one_sentence_with_a_full_stop() {
    for refusal in examples() {
        let sentence = refusal.to_string();
        assert!(
            sentence.starts_with(|c: char| !c.is_lowercase()),
            "{sentence}"
        );
        assert!(
            sentence.ends_with('.') && !sentence.ends_with(".."),
            "{sentence}"
        );
        let ends = [". ", "! ", "? ", "\n"]
            .iter()
            .any(|end| sentence.contains(end));
        assert!(!ends, "{sentence}");
    }
}

#[test]
fn sd34_each_sentence_names_a_cause_and_a_way_out() {
    let acts = [
        "recover", "wait", "set", "choose", "create", "let ", "look for", "ask", "correct",
        "remove", "accept", "annotate", "bring", "delete", "use", "have", "leave", "turn",
    ];
    for refusal in examples() {
        let (cause, way_out) = refusal.halves();
        assert!(cause.len() > 10, "{refusal}");
        assert!(acts.iter().any(|act| way_out.contains(act)), "{refusal}");
    }
}

#[test]
fn sd34_no_sentence_makes_flux_delete_and_recreate() {
    for refusal in examples() {
        let sentence = refusal.to_string().to_lowercase();
        assert!(
            !sentence.contains("is immutable") && !sentence.contains("immutable field"),
            "{sentence}"
        );
    }
}

#[test]
fn sd34_each_sentence_fits_an_event() {
    let long = Origin {
        namespace: "n".repeat(63),
        namespace_uid: "1".repeat(36).as_str().into(),
        name: "k".repeat(180),
        uid: "2".repeat(36).as_str().into(),
    };
    let longest = Refusal::ObjectIsDeletedButRecoverable(Deleted {
        kind: Kind::Key,
        origin: long,
        ..deleted()
    });
    for refusal in examples().into_iter().chain([longest]) {
        assert!(refusal.to_string().len() <= 1024, "{refusal}");
    }
}

#[test]
fn sd17_a_reserved_name_is_told_with_proxy_uid_date_and_both_ways_out() {
    let sentence = Refusal::ObjectIsDeletedButRecoverable(deleted()).to_string();
    assert_eq!(
        sentence,
        "This name is reserved for DeletedManagedHsm payments.prod (uid u-1, to be purged at 2027-01-15T08:00:00Z); recover it with \
         kubectl apply -f - <<<'{\"apiVersion\":\"managedhsm.dev/v1alpha1\",\"kind\":\"Recover\",\"metadata\":{\"name\":\"recover-u-1\",\
         \"namespace\":\"payments\"},\"spec\":{\"kind\":\"ManagedHsm\",\"name\":\"prod\",\"uid\":\"u-1\"}}' or have it purged with a \
         Purge that names it and that uid."
    );
}

#[test]
fn sd17_a_protected_one_offers_no_purge_on_request() {
    let sentence = Refusal::ObjectIsDeletedButRecoverable(Deleted {
        purgeable: false,
        ..deleted()
    })
    .to_string();
    assert!(
        sentence.contains("wait for its purge at that date"),
        "{sentence}"
    );
    assert!(!sentence.contains("a Purge that"), "{sentence}");
}

#[test]
fn sd19_another_namespace_is_accepted_by_its_uid_in_the_command_itself_and_sd21_an_hsms_keys_come_with_it()
 {
    for (kind, asks) in [
        (Kind::Key, r#""uid":"u-1","acceptNamespaceUid":"n-2"}}'"#),
        (
            Kind::Hsm,
            r#""uid":"u-1","includeKeys":"All","acceptNamespaceUid":"n-2"}}'"#,
        ),
    ] {
        let refusal = Refusal::NamespaceChanged {
            kind,
            origin: origin(),
            present: "n-2".into(),
        };
        assert!(refusal.to_string().contains(asks), "{refusal}");
    }
}

#[test]
fn sd34_a_date_is_utc_in_whole_seconds_and_never_shown_earlier() {
    assert_eq!(
        date(at(0) + chrono::Duration::milliseconds(1)),
        "2027-01-15T08:00:01Z"
    );
}

#[test]
fn sd34_what_passes_by_itself_does_not_stall() {
    assert!(
        Refusal::HsmDeleted {
            hsm: deleted(),
            recovering: false
        }
        .stalls()
    );
    assert!(
        !Refusal::HsmDeleted {
            hsm: deleted(),
            recovering: true
        }
        .stalls()
    );
    assert!(
        !Refusal::PoliciesMissing {
            missing: String::new(),
            lack: Lack::Settling
        }
        .stalls()
    );
    assert!(!Refusal::HsmNotFound { hsm: "prod".into() }.stalls());
}
