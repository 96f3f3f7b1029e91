//! An object on its way out whose status says that it had material, beside the record of another uid (an old ledger, an old etcd): it waits for the name, and
//! nothing waits for it (SD-17).

use managed_hsm_operator::api;
use managed_hsm_operator::backend::Access;
use managed_hsm_operator::plan::observed::Body;
use managed_hsm_operator::softdelete::{Kind, RecordState};

use super::rows::{State, THEIRS};
use super::sequences::{self, lineage};
use super::world::{World, lineage_of};

const VISITOR: &str = "uid-visitor";

/// Beside what is soft-deleted.
fn visited(kind: Kind) -> World {
    let mut world = sequences::begin(kind, State::Retained).expect("it is deleted");
    let of = lineage(kind);
    sequences::create(&mut world, &of, VISITOR, |_| ()).expect("it slips past admission");
    let now = world.now;
    let object = world.objects.get_mut(&of).expect("it is there");
    object.meta.deleted = Some(now);
    object.meta.finalizers = vec![api::FINALIZER.into()];
    match &mut object.body {
        Body::Hsm(_, shown) => shown.hsm_id = Some("lost".into()),
        Body::Key(_, shown) => shown.hsm_id = Some("lost".into()),
    }
    world
}

fn proxy_of(world: &World, kind: Kind) -> Option<&str> {
    let found = world.proxies.get(&lineage(kind));
    found.map(|found| found.origin().uid.as_str())
}

fn state(world: &World, kind: Kind) -> Option<RecordState> {
    let mut records = world.ledger.values().map(|(_, record)| record);
    let its = records.find(|record| lineage_of(record) == lineage(kind));
    its.map(|record| record.state)
}

#[test]
fn sd23_a_purge_reaches_its_end_beside_an_object_that_waits_for_the_name_and_that_goes_then() {
    for kind in [Kind::Hsm, Kind::Key] {
        let mut world = visited(kind);
        world.settle().expect("it waits");
        assert_eq!(state(&world, kind), Some(RecordState::Deleted));
        assert!(world.objects.contains_key(&lineage(kind)));
        let uid = sequences::uid_now(&world, &lineage(kind));
        assert_eq!(proxy_of(&world, kind), Some(uid.as_str()));
        sequences::purge(&mut world, &lineage(kind), &uid);
        world.settle().expect("it comes to rest");
        assert_eq!(
            state(&world, kind),
            Some(RecordState::Tombstone),
            "{kind:?}"
        );
        assert!(
            !world.objects.contains_key(&lineage(kind)),
            "{kind:?}: it went"
        );
        assert_eq!(
            proxy_of(&world, kind),
            Some(VISITOR),
            "{kind:?}: and left its own proxy"
        );
    }
}

#[test]
fn g6_a_deleted_hsm_is_sealed_anew_beside_an_object_that_waits_for_the_name() {
    let mut world = visited(Kind::Hsm);
    let open = |(access, _): &mut (Access, _)| *access = Access::Open;
    world.tokens.values_mut().for_each(open);
    world.settle().expect("it comes to rest");
    let mut tokens = world.tokens.values();
    assert!(tokens.all(|(access, _)| *access == Access::Refused));
}

#[test]
fn sd25_the_records_proxy_is_written_again_before_the_visitors() {
    for kind in [Kind::Hsm, Kind::Key] {
        // Also while somebody else's finalizer keeps it.
        for theirs in [false, true] {
            let mut world = visited(kind);
            let of = lineage(kind);
            let uid = sequences::uid_now(&world, &of);
            if theirs {
                let object = world.objects.get_mut(&of).expect("it is there");
                object.meta.finalizers.push(THEIRS.into());
            }
            world.proxies.clear();
            world.settle().expect("it comes to rest");
            assert_eq!(
                proxy_of(&world, kind),
                Some(uid.as_str()),
                "{kind:?} {theirs}"
            );
            assert!(
                world.objects.contains_key(&of),
                "{kind:?} {theirs}: it waits"
            );
        }
    }
}
