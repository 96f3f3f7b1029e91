//! The fault script of the reference backend.

use std::sync::Arc;

use crate::backend::BackendError;

/// The trait's methods by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Records,
    Read,
    Write,
    Restore,
    Forget,
    Revision,
    NoteRevision,
    Token,
    Tokens,
    CreateToken,
    SealToken,
    UnsealToken,
    OpenForDestruction,
    ReleaseToken,
    Objects,
    Inventory,
    Generate,
    Publish,
    Copy,
    Destroy,
    UseKey,
}

impl Method {
    /// All of them: tests that break every call in turn go through this.
    pub const ALL: [Method; 21] = [
        Method::Records,
        Method::Read,
        Method::Write,
        Method::Restore,
        Method::Forget,
        Method::Revision,
        Method::NoteRevision,
        Method::Token,
        Method::Tokens,
        Method::CreateToken,
        Method::SealToken,
        Method::UnsealToken,
        Method::OpenForDestruction,
        Method::ReleaseToken,
        Method::Objects,
        Method::Inventory,
        Method::Generate,
        Method::Publish,
        Method::Copy,
        Method::Destroy,
        Method::UseKey,
    ];
}

/// Whether a call fails before it worked, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    Before,
    After,
}

/// One call, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub method: Method,
    /// What it was about, for people.
    pub subject: String,
}

pub(super) type Observer = Arc<dyn Fn(&Call) + Send + Sync>;

/// What is to go wrong, and what was called.
#[derive(Default)]
pub(super) struct Faults {
    scripted: Vec<Fault>,
    pub(super) away: Option<BackendError>,
    pub(super) observer: Option<Observer>,
    pub(super) calls: Vec<Call>,
}

struct Fault {
    method: Method,
    /// Calls of the method until it strikes; 1: the next.
    left: usize,
    when: When,
    error: BackendError,
}

impl Faults {
    pub(super) fn add(&mut self, method: Method, number: usize, when: When, error: BackendError) {
        self.scripted.push(Fault {
            method,
            left: number.max(1),
            when,
            error,
        });
    }

    pub(super) fn clear(&mut self) {
        self.scripted.clear();
        self.away = None;
    }

    /// Counts a call, and says what strikes it.
    pub(super) fn strike(&mut self, call: Call) -> Option<(When, BackendError)> {
        let method = call.method;
        self.calls.push(call);
        for fault in self.scripted.iter_mut().filter(|it| it.method == method) {
            fault.left -= 1;
        }
        if let Some(error) = &self.away {
            self.scripted.retain(|it| it.left > 0);
            return Some((When::Before, error.clone()));
        }
        let struck = self.scripted.iter().position(|it| it.left == 0)?;
        let fault = self.scripted.remove(struck);
        self.scripted.retain(|it| it.left > 0);
        Some((fault.when, fault.error))
    }
}
