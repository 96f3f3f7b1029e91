//! The pages that are generated: `make docs` writes them, and a stale one fails.

use testplane::is_current;

use super::{picture, reasons, scenes, sequences, states, survey};

#[test]
fn the_table_of_sequences_is_what_the_planner_does() {
    is_current("sequences.md", &sequences::document());
}

#[test]
fn the_picture_shows_the_ways_that_the_planner_goes() {
    let drawn = picture::draw(&states::ways()).expect("each way has its place");
    is_current("states.svg", &drawn);
}

#[test]
fn sd01_no_object_goes_another_way_than_along_an_edge() {
    assert_eq!(states::along_the_edges(&states::ways()), Ok(()));
}

#[test]
fn the_page_of_reasons_shows_where_each_is_given() {
    is_current("troubleshooting.md", &reasons::document(scenes::shown()));
}

#[test]
fn sd34_each_reason_is_stalled_where_its_refusal_says_so() {
    assert_eq!(reasons::shown_as_the_refusals_say(scenes::shown()), Ok(()));
    assert_eq!(reasons::shown_as_the_refusals_say(survey::shown()), Ok(()));
}

#[test]
fn sd34_the_page_shows_each_reason_wherever_a_small_observation_does() {
    let (told, seen) = (scenes::shown(), survey::shown());
    let untold: Vec<_> = seen.keys().filter(|at| !told.contains_key(at)).collect();
    assert!(untold.is_empty(), "no scene shows {untold:?}");
    let unseen: Vec<_> = scenes::BEYOND
        .iter()
        .filter(|at| !seen.contains_key(at))
        .collect();
    assert!(unseen.is_empty(), "nothing shows {unseen:?}");
}
