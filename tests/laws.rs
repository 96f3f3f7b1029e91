//! The planner's laws over all small observations. Their domain is `laws/domain.rs`, what each demands `laws/judge.rs`.

#[path = "laws/documents.rs"]
mod documents;
#[path = "laws/domain.rs"]
mod domain;
#[path = "laws/doubts.rs"]
mod doubts;
#[path = "laws/inside.rs"]
mod inside;
#[path = "laws/judge.rs"]
mod judge;
#[path = "laws/orders.rs"]
mod orders;
#[path = "laws/picture.rs"]
mod picture;
#[path = "laws/reasons.rs"]
mod reasons;
mod rows;
#[path = "laws/scenes.rs"]
mod scenes;
#[path = "laws/sequences.rs"]
mod sequences;
#[path = "laws/states.rs"]
mod states;
#[path = "laws/survey.rs"]
mod survey;
#[path = "laws/together.rs"]
mod together;
#[path = "laws/visitors.rs"]
mod visitors;
#[path = "laws/world.rs"]
mod world;

use managed_hsm_operator::plan::plan;
use managed_hsm_operator::plan::step::Effect;
use managed_hsm_operator::softdelete::{Kind, Record};
use survey::holds;

#[test]
fn i1_no_recorded_material_is_destroyed_without_its_proved_copy_under_the_right_record() {
    holds("i1_destroys");
}

#[test]
fn i1_nothing_becomes_destroying_before_its_time() {
    holds("i1_ends");
}

#[test]
fn i1_each_doubt_alone_keeps_a_purge_from_its_end() {
    doubts::each_alone_holds();
}

#[test]
fn i5_an_hsm_is_proved_gone_in_no_other_token_of_its_label() {
    doubts::no_other_token_counts();
}

#[test]
fn sd10_nothing_is_announced_by_a_clock_that_is_not_trusted() {
    holds("sd10_announces");
}

#[test]
fn i2_what_a_live_object_has_is_neither_destroyed_nor_sealed() {
    holds("i2_live");
}

#[test]
fn g3_material_is_touched_only_under_its_record_and_copied_once() {
    holds("g3_touches");
}

#[test]
fn g3_a_record_says_of_its_material_only_what_this_look_proved() {
    holds("g3_proved");
}

#[test]
fn sd03_the_finalizer_goes_only_when_neither_object_nor_proxy_would_be_missed() {
    holds("sd03_neither");
}

#[test]
fn g4_each_record_follows_the_one_of_the_look_by_an_edge_that_is_there() {
    holds("g4_follows");
}

#[test]
fn i6_where_records_are_in_doubt_nothing_is_written() {
    holds("i6_doubt");
}

#[test]
fn i3_another_clusters_record_becomes_ours_only_where_that_cluster_was_named() {
    for kind in [Kind::Hsm, Kind::Key] {
        for (named, taken) in [
            (None, false),
            (Some("cluster-third"), false),
            (Some("cluster-other"), true),
        ] {
            let mut seen = domain::foreign(kind);
            seen.settings.adopts = named.map(Into::into);
            let step = plan(&seen).step.map(|step| step.effect);
            let before = seen.records[0].record().expect("it can be read");
            let ours = Record {
                cluster: seen.settings.cluster.clone(),
                ..before.clone()
            };
            let generation = seen.records[0].generation + 1;
            let record = Box::new(ours);
            let written = step == Some(Effect::WriteRecord { generation, record });
            assert_eq!(written, taken, "{kind:?} {named:?}: {step:?}");
        }
    }
}

#[test]
fn a_record_is_forgotten_only_when_its_history_is_over_and_nothing_of_it_stands() {
    holds("forgets");
}

#[test]
fn i6_what_is_not_known_counts_as_protected() {
    holds("i6_protected");
}

#[test]
fn sd28_nothing_is_made_for_an_object_that_had_material() {
    holds("sd28_other");
}

#[test]
fn every_write_to_the_cluster_carries_what_this_look_saw() {
    holds("look");
}

#[test]
fn a_proxy_is_deleted_only_when_something_else_stands_for_it() {
    holds("proxy_goes");
}

#[test]
fn sd01_a_proxy_is_made_only_of_what_had_material() {
    holds("sd01_proxy");
}

#[test]
fn sd09_no_date_ever_comes_earlier() {
    holds("sd09_dates");
}

#[test]
fn the_phase_moves_only_along_its_edges() {
    holds("phase");
}

#[test]
fn sd19_an_object_is_made_again_only_in_its_own_recovery() {
    holds("sd19_again");
}

#[test]
fn a_wake_up_is_never_later_than_a_day_nor_than_what_is_due_next() {
    holds("wake");
}

#[test]
fn g6_an_hsm_goes_on_only_when_its_keys_have_done_their_part() {
    holds("g6_keys");
}

#[test]
fn g6_the_pin_follows_the_record_before_anything_is_shown() {
    holds("g6_pin");
}

#[test]
fn sd17_an_object_of_another_uid_on_its_way_out_holds_no_record_up() {
    holds("visitors");
}

#[test]
fn applied_twice_changes_nothing() {
    holds("settles");
}

#[test]
fn sd27_what_is_ready_is_never_in_a_sealed_hsm() {
    for kind in [Kind::Hsm, Kind::Key] {
        assert_eq!(sequences::ready_means_usable(kind), Ok(()));
    }
}

#[test]
fn sd17_of_two_resources_that_ask_for_one_key_at_once_exactly_one_gets_it() {
    assert_eq!(sequences::twins_at_once(), Ok(1));
}

#[test]
fn an_hsm_and_its_keys_keep_every_promise_whatever_happens_in_whatever_order() {
    assert_eq!(together::storms(), Ok(()));
}
