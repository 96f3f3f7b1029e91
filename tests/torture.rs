//! What a kill costs: a child process that makes, seals, unseals and destroys keys and writes their records is killed with -9 at any moment, again and
//! again. Each next one opens the store, finds all that was acknowledged, and finishes what was under way. `KILLS` says how often.
#![cfg(feature = "embedded")]

#[path = "torture/child.rs"]
mod child;
#[path = "torture/keys.rs"]
mod keys;
#[path = "torture/parent.rs"]
mod parent;
mod softhsm;

/// In `make test`; `make torture` sets its own.
const FEW: usize = 60;

/// Not a test of its own: the other side of the others, and nothing without a folder.
#[test]
fn child() {
    if let Some(folder) = std::env::var_os("TORTURE_FOLDER") {
        child::work(folder.as_ref());
    }
}

#[test]
fn no_acknowledged_key_is_lost_to_a_kill_and_no_start_refused() {
    let kills = asked_for().unwrap_or(FEW);
    let tally = parent::torture("kryoptic", kills);
    println!("{}", tally.table("kryoptic"));
    assert_eq!(tally.kills(), kills);
    assert_eq!(tally.lost(), Vec::<&String>::new());
    assert!(
        tally.under_way() * 2 > kills,
        "most kills are to strike something that is under way: {tally:?}"
    );
}

/// SoftHSM is not crash-safe: its losses are counted, for the documentation.
#[test]
fn what_softhsm_loses_is_counted() {
    let Some(kills) = asked_for() else {
        println!("skipped: SoftHSM's losses are counted by make torture");
        return;
    };
    if softhsm::library().is_none() {
        return;
    }
    let tally = parent::torture("softhsm", kills);
    println!("{}", tally.table("SoftHSM"));
    assert_eq!(tally.kills(), kills);
}

fn asked_for() -> Option<usize> {
    let kills = std::env::var("KILLS").ok()?;
    Some(kills.parse().expect("KILLS is a number"))
}
