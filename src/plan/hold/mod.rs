//! What stands in the way: each guard is a small function that names the refusal.

mod hsm;
mod keys;
mod ledger;
mod manifest;
mod names_held;
mod turns;

pub use hsm::*;
pub use keys::*;
pub use ledger::*;
pub use manifest::*;
pub use names_held::*;
pub use turns::*;

use std::time::Duration;

use crate::api;
use crate::plan::ids;
use crate::plan::observed::{
    Body, Held, Hsm, KeyOfHsm, Material, NearProxy, No, Object, Observed, Proxy, Purge, Reading,
    Recover, Refused, Tried,
};
use crate::plan::step::{Hold, Why};
use crate::plan::translate;
use crate::softdelete::fixed::{self, Wanted, WantedKey};
use crate::softdelete::names::{self, Claim, Names};
use crate::softdelete::record::Algorithm;
use crate::softdelete::recover::{self, HsmNow, NamespaceNow};
use crate::softdelete::sentence::Deleted;
use crate::softdelete::{
    Kind, Record, RecordState, Refusal, Subject, Uid, arbiter, protection, retention,
};

/// What the backend or somebody else is about to finish is looked at again soon.
const SOON: Duration = Duration::from_secs(2);
/// What a person or the API server has to change is looked at again now and then.
pub const LATER: Duration = Duration::from_secs(30);

type Check = Result<(), Hold>;

fn refused(refusal: Refusal) -> Hold {
    Hold {
        why: Why::Refused(refusal),
        again: None,
    }
}

fn refused_until(refusal: Refusal, again: Duration) -> Hold {
    Hold {
        why: Why::Refused(refusal),
        again: Some(again),
    }
}

fn progress(sentence: String) -> Hold {
    Hold {
        why: Why::Progress(sentence),
        again: Some(SOON),
    }
}
