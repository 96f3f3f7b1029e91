use super::namespace::accepted;
use super::shown::for_git;
use super::*;
use crate::cluster::Seen;
use crate::contents::Contents;
use crate::samples;

#[test]
fn sd19_the_manifest_is_the_same_each_time_and_names_the_uid() {
    let deleted = samples::deleted_key("signing");
    let uid = deleted.origin.uid.as_str();
    let make = || manifest(Kind::Key, "demo", "signing", uid, false, None);
    assert_eq!(make(), make());
    assert_eq!(make().spec.uid, uid);
    assert!(
        make().name_any().starts_with("signing-u-sign"),
        "{}",
        make().name_any()
    );
    let written = for_git(&make());
    assert_eq!(
        (
            written.get("status"),
            written["metadata"].get("annotations")
        ),
        (None, None)
    );
}

#[test]
fn sd21_all_of_a_namespace_is_its_hsms_with_their_keys_and_keys_of_other_hsms() {
    let (inside, mut outside) = (samples::deleted_key("a"), samples::deleted_key("b"));
    outside.hsm_id = "h-2".into();
    let mut going = samples::deleted_hsm("going");
    going.hsm_id = "h-3".into();
    going.status.phase = Some(Phase::Destroying);
    let hsm = samples::deleted_hsm("payments");
    let all = not_already_included(vec![hsm, going], vec![inside, outside]);
    let names: Vec<_> = all.iter().map(|one| one.origin.name.as_str()).collect();
    assert_eq!(names, ["payments", "b"]);
}

#[test]
fn what_comes_back_and_what_stays_is_shown() {
    let hsm = samples::deleted_hsm("payments");
    let mut contents = Contents::none();
    contents.live = Seen::All(vec![samples::key("signing")]);
    contents.deleted = Seen::All(vec![samples::deleted_key("old")]);
    let shown = |with_keys| comes_back(&hsm, &contents, with_keys).join("\n");
    assert!(shown(false).contains("HsmKey signing"), "{}", shown(false));
    assert!(
        shown(false).contains("stay deleted without --with-keys: old"),
        "{}",
        shown(false)
    );
    assert!(
        shown(true).contains("HsmKey old, deleted on its own"),
        "{}",
        shown(true)
    );
    contents.live = Seen::Not("You may not.".into());
    let told = comes_back(&hsm, &contents, true).join("\n");
    assert!(
        told.contains("Not all of it can be shown: You may not."),
        "{told}"
    );
}

#[test]
fn sd19_another_namespace_is_accepted_only_where_that_was_said() {
    let deleted = samples::deleted_key("signing");
    let of = |said: Option<&Option<String>>, present: Option<&str>| {
        accepted(said, present.map(str::to_owned), "demo", Some(&deleted))
    };
    assert_eq!(of(None, Some("n-1")), Ok(None));
    assert_eq!(of(Some(&None), Some("n-1")), Ok(None));
    let refused = of(None, Some("n-2")).unwrap_err();
    assert_eq!(refused.exit, Exit::Refused);
    assert!(
        refused.sentence.contains("--accept-namespace"),
        "{}",
        refused.sentence
    );
    assert_eq!(of(Some(&None), Some("n-2")), Ok(Some("n-2".into())));
    let exact = Some("n-2".to_owned());
    assert_eq!(of(Some(&exact), Some("n-2")), Ok(exact.clone()));
    assert_eq!(of(Some(&exact), Some("n-3")).unwrap_err().exit, Exit::Usage);
    // Who may not read the namespace names its uid.
    assert_eq!(of(Some(&None), None).unwrap_err().exit, Exit::NotPermitted);
    assert_eq!(of(Some(&exact), None), Ok(exact.clone()));
}

#[test]
fn of_several_the_first_failure_decides_and_each_is_told() {
    let one = |name: &str| Planned {
        recover: manifest(Kind::Key, "demo", name, "u-1", false, None),
        said: name.to_owned(),
        shown: Vec::new(),
    };
    let failure = |exit| Failure::new(exit, "Why; way out.");
    let mut alone = Failures::of(1);
    alone.result().unwrap();
    alone.note(&one("a"), failure(Exit::NotPermitted));
    assert_eq!(alone.result(), Err(failure(Exit::NotPermitted)));
    let mut several = Failures::of(3);
    several.note(&one("a"), failure(Exit::NotEnded));
    several.note(&one("b"), failure(Exit::Refused));
    let failed = several.result().unwrap_err();
    assert_eq!(failed.exit, Exit::NotEnded);
    assert!(
        failed.sentence.contains("named above"),
        "{}",
        failed.sentence
    );
}
