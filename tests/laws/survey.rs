//! Goes through all small observations once, for all laws, on as many threads as there are; each law's test then reads its part.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use managed_hsm_operator::plan::{Observed, Plan, plan};
use managed_hsm_operator::softdelete::Kind;

use super::domain::{self, Case, PRODUCTS, Product};
use super::judge::{self, Law, Verdict};
use super::reasons::{self, Shown};
use super::world;

/// The laws by their tests' names.
pub const LAWS: &[(&str, Law)] = &[
    ("i1_destroys", judge::destroys_only_what_has_its_copy),
    ("i1_ends", judge::ends_only_what_is_due),
    ("i2_live", judge::leaves_what_a_live_object_has),
    ("g3_touches", judge::touches_material_only_under_its_record),
    ("g3_proved", judge::says_only_what_is_proved),
    ("sd03_neither", judge::never_neither_object_nor_proxy),
    ("g4_follows", judge::follows_the_record),
    ("i6_doubt", judge::writes_nothing_in_doubt),
    ("forgets", judge::forgets_only_what_is_over),
    ("i6_protected", judge::unknown_counts_as_protected),
    ("sd10_announces", judge::announces_only_by_a_trusted_clock),
    ("sd28_other", judge::never_makes_other_material),
    ("look", judge::writes_only_at_this_look),
    (
        "proxy_goes",
        judge::deletes_a_proxy_only_when_something_else_stands,
    ),
    ("sd01_proxy", judge::makes_a_proxy_only_of_what_had_material),
    ("sd09_dates", judge::no_date_comes_earlier),
    ("phase", judge::moves_the_phase_only_along_its_edges),
    (
        "sd19_again",
        judge::makes_an_object_again_only_in_its_recovery,
    ),
    ("g6_keys", judge::waits_for_its_keys),
    ("g6_pin", judge::sets_the_pin_first),
    ("visitors", judge::waits_for_no_visitor),
    ("wake", judge::wakes_in_time),
    ("settles", settles),
];

/// What was found about one law.
#[derive(Default)]
struct Found {
    breaches: usize,
    /// The first ones of each kind of reason.
    examples: BTreeMap<String, (usize, String)>,
}

struct Survey {
    /// How many of each product.
    domain: Vec<(Kind, Product, usize)>,
    observations: usize,
    laws: BTreeMap<&'static str, Found>,
    shown: Shown,
}

static SURVEY: LazyLock<Survey> = LazyLock::new(survey);

/// Fails where any plan of the domain breaks the law.
pub fn holds(law: &str) {
    let found = &SURVEY.laws[law];
    let mut told = String::new();
    for (why, (count, example)) in &found.examples {
        told.push_str(&format!("\n{why} ({count}×), such as\n{example}\n"));
    }
    println!(
        "{law}: {} observations: {:?}",
        SURVEY.observations, SURVEY.domain
    );
    assert_eq!(
        found.breaches, 0,
        "{} of {} observations break {law}:{told}",
        found.breaches, SURVEY.observations
    );
}

/// Where the planner shows which reason, anywhere in the domain.
pub fn shown() -> &'static Shown {
    &SURVEY.shown
}

fn survey() -> Survey {
    let shares = std::thread::available_parallelism().map_or(2, usize::from);
    let parts: Vec<Survey> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..shares)
            .map(|share| scope.spawn(move || part(share, shares)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a survey that ends"))
            .collect()
    });
    let (observations, domain) = (parts[0].observations, parts[0].domain.clone());
    let mut laws: BTreeMap<&'static str, Found> = BTreeMap::new();
    let mut shown = Shown::new();
    for part in parts {
        for (place, stalled) in part.shown {
            shown.entry(place).or_default().extend(stalled);
        }
        for (law, found) in part.laws {
            let all = laws.entry(law).or_default();
            all.breaches += found.breaches;
            for (why, (count, example)) in found.examples {
                all.examples.entry(why).or_insert((0, example)).0 += count;
            }
        }
    }
    Survey {
        domain,
        observations,
        laws,
        shown,
    }
}

fn part(share: usize, shares: usize) -> Survey {
    let mut laws: BTreeMap<&'static str, Found> = LAWS
        .iter()
        .map(|(name, _)| (*name, Found::default()))
        .collect();
    let mut domain = Vec::new();
    let mut shown = Shown::new();
    for kind in [Kind::Hsm, Kind::Key] {
        for product in PRODUCTS {
            let each = |case: &Case| judge_one(case, &mut laws, &mut shown);
            domain.push((
                kind,
                product,
                domain::each(kind, product, share, shares, each),
            ));
        }
    }
    Survey {
        observations: domain.iter().map(|(_, _, count)| count).sum(),
        domain,
        laws,
        shown,
    }
}

fn judge_one(case: &Case, laws: &mut BTreeMap<&'static str, Found>, shown: &mut Shown) {
    let seen = case.observed();
    let plan = plan(&seen);
    if let Some(step) = &plan.step {
        reasons::note(&step.effect, shown);
    }
    for (name, law) in LAWS {
        let Err(why) = law(&seen, &plan) else {
            continue;
        };
        let found = laws.entry(name).or_default();
        found.breaches += 1;
        let example = || {
            let step = plan.step.as_ref().map(|step| format!("{:?}", step.effect));
            (0, format!("  {case:?}\n  {}", step.unwrap_or_default()))
        };
        found.examples.entry(why).or_insert_with(example).0 += 1;
    }
}

/// How many statuses one look can change: the proxy's phase and all else of it, the object's, its Recover's, its Purge's as far as *Executing*.
const MOST_SHOWN: usize = 8;

/// Applied twice changes nothing: what is shown is not there already, and once all is shown nothing is left to show.
fn settles(seen: &Observed, first: &Plan) -> Verdict {
    let mut now: Option<Observed> = None;
    let mut next = first.clone();
    for _ in 0..=MOST_SHOWN {
        let current = now.as_ref().unwrap_or(seen);
        // A purge that is claimed and turned back is a protocol's, not a status'.
        let Some(step) = &next.step else {
            return Ok(());
        };
        let Some(shown) = world::shown(current, &step.effect) else {
            // A step of a protocol: what it leads to is for the runs to say.
            return Ok(());
        };
        if shown == *current {
            return Err("what is shown is there already".to_owned());
        }
        next = plan(&shown);
        now = Some(shown);
    }
    Err("statuses that never come to rest".to_owned())
}
